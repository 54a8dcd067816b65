//! The bytes of HTTP/1 as pveproxy reads and writes them.
//!
//! A strict library can not give the genuine server's answers to odd requests (a header
//! without a colon is `506`, 64 header lines are met with silence), so this is a line
//! reader with the same rules and nothing else.

mod body;
mod head;
mod multipart;
mod response;
mod websocket;

pub(crate) use body::{JsonFault, form, json_object, unescape};
pub(crate) use head::{Fault, Head, Parsed, read_head};
pub(crate) use multipart::{FAILED, Multipart, Piece};
pub(crate) use response::{Disposition, Payload, Response, Wire};
#[cfg(test)]
pub(crate) use websocket::client_frame;
pub(crate) use websocket::{Opcode, Upgrade, read_frame, write_frame};
