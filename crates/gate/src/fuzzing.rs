//! Readers of bytes from outside, for the fuzz targets; not part of the API.

use std::net::SocketAddr;

use crate::edge;
use crate::http1::wire;
use crate::proxy_protocol::{self, Parsed, Source};

/// The client that a PROXY header names (`None`: the proxy itself) and the header's length;
/// `Ok(None)` while more bytes are needed.
pub fn proxy_header(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, String> {
    match proxy_protocol::parse(bytes).map_err(|why| why.to_string())? {
        Parsed::Incomplete => Ok(None),
        Parsed::Header(Source::Client(client), length) => Ok(Some((Some(client), length))),
        Parsed::Header(Source::Proxy, length) => Ok(Some((None, length))),
    }
}

/// The path that rules see; `None` when it is refused.
pub fn decode_path(raw: &str) -> Option<String> {
    edge::decode_path(raw).ok().map(|path| path.into_owned())
}

/// The length of the HTTP/1 head at the start of `bytes` and of the body behind it; `None` when
/// it is refused or not whole.
pub fn head(bytes: &[u8]) -> Option<(usize, u64)> {
    let end = wire::head_end(bytes, 0)?;
    let framing = wire::check(bytes.get(..end)?).ok()?;
    Some((end, framing.body))
}
