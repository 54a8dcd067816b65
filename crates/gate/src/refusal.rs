//! What the gate answers by itself: one row per reason, with status, text and shape.
//!
//! Where pveproxy has an answer of its own, ours is the same to the letter (status line and
//! body, see the recorded exchanges of a genuine server); where it hangs or crashes, or where
//! only a gateway can fail, the body has the shape of its JSON errors.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use telemetry::HttpDate;

use crate::body::AnswerBody;
use crate::head::Answer;
use crate::policy;
use crate::reason::Phrase;

/// Why a request was not passed on, or why upstream's answer did not come back.
///
/// Variants carry only text that came from the client itself and was checked to be visible
/// ASCII; the cause of an upstream failure goes to the log, never to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    RequestLine,
    Version(String),
    Url,
    HeaderLine,
    LineEnding,
    HeaderName,
    Folding,
    HeaderValue,
    Length,
    Encoding(String),
    Host,
    HeadTooLarge,
    HeadTimeout,
    Method(String),
    Authority,
    Path,
    UnexpectedContent(String),
    BodyTooLarge,
    BodyTimeout,
    BodyIncomplete,
    LengthRequired,
    Address,
    TwoSessions,
    CrossSite,
    Csrf,
    NotLoggedIn,
    /// By the key of the cluster, nobody has signed it, or it has expired.
    InvalidTicket,
    ForeignTicket,
    ApiToken,
    LoginFormat,
    ContentType,
    Parameters,
    ConsoleTicket,
    NoSuchPath,
    /// By this part of the policy.
    Policy(String),
    /// This entry asks for a second factor at the login.
    SecondFactor(String),
    /// This entry asks for a code.
    StepUp(String),
    /// The same to somebody who is not known: it says nothing.
    PolicyUnsaid,
    PolicyParameters,
    PathTooDeep,
    /// A code that is wrong, or was used.
    WrongCode,
    NotEnrolled,
    /// Only a session can show a code.
    NoSession,
    /// The caller lacks a privilege at `/`.
    Privilege(&'static str),
    /// A change of the policy is not confirmed.
    NotConfirmed(String),
    /// What the schema does not know.
    Unfit(Box<policy::Answer>),
    /// The caller lacks the privilege that a plugin asks for.
    PluginPrivilege,
    Development,
    NotStored,
    /// What other gates have revoked can not be known.
    StoreSilent,
    Unauthorized,
    UpstreamUnreachable,
    UpstreamTimeout,
    UpstreamBroken,
}

/// How the text of a refusal is written in the body.
#[derive(Clone)]
enum Shape {
    /// No body: as pveproxy for methods it does not know.
    Empty,
    /// No body and no word about the connection: as an answer of pveproxy without a body is
    /// passed on.
    Bare,
    /// The text itself: as pveproxy for what it refuses before dispatch.
    Text,
    /// `{"data":null,"message":"…"}`: as pveproxy after dispatch.
    Json,
    /// JSON that says more.
    Written(Bytes),
}

/// One refusal as it is sent and counted.
struct Row {
    /// Label in metrics and log.
    rule: &'static str,
    status: u16,
    shape: Shape,
    /// Reason phrase, and body when there is one.
    text: Cow<'static, str>,
}

impl Refusal {
    /// The label under which this refusal is counted and logged.
    pub(crate) fn rule(&self) -> &'static str {
        self.row().rule
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> u16 {
        self.row().status
    }

