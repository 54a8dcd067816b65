//! May I reach this address? Address classes, sets of addresses and ports, destinations.
//!
//! One answer for everything that connects outwards or judges a peer: the SDK's downloads, a
//! cell's egress, the gate's client lists. Nothing here resolves names or opens sockets; the
//! caller resolves, [`Policy::check`] judges each resolved address and returns those to connect
//! to, and the caller connects to exactly these. A second lookup in between is how DNS rebinding
//! gets past a check.
//!
//! Two rules hold everywhere:
//! - an address is judged as what packets to it end up at: the IPv4 address inside a v4-mapped,
//!   v4-compatible, 6to4 or NAT64 address counts, so `64:ff9b::7f00:1` is loopback;
//! - text has one reading or none: `0x7f.1`, `2130706433`, `fe80::1%eth0` are refused, not guessed.
//!
//! Only [`AddressSet`]'s `FromStr` reads the looser dialect of PVE's own files, as stock does.

mod bounds;
mod cidr;
mod class;
mod host;
mod policy;
mod ports;
mod quote;
mod refused;
mod rule;
mod set;
mod set_text;
mod span;
mod special;

pub use bounds::{
    MAX_HOST_BYTES, MAX_PORT_RANGES, MAX_RESOLVED, MAX_RULES, MAX_SET_BYTES, MAX_SET_ENTRIES,
};
pub use cidr::{Cidr, CidrError};
pub use class::{AddressClass, canonical, class};
pub use host::{Host, HostError, HostPort, Transport};
pub use policy::{Policy, TooManyRules};
pub use ports::{PortError, PortSet};
pub use refused::Refused;
pub use rule::{Action, Rule, RuleError, Target};
pub use set::{AddressSet, SetError};
pub use special::{SPECIAL_RANGES, SpecialRange};
