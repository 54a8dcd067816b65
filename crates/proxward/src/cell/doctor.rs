//! `proxward cell doctor`.

use std::process::{Command, Stdio};

use cell::Finding;
use serde_json::json;

use super::arguments::Doctor;
use crate::cli::Format;
use crate::exit::{Exit, Stop};
use crate::output::result;

/// Whether a cell of a mode can be built: tried by building one.
struct Tried {
    mode: &'static str,
    built: bool,
    detail: String,
}

pub(crate) fn run(arguments: &Doctor) -> Result<(), Stop> {
    let findings = cell::doctor();
    let mut tried = vec![build("unprivileged")?];
    if cell::is_root() {
        tried.insert(0, build("privileged")?);
    }
    result(&match arguments.format {
        Format::Json => shown_json(&findings, &tried),
        Format::Text => shown_text(&findings, &tried),
    });
    if tried.iter().all(|one| one.built) {
        return Ok(());
    }
    Err(Stop::status(Exit::No as u8))
}

/// Runs `true` in a cell over a directory of its own.
fn build(mode: &'static str) -> Result<Tried, Stop> {
    let place = crate::place::Place::open(None)?;
    let own = std::env::current_exe().map_err(Stop::usage)?;
    let ended = Command::new(own)
        .args(["cell", "run", "--mode", mode, "--timeout", "20s", "--dir"])
        .arg(place.file("."))
        .args(["--", "true"])
        .stdin(Stdio::null())
        .output()
        .map_err(Stop::usage)?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.trim().trim_start_matches("proxward: cell: ");
    let built = ended.status.success();
    let detail = if built && said.is_empty() { "a cell was built" } else { said };
    Ok(Tried { mode, built, detail: detail.to_owned() })
}

fn shown_json(findings: &[Finding], tried: &[Tried]) -> String {
    let tried = tried
        .iter()
        .map(|one| json!({ "mode": one.mode, "built": one.built, "detail": one.detail }));
    json!({ "modes": tried.collect::<Vec<_>>(), "layers": findings }).to_string()
}

fn shown_text(findings: &[Finding], tried: &[Tried]) -> String {
    let mark = |good| if good { "yes" } else { "NO" };
    let mut lines = vec!["mode            built".to_owned()];
    for one in tried {
        lines.push(format!("{:15} {:5} {}", one.mode, mark(one.built), one.detail));
    }
    lines.push(String::new());
    lines.push("layer           there".to_owned());
    for one in findings {
        lines.push(format!("{:15} {:5} {}", one.layer.name(), mark(one.there), one.detail));
    }
    lines.push(String::new());
    lines.push(
        "All layers, in the order they are built; * may be missing with --allow-degraded:"
            .to_owned(),
    );
    for layer in cell::Layer::ALL {
        let star = if layer.may_be_missing() { "*" } else { " " };
        lines.push(format!("{star} {:14} {}", layer.name(), layer.purpose()));
    }
    lines.join("\n")
}
