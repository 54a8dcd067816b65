//! Cells and slots as metrics.

use cell::{Running, SlotState, Totals};
use telemetry::metrics::{MetricError, Registry};

/// What a server of slots has counted, and what is there now, in the OpenMetrics format. Without a
/// server there are only the cells.
pub(super) fn encode(
    cells: &[Running],
    slots: &[SlotState],
    totals: Option<Totals>,
) -> Result<String, MetricError> {
    let registry = Registry::new();
    let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    registry
        .gauge("cell_running", "Cells that run, cold and warm", [])?
        .with([])
        .set(gauge(cells.len()));
    let Some(totals) = totals else { return Ok(registry.encode()) };
    let states = registry.gauge("cell_slots", "Slots of cell serve, by what they do", ["state"])?;
    for state in ["building", "parked", "running"] {
        let count = slots.iter().filter(|slot| slot.state == state).count();
        states.with([state]).set(gauge(count));
    }
    let Totals { warm, cold, failed, denials, timeouts, out_of_memory } = totals;
    let calls =
        "Commands that cell serve was asked for: warm had a slot, cold were built by the caller";
    let commands = registry.counter("cell_commands", calls, ["start"])?;
    commands.with(["warm"]).inc_by(warm);
    commands.with(["cold"]).inc_by(cold);
    let not_built = "Slots that could not be built";
    registry.counter("cell_slots_failed", not_built, [])?.with([]).inc_by(failed);
    let refused = "Attempts of commands in slots that were refused";
    registry.counter("cell_denials", refused, [])?.with([]).inc_by(denials);
    let limits = "Commands in slots that a limit ended";
    let ended = registry.counter("cell_limits", limits, ["limit"])?;
    ended.with(["timeout"]).inc_by(timeouts);
    ended.with(["memory"]).inc_by(out_of_memory);
    Ok(registry.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_by_state_and_totals_are_shown() {
        let slot = |state: &str| SlotState { pid: 1, state: state.to_owned(), dir: "/srv".into() };
        let slots = [slot("parked"), slot("parked"), slot("running")];
        let totals = Totals { warm: 7, out_of_memory: 2, ..Totals::default() };
        let text = encode(&[], &slots, Some(totals)).unwrap();
        for line in [
            "proxward_cell_running{} 0",
            "proxward_cell_slots{state=\"parked\"} 2",
            "proxward_cell_slots{state=\"building\"} 0",
            "proxward_cell_commands_total{start=\"warm\"} 7",
            "proxward_cell_limits_total{limit=\"memory\"} 2",
        ] {
            assert!(text.lines().any(|one| one == line), "{line}\n{text}");
        }
        let without = encode(&[], &[], None).unwrap();
        assert!(!without.contains("slots") && without.ends_with("# EOF\n"), "{without}");
    }
}
