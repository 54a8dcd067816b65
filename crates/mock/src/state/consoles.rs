//! The ports of consoles: who asked for one, and what stands behind it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use crate::limits::CONSOLE_WAIT;

/// What answers on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsoleKind {
    Vnc,
    Terminal,
    Spice,
}

impl ConsoleKind {
    /// The ports of `PVE::Tools::next_vnc_port` and `next_spice_port`.
    pub(crate) fn ports(self) -> Range<u16> {
        match self {
            Self::Vnc | Self::Terminal => 5900..6000,
            Self::Spice => 61_000..62_000,
        }
    }
}

#[derive(Debug, Clone)]
struct Console {
    kind: ConsoleKind,
    path: String,
    asked: Duration,
    open: u32,
}

/// By port. Bounded by the ranges of ports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consoles {
    ports: BTreeMap<u16, Console>,
}

impl Consoles {
    /// The lowest port that nobody uses or waits for, else the one that was asked for longest
    /// ago; `None` when all are in use. `path` is what the ticket is for, as `/vms/100`.
    pub(crate) fn reserve(&mut self, now: Duration, kind: ConsoleKind, path: &str) -> Option<u16> {
        let unused = |port: &u16| {
            let waiting =
                |console: &Console| console.open > 0 || now < console.asked + CONSOLE_WAIT;
            !self.ports.get(port).is_some_and(waiting)
        };
        let oldest = || {
            let closed = self.ports.range(kind.ports()).filter(|(_, console)| console.open == 0);
            closed.min_by_key(|(_, console)| console.asked).map(|(port, _)| *port)
        };
        let port = kind.ports().find(unused).or_else(oldest)?;
        self.ports.insert(port, Console { kind, path: path.to_owned(), asked: now, open: 0 });
        Some(port)
    }

    /// A client has connected: what answers it, and the path. A port that nobody asked for is
    /// taken for a VNC server that the administrator has started.
    pub(crate) fn opened(&mut self, port: u16) -> (ConsoleKind, String) {
        match self.ports.get_mut(&port) {
            Some(console) => {
                console.open += 1;
                (console.kind, console.path.clone())
            }
            None => (ConsoleKind::Vnc, String::new()),
        }
    }

    pub(crate) fn closed(&mut self, port: u16) {
        if let Some(console) = self.ports.get_mut(&port) {
            console.open = console.open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_again_when_nobody_came_or_all_left() {
        let mut consoles = Consoles::default();
        let at = Duration::from_secs;
        let ask = |consoles: &mut Consoles, now| {
            consoles.reserve(at(now), ConsoleKind::Terminal, "/vms/100").unwrap()
        };
        assert_eq!([ask(&mut consoles, 0), ask(&mut consoles, 0)], [5900, 5901]);
        assert_eq!(consoles.opened(5900), (ConsoleKind::Terminal, "/vms/100".to_owned()));
        assert_eq!(ask(&mut consoles, 10), 5901);
        consoles.closed(5900);
        assert_eq!(ask(&mut consoles, 10), 5900);
        assert_eq!(consoles.reserve(at(10), ConsoleKind::Spice, "/vms/100"), Some(61_000));
    }

    #[test]
    fn a_standing_clock_does_not_use_up_the_ports() {
        let mut consoles = Consoles::default();
        let ask = |consoles: &mut Consoles| {
            consoles.reserve(Duration::ZERO, ConsoleKind::Vnc, "/vms/100")
        };
        let all: Vec<_> = (0..100).filter_map(|_| ask(&mut consoles)).collect();
        assert_eq!((all.first(), all.last()), (Some(&5900), Some(&5999)));
        consoles.opened(5900);
        assert_eq!(ask(&mut consoles), Some(5901));
        for port in 5901..6000 {
            consoles.opened(port);
        }
        assert_eq!(ask(&mut consoles), None);
    }
}
