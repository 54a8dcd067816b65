//! Which credential a request carries: found exactly as pveproxy finds it, so that what the
//! gate judges and what Proxmox VE sees can not be two different things.
//!
//! pveproxy (`extract_auth_value`) searches the text of a header for
//! `(?:^|\s)NAME(?:=| )([^;]*)` and percent-decodes what it finds once; empty and `0` are
//! nothing to Perl. It looks for a ticket in Cookie, then for a ticket in Authorization, then
//! for an API token in Authorization, and stops at the first. The gate's own session cookie is
//! looked for before all of these, by the rules of RFC 6265.
//!
//! Upstream gets the one credential that was found, written anew ([`Lines`]); a second one
//! beside it is never passed on.

use std::borrow::Cow;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Version};
use memchr::{memchr, memchr2};
use secrets::SecretString;

use crate::edge::unescape;
use crate::head::{Fields, Parts};
use crate::refusal::Refusal;
use crate::session::Value;

/// The browser's credential. The prefix makes browsers refuse it unless it is Secure, for this
/// host alone and for every path, so that no neighbour can plant one (RFC 6265bis §4.1.3).
pub(crate) const SESSION_COOKIE: &str = "__Host-proxward";

/// The name of PVE's ticket in Cookie and in Authorization.
pub(crate) const TICKET: &str = "PVEAuthCookie";

const API_TOKEN: &str = "PVEAPIToken";

pub(crate) static CSRF_HEADER: HeaderName = HeaderName::from_static("csrfpreventiontoken");

/// Cookies besides the credential that Proxmox VE reads, with the reason each is passed on.
static COOKIES: [(&str, &str); 2] = [
    ("PVELangCookie", "the language of the interface"),
    ("PVEThemeCookie", "the theme of the interface"),
];

/// The header a ticket came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    Cookie,
    Authorization,
}

/// The credential pveproxy would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Credential<'h> {
    None,
    /// Decoded; whether it is one of Proxmox VE or of the gate is not known yet.
    Ticket {
        text: Cow<'h, [u8]>,
        by: Carrier,
    },
    /// Decoded, `USER@REALM!NAME=SECRET`.
    ApiToken(Cow<'h, [u8]>),
}

/// Cookie and Authorization as pveproxy reads them: several lines are one text.
pub(crate) struct Headers<'h> {
    cookie: Option<Cow<'h, [u8]>>,
    authorization: Option<Cow<'h, [u8]>>,
    all: &'h Fields,
}

impl<'h> Headers<'h> {
    pub(crate) fn of(parts: &'h Parts) -> Self {
        // HTTP/2 clients split Cookie into one field per cookie, which an intermediary joins
        // like this (RFC 9113 §8.2.3); Perl joins the lines of HTTP/1 with a comma.
        let between: &[u8] = if parts.version == Version::HTTP_2 { b"; " } else { b", " };
        Self {
            cookie: joined(&parts.headers, &COOKIE, between),
            authorization: joined(&parts.headers, &AUTHORIZATION, b", "),
            all: &parts.headers,
        }
    }

