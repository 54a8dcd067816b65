//! `proxward cell ps`.

use cell::SlotState;
use serde_json::json;

use super::arguments::Ps;
use super::serve::socket;
use crate::cli::Format;
use crate::exit::Stop;
use crate::output::result;

pub(crate) fn run(arguments: &Ps) -> Result<(), Stop> {
    let slots = socket(arguments.socket.as_deref()).and_then(|path| cell::slots(&path));
    let slots = slots.unwrap_or_default();
    let waits = |pid: u32| slots.iter().any(|slot| slot.pid == pid && slot.state != "running");
    let mut cells = cell::list();
    cells.retain(|cell| !waits(cell.supervisor));
    result(&match arguments.format {
        Format::Json => json!({ "cells": cells, "slots": slots }).to_string(),
        Format::Text => shown(&cells, &slots),
    });
    Ok(())
}

fn shown(cells: &[cell::Running], slots: &[SlotState]) -> String {
    let mut lines =
        vec!["cell             pid        uid         seconds   memory  command".to_owned()];
    lines.extend(cells.iter().map(|cell| {
        let memory = cell.memory >> 20;
        format!(
            "{:16} {:<10} {:<11} {:>7} {memory:>6} M  {}",
            cell.cell, cell.pid, cell.uid, cell.seconds, cell.command
        )
    }));
    if !slots.is_empty() {
        lines.push("\nslot             state      directory".to_owned());
        lines.extend(
            slots
                .iter()
                .map(|slot| format!("{:<16} {:10} {}", slot.pid, slot.state, slot.dir.display())),
        );
    }
    lines.join("\n")
}
