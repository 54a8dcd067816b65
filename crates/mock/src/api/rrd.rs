//! `rrddata`: series of figures, the same for the same moment however often they are asked for.

use pve_schema::Verb;
use serde_json::{Value, json};

use super::{Call, Row};
use crate::failure::{Failure, Outcome};
use crate::object::extend;
use crate::state::GuestRow;

pub(super) const ROWS: &[Row] = &[
    (Verb::Get, "/nodes/{node}/rrddata", of_node),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/rrddata", of_guest),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/rrddata", of_guest),
    (Verb::Get, "/nodes/{node}/storage/{storage}/rrddata", of_storage),
    (Verb::Get, "/nodes/{node}/rrd", file),
    (Verb::Get, "/nodes/{node}/qemu/{vmid}/rrd", file),
    (Verb::Get, "/nodes/{node}/lxc/{vmid}/rrd", file),
    (Verb::Get, "/nodes/{node}/storage/{storage}/rrd", file),
];

/// Points of a series.
const POINTS: u64 = 70;
/// Seconds between points by time frame.
const STEPS: [(&str, u64); 6] = [
    ("hour", 60),
    ("day", 1_800),
    ("week", 10_800),
    ("month", 43_200),
    ("year", 604_800),
    ("decade", 604_800 * 8),
];

/// Members of `usage` that are shown as they are, and those that grow with time and are shown
/// as rates.
struct Figures {
    usage: Value,
    levels: &'static [&'static str],
    fixed: &'static [&'static str],
    rates: &'static [(&'static str, f64)],
}

fn of_guest(call: &mut Call<'_>) -> Outcome {
    let now = call.now();
    let guest = call.guest()?;
    let usage = json!(GuestRow { maxcpu: Some(guest.processors()), ..guest.row(now) });
    let running = guest.is_running();
    let rates: &[(&str, f64)] = if running {
        &[("netin", 900.0), ("netout", 400.0), ("diskread", 2000.0), ("diskwrite", 1000.0)]
    } else {
        &[]
    };
    let levels: &[&str] = if running { &["cpu", "mem", "disk"] } else { &[] };
    let fixed = &["maxcpu", "maxmem", "maxdisk"];
    series(call, &Figures { usage, levels, fixed, rates })
}

fn of_node(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?;
    let held = call.state.guests.memory_on(&node.name);
    let mut usage = json!(node.row_with_figures(call.now(), held));
    let member = |usage: &Value, key: &str| usage.get(key).cloned().unwrap_or(json!(0));
    let more = json!({
        "memtotal": member(&usage, "maxmem"), "memused": member(&usage, "mem"),
        "roottotal": member(&usage, "maxdisk"), "rootused": member(&usage, "disk"),
        "swaptotal": 0, "swapused": 0, "loadavg": 0.1, "iowait": 0.001,
    });
    extend(&mut usage, more);
    series(
        call,
        &Figures {
            usage,
            levels: &["cpu", "iowait", "loadavg", "memused"],
            fixed: &["maxcpu", "memtotal", "roottotal", "rootused", "swaptotal", "swapused"],
            rates: &[("netin", 5000.0), ("netout", 3000.0)],
        },
    )
}

fn of_storage(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let id = call.required("storage");
    let found = call.state.storages.get(&id);
    let storage = found.ok_or_else(|| Failure::die(format!("storage '{id}' does not exist")))?;
    let resource = storage.resource(&node);
    let member = |key: &str| resource.get(key).cloned().unwrap_or(json!(0));
    let usage = json!({ "used": member("disk"), "total": member("maxdisk") });
    series(call, &Figures { usage, levels: &[], fixed: &["total", "used"], rates: &[] })
}

fn series(call: &Call<'_>, figures: &Figures) -> Outcome {
    let frame = call.required("timeframe");
    let step = STEPS.iter().find(|(name, _)| *name == frame).map_or(60, |(_, step)| *step);
    let last = call.now().as_secs() / step;
    let points = (last.saturating_sub(POINTS - 1)..=last).map(|at| point(figures, at * step, at));
    Ok(points.collect::<Value>().into())
}

fn point(figures: &Figures, time: u64, at: u64) -> Value {
    // A wave between 0.75 and 1.25 that depends on the moment alone.
    let phase = u32::try_from(at.wrapping_mul(2_654_435_761) >> 8 & 0xFF).unwrap_or(0);
    let factor = 0.75 + f64::from(phase) / 512.0;
    let mut point = json!({ "time": time });
    for key in figures.fixed {
        extend(&mut point, json!({ *key: figures.usage.get(*key) }));
    }
    for key in figures.levels {
        let value = figures.usage.get(*key).and_then(Value::as_f64).unwrap_or(0.0);
        extend(&mut point, json!({ *key: value * factor }));
    }
    for (key, rate) in figures.rates {
        extend(&mut point, json!({ *key: rate * factor }));
    }
    point
}

/// The picture's name on the node; no picture is drawn.
fn file(call: &mut Call<'_>) -> Outcome {
    let node = call.node()?.name.clone();
    let subject = match (call.text("vmid"), call.text("storage")) {
        (Some(_), _) => format!("pve2-vm_{}", call.guest()?.vmid),
        (_, Some(id)) => format!("pve2-storage_{node}_{id}"),
        _ => format!("pve2-node_{node}"),
    };
    let series = call.required("ds").replace(',', "_");
    Ok(json!({ "filename": format!("/tmp/{subject}_{series}.png") }).into())
}
