//! Messages between the broker's own processes: packets on a socket pair, and memory files.
//!
//! A packet is copied by the kernel, so what was checked is what is done. What does not fit
//! (settings, files, readings) goes along as a memory file that is sealed against every change;
//! one without the seals is refused.

mod channel;
mod message;

pub(crate) use channel::{AsyncChannel, Channel, ChannelError, Sender, pair};
pub(crate) use message::{Control, Packet, Refused, WorkerAnswer, WorkerRequest};
