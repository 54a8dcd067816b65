//! `proxward cell ps`.

use cell::{SlotState, Totals};
use serde_json::json;

use super::arguments::{Ps, PsFormat};
use super::metrics;
use super::serve::socket;
use crate::exit::{Exit, Stop};
use crate::output::result;

pub(crate) fn run(arguments: &Ps) -> Result<(), Stop> {
    let slots = socket(arguments.socket.as_deref()).and_then(|path| cell::slots(&path));
    let (slots, totals) = slots.unzip();
    let slots = slots.unwrap_or_default();
    let waits = |pid: u32| slots.iter().any(|slot| slot.pid == pid && slot.state != "running");
    let mut cells = cell::list();
    cells.retain(|cell| !waits(cell.supervisor));
    result(&match arguments.format {
        PsFormat::Json => json!({ "cells": cells, "slots": slots, "totals": totals }).to_string(),
        PsFormat::Text => shown(&cells, &slots, totals),
        PsFormat::Openmetrics => metrics::encode(&cells, &slots, totals)
            .map_err(|error| Stop::say(Exit::Bug, error))?
            .trim_end()
            .to_owned(),
    });
    Ok(())
}

fn shown(cells: &[cell::Running], slots: &[SlotState], totals: Option<Totals>) -> String {
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
    if let Some(totals) = totals {
        let Totals { warm, cold, failed, denials, timeouts, out_of_memory } = totals;
        lines.push(format!(
            "\n{warm} warm, {cold} cold, {failed} not built; {denials} denials, {timeouts} timeouts, \
             {out_of_memory} out of memory"
        ));
    }
    lines.join("\n")
}