    /// What pveproxy would use of these.
    pub(crate) fn credential(&self) -> Credential<'_> {
        let (cookie, authorization) = (self.cookie.as_deref(), self.authorization.as_deref());
        if let Some(text) = cookie.and_then(|header| extract(header, TICKET)) {
            return Credential::Ticket { text, by: Carrier::Cookie };
        }
        if let Some(text) = authorization.and_then(|header| extract(header, TICKET)) {
            return Credential::Ticket { text, by: Carrier::Authorization };
        }
        match authorization.and_then(|header| extract(header, API_TOKEN)) {
            Some(text) => Credential::ApiToken(text),
            None => Credential::None,
        }
    }

    /// Whether Cookie holds anything by the name of PVE's ticket.
    pub(crate) fn has_ticket_cookie(&self) -> bool {
        self.cookie.as_deref().is_some_and(|header| extract(header, TICKET).is_some())
    }

    /// The gate's session cookie; `Some(None)` when there is one that no gate has made.
    ///
    /// # Errors
    /// [`Refusal::TwoSessions`] when there are two that differ. No browser sends that: somebody
    /// tries which of them is looked at.
    pub(crate) fn session(&self) -> Result<Option<Option<Value>>, Refusal> {
        let mut found: Option<&[u8]> = None;
        for line in self.all.get_all(COOKIE) {
            for pair in pairs(line.as_bytes()) {
                let Some(value) = session_pair(pair) else { continue };
                if found.is_some_and(|first| first != value) {
                    return Err(Refusal::TwoSessions);
                }
                found = Some(value);
            }
        }
        Ok(found.map(Value::parse))
    }

    /// The lines for upstream that carry a [`ticket_pair`]; `csrf` beside it.
    pub(crate) fn with_ticket(&self, pair: &str, csrf: Option<&str>) -> Lines {
        Lines {
            cookie: self.cookies(pair.as_bytes()),
            authorization: None,
            csrf: csrf
                .and_then(|csrf| HeaderValue::from_str(csrf).ok())
                .map_or(Csrf::None, Csrf::Is),
            ..Lines::default()
        }
    }

    /// The lines for upstream that carry what was found; the client's CSRF token beside it.
    pub(crate) fn with_credential(&self, credential: &Credential<'_>) -> Lines {
        let (name, text, by) = match credential {
            Credential::Ticket { text, by } => (TICKET, text, *by),
            Credential::ApiToken(text) => (API_TOKEN, text, Carrier::Authorization),
            Credential::None => return self.lines(self.cookies(b""), None),
        };
        match by {
            Carrier::Cookie => {
                let cookie = self.verbatim(&COOKIE, name);
                self.lines(cookie.or_else(|| self.cookies(&pair(name, text))), None)
            }
            Carrier::Authorization => {
                let line = self.verbatim(&AUTHORIZATION, name);
                self.lines(self.cookies(b""), line.or_else(|| sensitive(&pair(name, text))))
            }
        }
    }

    /// The lines for upstream that carry a [`token_pair`].
    pub(crate) fn with_token(&self, pair: &str) -> Lines {
        self.lines(self.cookies(b""), sensitive(pair.as_bytes()))
    }

    fn lines(&self, cookie: Option<HeaderValue>, authorization: Option<HeaderValue>) -> Lines {
        Lines { cookie, authorization, csrf: Csrf::OfTheClient, ..Lines::default() }
    }

    /// The client's own line where it is nothing but the credential, which is how tools write
    /// it: then there is nothing to take out.
    fn verbatim(&self, header: &HeaderName, name: &str) -> Option<HeaderValue> {
        let mut lines = self.all.get_all(header);
        let line = lines.next().filter(|_| lines.next().is_none())?;
        let value = line.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        let mut line = line.clone();
        line.set_sensitive(true);
        // No early end: so the compiler compares many bytes at once.
        let plain = value.iter().fold(true, |plain, byte| plain & is_plain(*byte));
        plain.then_some(line)
    }

    /// `first` and the harmless cookies behind it.
    fn cookies(&self, first: &[u8]) -> Option<HeaderValue> {
        let mut line = Cow::Borrowed(first);
        for (name, _) in COOKIES {
            let Some(value) = self.cookie.as_deref().and_then(|header| search(header, name)) else {
                continue;
            };
            // The rest of such a value could hold a second ticket, behind a blank.
            if !value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)) {
                continue;
            }
            let line = line.to_mut();
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            line.extend_from_slice(name.as_bytes());
            line.push(b'=');
            line.extend_from_slice(value);
        }
        sensitive(&line)
    }
}

/// What upstream gets in place of the client's lines of these names.
#[derive(Default)]
pub(crate) struct Lines {
    pub(crate) cookie: Option<HeaderValue>,
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) csrf: Csrf,
    /// The body is a form that the gate has written anew.
    pub(crate) form: bool,
    /// The client's address, for pvedaemon.
    pub(crate) client: Option<IpAddr>,
}

