//! Headers that an operator can choose: what pages may load, and how long browsers insist on https.

use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_REPORT_ONLY, HOST, STRICT_TRANSPORT_SECURITY,
};
use http::{HeaderName, HeaderValue};

use crate::head::{Fields, Parts};
use crate::rewrite;

/// What the stock interface needs, and nothing else: it evaluates strings (ExtJS makes classes and
/// templates with `new Function`, the mobile one is WebAssembly), has scripts and styles in its
/// pages, images in `data:`, and consoles in frames and websockets of its own host. A script that
/// gets in can not load more from elsewhere, send what it finds there, or put the page in a frame.
///
/// The host stands for itself because not every browser counts its websockets as `'self'`.
const STOCK: &str = "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; \
    style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; \
    media-src 'self' data: blob:; connect-src 'self' wss://{host}; worker-src 'self' blob:; \
    frame-src 'self'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'; \
    form-action 'self'";

/// Where the request's own host goes.
const PLACE: &str = "{host}";

/// Longest policy, in bytes.
const LONGEST: usize = 4096;

/// Names that begin the parts of a policy (CSP Level 3 §6), but for those that end in `-src`.
const DIRECTIVES: [&str; 9] = [
    "base-uri",
    "form-action",
    "frame-ancestors",
    "report-to",
    "report-uri",
    "require-trusted-types-for",
    "sandbox",
    "trusted-types",
    "upgrade-insecure-requests",
];

/// The policy for the content of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentPolicy {
    /// None is sent.
    Off,
    /// Browsers enforce this one.
    Enforce(String),
    /// Browsers only report what it would refuse, in their consoles.
    ReportOnly(String),
}

impl Default for ContentPolicy {
    fn default() -> Self {
        Self::Enforce(STOCK.to_owned())
    }
}

impl ContentPolicy {
    /// `stock`, `report-only`, `off`, or a policy of one's own, in which `{host}` stands for the
    /// host of the request.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "stock" => return Ok(Self::default()),
            "report-only" => return Ok(Self::ReportOnly(STOCK.to_owned())),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let named = |part: &str| {
            let name = part.split_ascii_whitespace().next().unwrap_or_default();
            name.ends_with("-src") || DIRECTIVES.contains(&name)
        };
        let mut parts = text.split(';').filter(|part| !part.trim().is_empty()).peekable();
        if parts.peek().is_none() || !parts.all(named) {
            return Err(format!(
                "{text:?}; write \"stock\", \"report-only\", \"off\" or a policy such as \
                 \"default-src 'self'; object-src 'none'\""
            ));
        }
        if text.len() > LONGEST || !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(format!("write at most {LONGEST} bytes of plain ASCII in one line"));
        }
        Ok(Self::Enforce(text.to_owned()))
    }
}

/// The headers in force.
#[derive(Clone, Debug)]
pub(crate) struct PageHeaders {
    content: Option<(HeaderName, Content)>,
    /// None: the value of `hygiene` stays. An empty one: no such header.
    transport: Option<Option<HeaderValue>>,
}

#[derive(Clone, Debug)]
enum Content {
    Same(HeaderValue),
    /// Without the host of the request.
    OfHost(String),
}

impl PageHeaders {
    /// `insist`: seconds of Strict-Transport-Security, 0 for none; None keeps the default.
    pub(crate) fn new(content: &ContentPolicy, insist: Option<u64>) -> Self {
        let named = match content {
            ContentPolicy::Off => None,
            ContentPolicy::Enforce(text) => Some((CONTENT_SECURITY_POLICY, text)),
            ContentPolicy::ReportOnly(text) => Some((CONTENT_SECURITY_POLICY_REPORT_ONLY, text)),
        };
        let content = named.and_then(|(name, text)| {
            let content = match text.contains(PLACE) {
                true => Content::OfHost(text.clone()),
                false => Content::Same(HeaderValue::from_str(text).ok()?),
            };
            Some((name, content))
        });
        let value = |seconds: u64| HeaderValue::from_str(&format!("max-age={seconds}")).ok();
        let transport = insist.map(|seconds| Some(seconds).filter(|s| *s > 0).and_then(value));
        Self { content, transport }
    }

