//! Who sends a request, decided from its headers alone, before the body is read.
//!
//! Rules: `PVE::HTTPServer::auth_handler` and `extract_auth_value`; the exchanges of the groups
//! ticket, csrf and token show them from outside.

use pve_access::token::ApiToken;
use pve_access::{Keyring, Subject};

use crate::shared::Shared;
use crate::wire::{Head, Response, unescape};

/// The sender of a request.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody, on a path that needs nobody.
    Anonymous,
    /// A user with a ticket.
    User(Subject),
    /// An API token.
    Token(Subject),
}

impl Caller {
    pub(crate) fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Anonymous => None,
            Self::User(subject) | Self::Token(subject) => Some(subject),
        }
    }

    /// The id that access rules speak of, empty for nobody.
    pub(crate) fn id(&self) -> &str {
        self.subject().map_or("", Subject::as_str)
    }

    pub(crate) fn is_token(&self) -> bool {
        matches!(self, Self::Token(_))
    }
}

/// Paths that are answered without any credential: method and path below the format.
const OPEN: [(&str, &str); 6] = [
    ("GET", "/access/domains"),
    ("GET", "/access/ticket"),
    ("POST", "/access/ticket"),
    ("POST", "/access/vncticket"),
    ("POST", "/access/openid/login"),
    ("POST", "/access/openid/auth-url"),
];

const COOKIE: &str = "PVEAuthCookie";
const API_TOKEN: &str = "PVEAPIToken";

/// Finds the caller, or the 401 that is sent after the usual delay.
pub(crate) async fn authenticate(
    shared: &Shared,
    head: &Head,
    path: &str,
) -> Result<Caller, Response> {
    if OPEN.contains(&(head.method.as_str(), path)) {
        return Ok(Caller::Anonymous);
    }
    let cookie = head.header("Cookie");
    let authorization = head.header("Authorization");
    let from =
        |header: &Option<String>, name| header.as_deref().and_then(|value| credential(value, name));
    let ticket = from(&cookie, COOKIE).or_else(|| from(&authorization, COOKIE));
    if let Some(ticket) = ticket {
        let keys = shared.keys.verifying().await;
        let user = keys.and_then(|keys| verify_ticket(shared, &keys, &ticket));
        let user = user.ok_or_else(|| unauthorized("Authentication failed!"))?;
        check_csrf(shared, head, path, user.as_str())?;
        return Ok(Caller::User(user));
    }
    match from(&authorization, API_TOKEN) {
        Some(text) => verify_token(shared, &text)
            .map(Caller::Token)
            .ok_or_else(|| unauthorized("Authentication failed!")),
        None => Err(unauthorized("No ticket")),
    }
}

/// The user of a valid ticket in the cookie; pages need none and tell nobody what is wrong.
pub(crate) async fn cookie_user(shared: &Shared, head: &Head) -> Option<String> {
    let ticket = credential(&head.header("Cookie")?, COOKIE)?;
    let keys = shared.keys.verifying().await?;
    verify_ticket(shared, &keys, &ticket).map(|user| user.as_str().to_owned())
}

/// The value of `name` in a `Cookie` or `Authorization` header: `name=value` or `name value`, at
/// the start or after a blank, up to the next `;`, percent-decoded. Empty and `0` are nothing,
/// as Perl has it.
fn credential(header: &str, name: &str) -> Option<String> {
    let value = header.match_indices(name).find_map(|(at, _)| {
        let before = header.get(..at)?.chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace()) {
            return None;
        }
        let after = header.get(at + name.len()..)?;
        after.strip_prefix(['=', ' '])?.split(';').next()
    })?;
    Some(unescape(value)).filter(|value| !value.is_empty() && value != "0")
}

fn verify_ticket(shared: &Shared, keys: &Keyring, text: &str) -> Option<Subject> {
    let now = shared.clock.unix_secs();
    let (user, _) = shared.tickets.verify_user(keys, text, now).ok()?;
    let subject = Subject::from(&user);
    shared.state().accounts.is_active(&subject, now).then_some(subject)
}

fn verify_token(shared: &Shared, text: &str) -> Option<Subject> {
    let presented = ApiToken::parse(text).ok()?;
    let subject = Subject::from(presented.id());
    let now = shared.clock.unix_secs();
    let state = shared.state();
    let valid = state.accounts.is_active(&subject, now) && state.accounts.token_matches(&presented);
    valid.then_some(subject)
}

/// Every call with a ticket that is not a GET needs the token, an upload alone does not.
fn check_csrf(shared: &Shared, head: &Head, path: &str, user: &str) -> Result<(), Response> {
    if head.method == "GET" || is_upload(&head.method, path) {
        return Ok(());
    }
    let token = head.header("CSRFPreventionToken").unwrap_or_default();
    match shared.csrf.verify(&token, user, shared.clock.unix_secs()) {
        Ok(()) => Ok(()),
        Err(_) => Err(unauthorized("Permission denied - invalid csrf token")),
    }
}

/// `POST /nodes/{node}/storage/{storage}/upload`.
pub(crate) fn is_upload(method: &str, path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    method == "POST"
        && parts.next() == Some("nodes")
        && parts.next().is_some()
        && parts.next() == Some("storage")
        && parts.next().is_some()
        && parts.next() == Some("upload")
        && parts.next().is_none()
}

/// Every failure waits, has no body, and closes the connection.
fn unauthorized(message: &str) -> Response {
    Response { delayed: true, ..Response::bare(401, message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_credential_stands_at_the_start_or_after_a_blank() {
        let cookie = |header| credential(header, COOKIE);
        assert_eq!(cookie("PVEAuthCookie=a%3Ab; x=y").as_deref(), Some("a:b"));
        assert_eq!(cookie("a=b; PVEAuthCookie=t").as_deref(), Some("t"));
        assert_eq!(cookie("a=b;PVEAuthCookie=t"), None);
        assert_eq!(cookie("__Host-PVEAuthCookie=t"), None);
        assert_eq!(cookie("PVEAuthCookie=x; PVEAuthCookie=t").as_deref(), Some("x"));
        assert_eq!(cookie("PVEAuthCookie="), None);
        assert_eq!(cookie("PVEAuthCookie t").as_deref(), Some("t"));
        assert_eq!(credential("pveapitoken=t", API_TOKEN), None);
    }

    #[test]
    fn upload_paths() {
        assert!(is_upload("POST", "/nodes/a/storage/b/upload"));
        assert!(!is_upload("PUT", "/nodes/a/storage/b/upload"));
        assert!(!is_upload("POST", "/nodes/a/storage/b/upload/x"));
    }

    proptest! {
        #[test]
        fn any_header_is_searched_without_panic(header in "\\PC{0,80}") {
            credential(&header, COOKIE);
        }
    }
}
