//! Readers of bytes from outside, for the fuzz targets; not part of the API.

use std::net::SocketAddr;

use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue, Request};

use crate::compression::Coding;
use crate::credential::{Credential, Headers};
use crate::edge;
use crate::forwarded;
use crate::frames::Frames;
use crate::head::{Fields, Parts};
use crate::http1::wire;
use crate::login::fuzzing::{Kind, Params, Shape, UserText};
use crate::policy;
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

/// The client of a request that came from 10.0.0.1, where 10.0.0.0/8 are proxies, with this
/// X-Forwarded-For; None where it is no header.
pub fn forwarded(line: &[u8]) -> Option<SocketAddr> {
    let mut headers = Fields::default();
    let name = HeaderName::from_static("x-forwarded-for");
    headers.append(name.clone(), HeaderValue::from_bytes(line).ok()?);
    let trusted = "10.0.0.0/8".parse().ok()?;
    Some(forwarded::client(([10, 0, 0, 1], 5000).into(), &headers, (&trusted, &name)))
}

/// The coding in which an answer goes to a client with this Accept-Encoding; None where it is no
/// header.
pub fn coding(line: &[u8]) -> Option<Option<&'static str>> {
    let mut headers = Fields::default();
    headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(line).ok()?);
    Some(Coding::wanted(&headers).map(Coding::name))
}

/// An account as it stands in log lines and in the line for fail2ban.
pub fn account(text: &str) -> String {
    UserText::new(text).to_string()
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

/// The credential that counts of these header lines, and what upstream gets in their place.
/// None where a line is no header.
pub fn credential(
    cookies: &[&[u8]],
    authorization: &[u8],
) -> Option<(Option<Vec<u8>>, [Option<Vec<u8>>; 2])> {
    let mut request = Request::builder();
    for cookie in cookies {
        request = request.header("cookie", HeaderValue::from_bytes(cookie).ok()?);
    }
    request = request.header("authorization", HeaderValue::from_bytes(authorization).ok()?);
    let parts = Parts::from(request.body(()).ok()?.into_parts().0);
    let headers = Headers::of(&parts);
    let credential = headers.credential();
    let lines = headers.with_credential(&credential);
    let found = match credential {
        Credential::None => None,
        Credential::Ticket { text, .. } | Credential::ApiToken(text) => Some(text.into_owned()),
    };
    let bytes = |line: HeaderValue| line.as_bytes().to_vec();
    Some((found, [lines.cookie.map(bytes), lines.authorization.map(bytes)]))
}

/// The form that upstream gets for a login; None when it is refused.
pub fn login(json: bool, body: &[u8], query: Option<&str>) -> Option<Vec<u8>> {
    let kind = if json { Kind::Json } else { Kind::Form };
    Params::read((kind, Shape::LOGIN), body, query).ok().map(|params| params.write())
}

/// Whether a client's websocket may go on after these bytes.
pub fn frames(bytes: &[u8], cut: usize) -> bool {
    let mut frames = Frames::default();
    bytes.chunks(cut.max(1)).all(|part| frames.pass(part).is_ok())
}

/// The verdict of rules that look at all there is on a call: whether it is denied, or None where
/// path or parameters can not be read and the gate refuses it for that.
pub fn policy(path: &str, json: bool, body: &[u8], query: Option<&str>) -> Option<bool> {
    policy::fuzzing::denied(path, json, body, query)
}
