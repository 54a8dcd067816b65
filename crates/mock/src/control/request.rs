//! What a control request is, and who may not send one.

use std::net::IpAddr;

use serde_json::Value;

use crate::limits::CONTROL_BODY;
use crate::wire::Head;

/// A refusal: status and text.
pub(super) type Refusal = (u16, String);

/// The bytes of the body that follows, once the head is known to come from no browser.
///
/// A page can make its browser send requests here, and with a name of its own that leads to a
/// loopback address even read the answers. Such requests name that page (`Origin`,
/// `Sec-Fetch-Site`) or that name (`Host`), and can not have a JSON type without being asked
/// before by OPTIONS, which is refused like every unknown method.
pub(super) fn admit(head: &Head) -> Result<usize, Refusal> {
    let foreign = |text: &str| Err((403, text.to_owned()));
    if head.header("Origin").is_some() {
        return foreign("requests of web pages are refused");
    }
    if head.header("Sec-Fetch-Site").is_some_and(|site| site != "none") {
        return foreign("requests of web pages are refused");
    }
    if !head.header("Host").is_some_and(|host| is_own(&host)) {
        return foreign("Host has to be a loopback address or localhost");
    }
    if head.header("Transfer-Encoding").is_some() {
        return Err((411, "send a Content-Length".to_owned()));
    }
    let length = head.header("Content-Length").unwrap_or_else(|| "0".to_owned());
    let length: usize =
        length.parse().map_err(|_| (400, "Content-Length is no number".to_owned()))?;
    if length > CONTROL_BODY {
        return Err((413, format!("a body has at most {CONTROL_BODY} bytes")));
    }
    let kind = head.header("Content-Type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if length > 0 && !kind.eq_ignore_ascii_case("application/json") {
        return Err((415, "a body has the type application/json (curl: --json)".to_owned()));
    }
    Ok(length)
}

/// The members of a body; none of an empty one. Other names than `known` are refused.
pub(super) fn members(
    body: &[u8],
    known: &[&str],
) -> Result<serde_json::Map<String, Value>, Refusal> {
    if body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else {
        return Err((400, "the body is no JSON object".to_owned()));
    };
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err((400, format!("unknown member {name:?}; known: {}", known.join(", ")))),
        None => Ok(members),
    }
}

fn is_own(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Head {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Head {
            method: "POST".into(),
            target: "/reset".into(),
            minor: 1,
            headers: headers.collect(),
        }
    }

    #[test]
    fn what_comes_from_a_page_is_refused() {
        let own = ("Host", "127.0.0.1:8007");
        assert_eq!(admit(&head(&[own])), Ok(0));
        let refused: &[&[(&str, &str)]] = &[
            &[],
            &[("Host", "rebound.example:8007")],
            &[("Host", "127.0.0.1.example")],
            &[("Host", "192.0.2.1")],
            &[own, ("Origin", "https://page.example")],
            &[own, ("Origin", "null")],
            &[own, ("Origin", "http://127.0.0.1:8007")],
            &[own, ("Sec-Fetch-Site", "cross-site")],
            &[own, ("Sec-Fetch-Site", "same-site")],
        ];
        for headers in refused {
            assert_eq!(admit(&head(headers)).unwrap_err().0, 403, "{headers:?}");
        }
        for host in ["localhost", "LOCALHOST:1", "[::1]:8007", "[::1]", "127.9.9.9"] {
            assert_eq!(admit(&head(&[("Host", host)])), Ok(0), "{host}");
        }
    }

    #[test]
    fn bodies_are_json_and_bounded() {
        let with = |kind, length| {
            let headers =
                [("Host", "localhost"), ("Content-Type", kind), ("Content-Length", length)];
            admit(&head(&headers)).map_err(|(status, _)| status)
        };
        assert_eq!(with("application/json; charset=utf-8", "9"), Ok(9));
        assert_eq!(with("text/plain", "9"), Err(415));
        assert_eq!(with("application/x-www-form-urlencoded", "9"), Err(415));
        assert_eq!(with("application/json", "99999999"), Err(413));
        assert_eq!(with("application/json", "-1"), Err(400));
        assert!(members(b"{\"a\":1}", &["a"]).is_ok() && members(b"", &[]).is_ok());
        assert!(members(b"{\"b\":1}", &["a"]).is_err() && members(b"[1]", &["a"]).is_err());
    }
}