    /// The whole answer for hyper. It closes an HTTP/1 connection, as pveproxy does after
    /// every error: the rest of a refused message must not be read as the next one.
    pub(crate) fn response(&self, now: Duration) -> Answer<AnswerBody> {
        let row = self.row();
        let body = row.body();
        let head = row.headers(now, body.len());
        let mut response = Answer::new(AnswerBody::full(body));
        if let Ok(status) = StatusCode::from_u16(row.status) {
            response.head.status = status;
        }
        response.head.phrase = Phrase::new(Bytes::copy_from_slice(row.text.as_bytes()));
        for (name, value) in head {
            let name = HeaderName::from_bytes(name.as_bytes());
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
                response.head.headers.append(name, value);
            }
        }
        response
    }

    /// The whole answer as bytes, for a head that hyper never saw.
    pub(crate) fn bytes(&self, now: Duration) -> Vec<u8> {
        let row = self.row();
        // pveproxy answers in 1.0 what it could not recognise as a 1.1 request.
        let version = match self {
            Self::RequestLine | Self::Version(_) | Self::Url => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        let body = row.body();
        let mut head = format!("{version} {} {}\r\n", row.status, row.text);
        for (name, value) in row.headers(now, body.len()) {
            // Writing to a String can not fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let mut answer = head.into_bytes();
        answer.extend_from_slice(&body);
        answer
    }

    /// The rows that quote the request.
    fn row(&self) -> Row {
        let (rule, status, shape, text) = match self {
            Self::Version(version) => {
                let text = format!("http protocol version {version} not supported");
                ("version", 506, Shape::Text, text)
            }
            Self::Encoding(value) => {
                let text = if value.eq_ignore_ascii_case("chunked") {
                    "chunked transfer encoding not supported".to_owned()
                } else {
                    format!("Unknown transfer encoding '{value}'")
                };
                ("transfer-encoding", 501, Shape::Text, text)
            }
            Self::Method(method) => {
                let text = format!("method '{method}' not available");
                ("method", 501, Shape::Empty, text)
            }
            Self::UnexpectedContent(method) => {
                let text = format!("Unexpected content for method '{method}'");
                ("unexpected-content", 501, Shape::Text, text)
            }
            Self::Unfit(answer) => {
                let body = Bytes::copy_from_slice(answer.body.as_bytes());
                ("schema", answer.status, Shape::Written(body), answer.reason.clone())
            }
            Self::Privilege(name) => {
                ("privilege", 403, Shape::Json, format!("Permission check failed (/, {name})"))
            }
            Self::SecondFactor(name) => {
                let text = format!(
                    "This gate asks for a second factor ('{name}'): add one to your account and log in again"
                );
                ("second-factor", 403, Shape::Json, text)
            }
            Self::StepUp(name) => {
                let text = format!(
                    "This gate asks for a code of your second factor ('{name}'): POST it to /proxward/api/step-up"
                );
                ("step-up", 403, Shape::Json, text)
            }
            Self::NotConfirmed(why) => ("not-confirmed", 409, Shape::Json, why.clone()),
            Self::Policy(by) => {
                ("policy", 403, Shape::Json, format!("Forbidden by the policy of this gate: {by}"))
            }
            _ => return self.fixed_row(),
        };
        Row { rule, status, shape, text: text.into() }
    }

    /// The rows that are always the same.
    #[rustfmt::skip]
    fn fixed_row(&self) -> Row {
        use Shape::{Bare, Json, Text};
        let (rule, status, shape, text) = match self {
            // pveproxy's own words
            Self::RequestLine => ("request-line", 400, Text, "bad request"),
            Self::Url => ("url", 400, Text, "invalid url"),
            Self::HeaderLine => ("header-line", 506, Text, "unable to parse request header"),
            Self::BodyTooLarge => ("body-too-large", 501, Text, "for data too large"),
            // where pveproxy accepts what smuggling is made of
            Self::LineEnding => ("line-ending", 400, Json, "a line of the request head does not end in CR LF"),
            Self::HeaderName => ("header-name", 400, Json, "space before the colon of a header"),
            Self::Folding => ("folding", 400, Json, "a header continues on a second line"),
            Self::HeaderValue => ("header-value", 400, Json, "control character in a header"),
            Self::Length => ("content-length", 400, Json, "Content-Length is repeated or not a number"),
            Self::Host => ("host", 400, Json, "Host is repeated or not a host"),
            Self::Authority => ("authority", 400, Json, "the request is for another host"),
            Self::Path => ("path", 400, Json, "control character or invalid UTF-8 in the path"),
            // where pveproxy falls silent
            Self::HeadTooLarge => ("head-too-large", 431, Json, "Request Header Fields Too Large"),
            Self::HeadTimeout => ("head-timeout", 408, Json, "the request head took too long"),
            Self::BodyTimeout => ("body-timeout", 408, Json, "the request body took too long"),
            Self::BodyIncomplete => ("body-incomplete", 400, Json, "the request body ended early"),
            Self::LengthRequired => ("length-required", 411, Json, "an upload needs a Content-Length"),
            // who asks, in pveproxy's own words where it has some; the rest is the gate's alone
            Self::Csrf => ("csrf", 401, Bare, "Permission denied - invalid csrf token"),
            Self::NotLoggedIn => ("session-ended", 401, Bare, "Authentication failed!"),
            Self::InvalidTicket => ("invalid-ticket", 401, Bare, "Authentication failed!"),
            Self::ConsoleTicket => ("console-ticket", 401, Bare, "permission denied - invalid PVEVNC ticket"),
            Self::Address => ("address", 403, Json, "permission denied"),
            Self::CrossSite => ("cross-site", 403, Json, "another site's page has sent this request"),
            Self::TwoSessions => ("two-sessions", 400, Json, "more than one session cookie"),
            Self::ForeignTicket => ("foreign-ticket", 401, Json, "tickets from elsewhere are refused here, log in"),
            Self::ApiToken => ("api-token", 403, Json, "API tokens are refused here"),
            Self::LoginFormat => ("login-format", 501, Json, "no login in this format"),
            Self::ContentType => ("content-type", 506, Text, "a login of this Content-Type is not implemented"),
            Self::Parameters => ("login-parameters", 400, Json, "the parameters of the login can not be read"),
            Self::NoSuchPath => ("no-such-path", 404, Json, "no such path"),
            Self::PolicyUnsaid => ("policy", 401, Bare, "Authentication failed!"),
            Self::PolicyParameters => ("policy-parameters", 400, Json, "the parameters can not be read, and a rule of this gate looks at them"),
            Self::WrongCode => ("wrong-code", 403, Json, "the code is wrong, or was used before"),
            Self::NotEnrolled => ("not-enrolled", 409, Json, "no codes are set up for this account; the operator runs proxward step-up enroll"),
            Self::NoSession => ("no-session", 403, Json, "a code is shown by a session; log in through this gate"),
            Self::PathTooDeep => ("path-too-deep", 501, Json, "no call has so deep a path"),
            Self::PluginPrivilege => ("privilege", 403, Json, "the plugin needs a privilege that you do not hold"),
            Self::Development => ("development", 403, Json, "the development upstream has ended, or another site's page asks"),
            Self::NotStored => ("not-stored", 503, Json, "the session has ended, but that could not be stored"),
            Self::StoreSilent => ("store-silent", 503, Json, "the gate can not reach the store of its sessions; try again"),
            // a banned address; to the letter what a ticket that is not valid gets
            Self::Unauthorized => ("banned", 401, Bare, "Authentication failed!"),
            // where only a gateway can fail; pveproxy's own 595 and 596 (towards other
            // nodes) are not HTTP status codes and HTTP/2 clients reject them
            Self::UpstreamUnreachable => ("upstream-unreachable", 502, Json, "no connection to Proxmox VE"),
            Self::UpstreamBroken => ("upstream-broken", 502, Json, "the answer of Proxmox VE broke off"),
            Self::UpstreamTimeout => ("upstream-timeout", 504, Json, "Proxmox VE did not answer in time"),
            Self::Version(_) | Self::Encoding(_) | Self::Method(_) | Self::UnexpectedContent(_)
            | Self::Policy(_) | Self::Unfit(_) | Self::Privilege(_) | Self::NotConfirmed(_)
            | Self::SecondFactor(_) | Self::StepUp(_) =>
                ("refused", 400, Json, "bad request"),
        };
        Row { rule, status, shape, text: text.into() }
    }
}

impl Row {
    fn body(&self) -> Bytes {
        match &self.shape {
            Shape::Written(body) => body.clone(),
            Shape::Empty | Shape::Bare => Bytes::new(),
            Shape::Text => Bytes::copy_from_slice(self.text.as_bytes()),
            Shape::Json => error_json(&self.text),
        }
    }

    /// pveproxy's header lines in its order.
    fn headers(&self, now: Duration, length: usize) -> Vec<(&'static str, Cow<'static, str>)> {
        let date = HttpDate(now.as_secs()).to_string();
        let mut headers: Vec<(_, Cow<'static, str>)> = vec![("Cache-Control", "max-age=0".into())];
        let passed_on = matches!(self.shape, Shape::Bare);
        if !passed_on {
            headers.push(("Connection", "close".into()));
        }
        headers.extend([
            ("Date", date.clone().into()),
            ("Pragma", "no-cache".into()),
            ("Server", "pve-api-daemon/3.0".into()),
        ]);
        if !passed_on {
            headers.push(("Content-Length", length.to_string().into()));
        }
        if matches!(self.shape, Shape::Json | Shape::Written(_)) {
            headers.push(("Content-Type", "application/json;charset=UTF-8".into()));
        }
        if self.rule == "step-up" {
            headers.push(("proxward-step-up", "totp".into()));
        }
        headers.push(("Expires", date.into()));
        headers
    }
}

/// The body of a PVE error: data is null, the text is in `message`.
pub(crate) fn error_json(message: &str) -> Bytes {
    let message = serde_json::Value::from(message);
    Bytes::from(format!("{{\"data\":null,\"message\":{message}}}"))
}

#[cfg(test)]
mod tests {
    use super::Refusal;
    use crate::reason::Phrase;
    use std::time::Duration;

    #[test]
    fn as_the_genuine_server_says_it() {
        let now = Duration::from_secs(1_795_215_085);
        let answer = String::from_utf8(Refusal::Version("2.0".into()).bytes(now)).unwrap();
        assert_eq!(
            answer,
            "HTTP/1.0 506 http protocol version 2.0 not supported\r\n\
             Cache-Control: max-age=0\r\n\
             Connection: close\r\n\
             Date: Fri, 20 Nov 2026 22:51:25 GMT\r\n\
             Pragma: no-cache\r\n\
             Server: pve-api-daemon/3.0\r\n\
             Content-Length: 39\r\n\
             Expires: Fri, 20 Nov 2026 22:51:25 GMT\r\n\
             \r\n\
             http protocol version 2.0 not supported"
        );
    }

    #[test]
    fn where_the_genuine_server_is_silent_the_body_is_its_json() {
        let answer = String::from_utf8(Refusal::HeadTooLarge.bytes(Duration::ZERO)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(answer.contains("Content-Type: application/json;charset=UTF-8\r\n"));
        assert!(
            answer.ends_with(
                "\r\n\r\n{\"data\":null,\"message\":\"Request Header Fields Too Large\"}"
            )
        );
    }

    #[test]
    fn both_forms_agree() {
        let refusal = Refusal::Method("get".into());
        let response = refusal.response(Duration::ZERO);
        assert_eq!(response.head.status, 501);
        let reason = response.head.phrase;
        assert_eq!(
            reason.as_ref().map(Phrase::as_bytes),
            Some(b"method 'get' not available".as_slice())
        );
        assert_eq!(response.head.headers["content-length"], "0");
        assert_eq!(response.head.headers["connection"], "close");
    }
}