impl Lines {
    /// Those of a login. For pvedaemon, with the client's address, which it believes and logs, and
    /// without any credential: the calls that log somebody in need none, and it would check no
    /// CSRF token of one.
    pub(crate) fn of_login(self, daemon: Option<IpAddr>) -> Self {
        let lines = if daemon.is_some() { Self::default() } else { self };
        Self { form: true, client: daemon, ..lines }
    }
}

/// The CSRF token for upstream.
#[derive(Default)]
pub(crate) enum Csrf {
    #[default]
    None,
    /// The client's own, for a ticket that is its own: Proxmox VE judges it.
    OfTheClient,
    Is(HeaderValue),
}

/// The cookie that carries a ticket.
pub(crate) fn ticket_pair(ticket: &[u8]) -> SecretString {
    SecretString::new(String::from_utf8(pair(TICKET, ticket)).unwrap_or_default())
}

/// The ticket in a [`ticket_pair`].
pub(crate) fn ticket_in(pair: &str) -> Cow<'_, str> {
    let written = pair.strip_prefix(TICKET).and_then(|rest| rest.strip_prefix('='));
    let written = written.unwrap_or_default();
    match memchr(b'%', written.as_bytes()) {
        None => Cow::Borrowed(written),
        Some(_) => Cow::Owned(String::from_utf8(unescape(written.as_bytes())).unwrap_or_default()),
    }
}

/// The line that carries an API token.
pub(crate) fn token_pair(token: &str) -> SecretString {
    SecretString::new(String::from_utf8(pair(API_TOKEN, token.as_bytes())).unwrap_or_default())
}

/// `NAME=VALUE` with the value written so that pveproxy reads it back to the byte.
fn pair(name: &str, value: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(name.len() + 1 + value.len() + 32);
    line.extend_from_slice(name.as_bytes());
    line.push(b'=');
    let odd = |byte: u8| byte == b'%' || !is_plain(byte);
    // Most tickets need nothing: that is found out many bytes at once.
    if !value.iter().fold(false, |found, byte| found | odd(*byte)) {
        line.extend_from_slice(value);
        return line;
    }
    for byte in value {
        if odd(*byte) {
            escape(&mut line, *byte);
        } else {
            line.push(*byte);
        }
    }
    line
}

/// Visible, and no end of a value to anybody.
fn is_plain(byte: u8) -> bool {
    // Without branches: so the compiler looks at many bytes at once.
    (byte > b' ') & (byte < 0x7f) & (byte != b',') & (byte != b';')
}

pub(crate) fn escape(line: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
    line.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 0xF)]);
}

/// A value that hyper neither prints nor puts into a compression table.
fn sensitive(line: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(line).ok().filter(|value| !value.is_empty())?;
    value.set_sensitive(true);
    Some(value)
}

/// What stands between the semicolons of a Cookie line, blanks around it left out.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (pair, after) = match memchr(b';', line) {
            Some(at) => (line.get(..at)?, line.get(at + 1..)),
            None => (line, None),
        };
        rest = after;
        Some(pair.trim_ascii())
    })
}

fn session_pair(pair: &[u8]) -> Option<&[u8]> {
    pair.strip_prefix(SESSION_COOKIE.as_bytes())?.strip_prefix(b"=")
}

fn joined<'h>(headers: &'h Fields, name: &HeaderName, between: &[u8]) -> Option<Cow<'h, [u8]>> {
    let mut values = headers.get_all(name);
    let first = values.next()?.as_bytes();
    let mut joined = Cow::Borrowed(first);
    for value in values {
        let text = joined.to_mut();
        text.extend_from_slice(between);
        text.extend_from_slice(value.as_bytes());
    }
    Some(joined)
}

/// The decoded value of `name`, unless it is false to Perl.
fn extract<'t>(text: &'t [u8], name: &str) -> Option<Cow<'t, [u8]>> {
    let raw = search(text, name)?;
    let value = match memchr(b'%', raw) {
        Some(_) => Cow::Owned(unescape(raw)),
        None => Cow::Borrowed(raw),
    };
    Some(value).filter(|value| !matches!(&**value, b"" | b"0"))
}