    /// Adds them to an answer: the policy to pages alone.
    pub(crate) fn add(&self, request: &Parts, answer: &mut Fields) {
        if let Some((name, content)) = &self.content
            && rewrite::is_page(answer)
            && !answer.contains(name)
            && let Some(value) = content.value(request)
        {
            answer.insert(name.clone(), value);
        }
        match &self.transport {
            None => {}
            Some(Some(value)) => {
                answer.insert(STRICT_TRANSPORT_SECURITY, value.clone());
            }
            Some(None) => {
                answer.remove(&STRICT_TRANSPORT_SECURITY);
            }
        }
    }
}

impl Content {
    fn value(&self, request: &Parts) -> Option<HeaderValue> {
        match self {
            Self::Same(value) => Some(value.clone()),
            Self::OfHost(text) => {
                let host = match request.headers.get(HOST) {
                    Some(host) => host.to_str().ok()?,
                    None => request.uri.authority()?.as_str(),
                };
                // It was checked to be a host; here anything else could add to the policy.
                let host = if crate::edge::is_host(host) { host } else { "" };
                HeaderValue::from_str(&text.replace(PLACE, host)).ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn policy(text: &str, host: &str, kind: &str) -> Fields {
        let content = ContentPolicy::parse(text).unwrap();
        let request = Parts::from(Request::builder().header("host", host));
        let mut answer = Fields::default();
        answer.insert(http::header::CONTENT_TYPE, kind.parse().unwrap());
        PageHeaders::new(&content, None).add(&request, &mut answer);
        answer
    }

    #[test]
    fn pages_get_the_policy_with_their_own_host() {
        let answer = policy("stock", "pve1:8006", "text/html;charset=UTF-8");
        let value = answer["content-security-policy"].to_str().unwrap();
        assert!(value.contains("connect-src 'self' wss://pve1:8006;"), "{value}");
        for part in ["object-src 'none'", "base-uri 'self'", "frame-ancestors 'self'"] {
            assert!(value.contains(part), "{part}");
        }
        assert!(!value.contains('{'));
        let answer = policy("stock", "x; script-src *", "text/html");
        assert!(!answer["content-security-policy"].to_str().unwrap().contains('*'));
    }

    #[test]
    fn other_answers_do_not() {
        let answer = policy("stock", "pve1", "application/json;charset=UTF-8");
        assert_eq!(answer.len(), 1);
        assert_eq!(policy("off", "pve1", "text/html").len(), 1);
    }

    #[test]
    fn words_and_policies_of_ones_own() {
        let answer = policy("report-only", "pve1", "text/html");
        assert!(answer.contains("content-security-policy-report-only"));
        let own = "default-src 'self'; object-src 'none';";
        assert_eq!(policy(own, "pve1", "text/html")["content-security-policy"], own);
        for wrong in ["", ";", "stok", "Stock", "script 'self'", "default-src 'self'\r\nX: y"] {
            ContentPolicy::parse(wrong).unwrap_err();
        }
        ContentPolicy::parse(&format!("img-src {}", "a".repeat(5000))).unwrap_err();
    }

    #[test]
    fn insisting_on_https_is_chosen_too() {
        let request = Parts::from(Request::builder());
        for (insist, expected) in
            [(None, Some("max-age=1")), (Some(0), None), (Some(60), Some("max-age=60"))]
        {
            let mut answer = Fields::default();
            answer.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=1"));
            PageHeaders::new(&ContentPolicy::Off, insist).add(&request, &mut answer);
            let value = answer.get(STRICT_TRANSPORT_SECURITY).map(|value| value.to_str().unwrap());
            assert_eq!(value, expected);
        }
    }
}
