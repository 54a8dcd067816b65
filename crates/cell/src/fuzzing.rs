//! Private parsers, for fuzz targets only.

use std::net::SocketAddr;

/// A socket address as a command lays it into its memory; none when it is no IPv4 or IPv6 one.
#[must_use]
pub fn socket_address(bytes: &[u8]) -> Option<SocketAddr> {
    crate::supervise::parse_address(bytes).ok()
}

/// The answer to a question for a name, and the name; none when the bytes are no plain question.
#[must_use]
pub fn question(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    crate::supervise::answer_question(bytes)
}

/// Loader and libraries that an executable asks for; none when it is no ELF file for 64-bit x86.
#[must_use]
pub fn executable(bytes: &[u8]) -> Option<(Option<String>, Vec<String>)> {
    crate::plan::wanted_of(bytes)
}