/// The first match of `(?:^|\s)NAME(?:=| )([^;]*)`.
fn search<'t>(text: &'t [u8], name: &str) -> Option<&'t [u8]> {
    let name = name.as_bytes();
    let mut from = 0;
    while let Some(rest) = text.get(from..) {
        if let Some(value) = rest.strip_prefix(name).and_then(|rest| match rest {
            [b'=' | b' ', value @ ..] => Some(value),
            _ => None,
        }) {
            return value.get(..memchr(b';', value).unwrap_or(value.len()));
        }
        // The next place the expression may begin at: behind a blank. No other white space
        // gets through the check of a head.
        from += memchr2(b' ', b'\t', rest)? + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Carrier, Credential, Csrf, Headers, extract, ticket_in, ticket_pair};
    use crate::head::Parts;
    use http::{Request, Version};
    use proptest::prelude::*;

    fn parts(version: Version, lines: &[(&str, &str)]) -> Parts {
        let request = Request::builder().version(version);
        let request = lines.iter().fold(request, |request, (name, value)| {
            request.header(*name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        request.into()
    }

    fn found(lines: &[(&str, &str)]) -> (String, &'static str) {
        let parts = parts(Version::HTTP_11, lines);
        let headers = Headers::of(&parts);
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match headers.credential() {
            Credential::None => (String::new(), "none"),
            Credential::Ticket { text: ticket, by: Carrier::Cookie } => (text(&ticket), "cookie"),
            Credential::Ticket { text: ticket, .. } => (text(&ticket), "authorization"),
            Credential::ApiToken(token) => (text(&token), "token"),
        }
    }

    #[test]
    fn in_the_genuine_order() {
        let cookie = ("cookie", "a=b; PVEAuthCookie=c%3Ad");
        let ticket = ("authorization", "PVEAuthCookie=t");
        let token = ("authorization", "PVEAPIToken=u@pve!n=s");
        assert_eq!(found(&[token, cookie]), ("c:d".into(), "cookie"));
        assert_eq!(found(&[ticket]), ("t".into(), "authorization"));
        assert_eq!(found(&[token]), ("u@pve!n=s".into(), "token"));
        assert_eq!(found(&[token, ticket]), ("t".into(), "authorization"));
        assert_eq!(found(&[]), (String::new(), "none"));
        // What is false to Perl is no ticket, and the search goes on.
        assert_eq!(found(&[("cookie", "PVEAuthCookie="), token]).1, "token");
        assert_eq!(found(&[("cookie", "PVEAuthCookie=0"), ticket]).1, "authorization");
    }

    #[test]
    fn where_a_name_counts() {
        let value = |text: &str| {
            let found = extract(text.as_bytes(), "PVEAuthCookie")?;
            Some(String::from_utf8(found.into_owned()).unwrap())
        };
        assert_eq!(value("PVEAuthCookie=x; PVEAuthCookie=t").as_deref(), Some("x"));
        assert_eq!(value("PVEAuthCookie t; a").as_deref(), Some("t"));
        assert_eq!(value("a=b PVEAuthCookie=t").as_deref(), Some("t"));
        assert_eq!(value("a=b\tPVEAuthCookie=t ").as_deref(), Some("t "));
        assert_eq!(value("PVEAuthCookie=%2541").as_deref(), Some("%41"));
        for absent in
            ["a=b;PVEAuthCookie=t", "__Host-PVEAuthCookie=t", "PVEAuthCookie", "pveauthcookie=t"]
        {
            assert_eq!(value(absent), None, "{absent}");
        }
    }

    #[test]
    fn several_lines_are_one_text() {
        assert_eq!(
            found(&[("cookie", "a=1"), ("cookie", "PVEAuthCookie=x"), ("cookie", "b=2")]),
            ("x, b=2".into(), "cookie")
        );
        let split = parts(
            Version::HTTP_2,
            &[("cookie", "a=1"), ("cookie", "PVEAuthCookie=x"), ("cookie", "b=2")],
        );
        let headers = Headers::of(&split);
        assert_eq!(
            headers.credential(),
            Credential::Ticket { text: b"x".into(), by: Carrier::Cookie }
        );
    }

    #[test]
    fn upstream_gets_one_credential_and_two_harmless_cookies() {
        let lines = [
            (
                "cookie",
                "x=1; PVEAuthCookie=first; PVELangCookie=de; PVEAuthCookie=second; PVEThemeCookie=a",
            ),
            ("authorization", "PVEAPIToken=u@pve!n=s"),
        ];
        let parts = parts(Version::HTTP_11, &lines);
        let headers = Headers::of(&parts);
        let upstream = headers.with_credential(&headers.credential());
        let cookie = upstream.cookie.unwrap();
        assert_eq!(cookie, "PVEAuthCookie=first; PVELangCookie=de; PVEThemeCookie=a");
        assert!(cookie.is_sensitive());
        assert_eq!(upstream.authorization, None);
        let upstream = headers.with_ticket(ticket_pair(b"a;b").expose(), Some("c"));
        assert_eq!(
            upstream.cookie.unwrap(),
            "PVEAuthCookie=a%3Bb; PVELangCookie=de; PVEThemeCookie=a"
        );
        assert!(matches!(upstream.csrf, Csrf::Is(value) if value == "c"));
    }

    #[test]
    fn a_line_that_is_nothing_else_passes_as_it_is() {
        let upstream = |name: &str, line: &str| {
            let parts = parts(Version::HTTP_11, &[(name, line)]);
            let headers = Headers::of(&parts);
            let lines = headers.with_credential(&headers.credential());
            lines.cookie.or(lines.authorization).unwrap().to_str().unwrap().to_owned()
        };
        for (name, line) in [
            ("cookie", "PVEAuthCookie=PVE%3Aa@pve%3A6B00CE46%3A%3Ax+/="),
            ("authorization", "PVEAPIToken=u@pve!n%3Ds"),
        ] {
            assert_eq!(upstream(name, line), line);
        }
        assert_eq!(upstream("cookie", "PVEAuthCookie=a%3Ab; x"), "PVEAuthCookie=a:b");
        assert_eq!(upstream("authorization", "x PVEAPIToken=a%3Ab"), "PVEAPIToken=a:b");
    }

    #[test]
    fn no_ticket_hides_in_a_harmless_cookie() {
        let lines = [("cookie", "PVEAuthCookie=0; PVELangCookie=de PVEAuthCookie=hidden")];
        let parts = parts(Version::HTTP_11, &lines);
        let upstream = Headers::of(&parts).with_credential(&Credential::None);
        assert_eq!(upstream.cookie, None);
    }

    #[test]
    fn one_session_cookie_or_the_same_twice() {
        let hex = "a".repeat(64);
        let good = format!("a=b;__Host-proxward={hex}");
        let session = |lines: &[(&str, &str)]| {
            let parts = parts(Version::HTTP_11, lines);
            Headers::of(&parts).session()
        };
        assert!(session(&[("cookie", &good)]).unwrap().unwrap().is_some());
        assert!(session(&[("cookie", &good), ("cookie", &good)]).is_ok());
        assert!(session(&[("cookie", "__Host-proxward=x")]).unwrap().unwrap().is_none());
        assert!(session(&[("cookie", "x__Host-proxward=y")]).unwrap().is_none());
        let other = format!("__Host-proxward={}", "b".repeat(64));
        assert!(session(&[("cookie", &good), ("cookie", &other)]).is_err());
    }

    proptest! {
        #[test]
        fn a_ticket_is_found_in_its_pair(ticket in "[ -~\u{e9}]{0,40}") {
            let pair = ticket_pair(ticket.as_bytes());
            prop_assert_eq!(ticket_in(pair.expose()), ticket);
        }

        #[test]
        fn what_is_written_is_read_back(value in prop::collection::vec(any::<u8>(), 1..60)) {
            prop_assume!(value != b"0");
            let line = super::pair("PVEAuthCookie", &value);
            prop_assert!(http::HeaderValue::from_bytes(&line).is_ok());
            prop_assert_eq!(extract(&line, "PVEAuthCookie").unwrap().into_owned(), value);
        }

        #[test]
        fn any_header_is_searched(text in "(PVEAuthCookie|[ =;%a0])*") {
            extract(text.as_bytes(), "PVEAuthCookie");
        }
    }
}
