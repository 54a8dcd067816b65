//! The gate when what it stands between breaks: no wrong answer, nothing acknowledged lost, no
//! memory for those who do not read.

mod acts;
mod client;
mod disk;
mod kills;
pub(crate) mod process;
mod secrets;
mod websocket;
