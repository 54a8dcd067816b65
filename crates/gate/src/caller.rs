//! Who asks: one meaning for every combination of credentials, in this order.
//!
//! 1. The session cookie, when it stands for a browser's session in force. Whatever else came
//!    along is not looked at and not passed on.
//! 2. What pveproxy would use. There, the readable stand-in is worth nothing; a tool's value is
//!    its session, unless the request shows that a browser sends it (then it was stolen, or
//!    planted); everything else is the client's own, and Proxmox VE judges it.

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use crate::credential::{CSRF_HEADER, Credential, Headers, Lines};
use crate::edge::is_upload;
use crate::head::Parts;
use crate::login::{Attempt, Channel, UserText};
use crate::origin::has_metadata;
use crate::policy::{OWNER, ProxyToken, ProxyTokens};
use crate::refusal::Refusal;
use crate::route::Route;
use crate::session::{
    Id, Policy, Session, Sessions, Shape, TICKET_SECONDS, Value, shape, ticket_label, ticket_time,
};

/// The sender of a request.
pub(crate) enum Caller<'h> {
    /// No credential.
    Anonymous,
    /// A login of the gate.
    Session { session: Arc<Session>, value: Value },
    /// A ticket that the gate has not handed out.
    OwnTicket(Credential<'h>),
    /// An API token.
    ApiToken(Credential<'h>),
    /// A token of the gate itself, with the API token that stands behind it.
    ProxyToken(Arc<ProxyToken>),
    /// A token of the gate that is none, or not for this client; a ticket that nobody has signed,
    /// or that has expired.
    Invalid(Credential<'h>),
    /// What was a session, or pretends to have been one. The readable stand-in is no try to
    /// be anybody; a value that stands for nothing is, and is marked.
    Ended(Option<Id>),
    /// The session of an interface that has deleted its ticket: it has logged out.
    LoggedOut(Arc<Session>),
}

impl<'h> Caller<'h> {
    /// Finds the caller, who asks from this address; `now` in seconds since 1970.
    pub(crate) fn find(
        headers: &'h Headers<'h>,
        parts: &Parts,
        (sessions, tokens): (&Sessions, &ProxyTokens),
        (client, now): (IpAddr, u64),
    ) -> Result<Self, Refusal> {
        let enabled = sessions.config().enabled;
        if enabled && let Some(value) = headers.session()?.flatten() {
            let session = sessions.find(&value, now).filter(|session| session.browser);
            if let Some(session) = session {
                let in_use = sessions.accompanied(&session, headers.has_ticket_cookie());
                return Ok(match in_use {
                    true => Self::Session { session, value },
                    false => Self::LoggedOut(session),
                });
            }
        }
        match headers.credential() {
            Credential::None => Ok(Self::Anonymous),
            Credential::Ticket { text, by } => {
                let gates = enabled.then(|| of_the_gate(&text, parts, sessions, now)).flatten();
                match (gates, sessions.config().foreign_tickets) {
                    (Some(caller), _) => Ok(caller),
                    (None, Policy::Allow) => Ok(Self::OwnTicket(Credential::Ticket { text, by })),
                    (None, Policy::Refuse) => Err(Refusal::ForeignTicket),
                }
            }
            Credential::ApiToken(text) => {
                if let Some(own) = text.strip_prefix(OWNER.as_bytes()) {
                    let own = std::str::from_utf8(own).ok();
                    let token = own.and_then(|own| tokens.find(own, client, now));
                    let none = || Self::Invalid(Credential::ApiToken(text.clone()));
                    return Ok(token.map_or_else(none, Self::ProxyToken));
                }
                match sessions.config().api_tokens {
                    Policy::Allow => Ok(Self::ApiToken(Credential::ApiToken(text))),
                    Policy::Refuse => Err(Refusal::ApiToken),
                }
            }
        }
    }

    /// Refuses a session's state change without its CSRF token. Of a client's own ticket,
    /// Proxmox VE judges the token.
    pub(crate) fn check_csrf(
        &self,
        parts: &Parts,
        route: &Route<'_>,
        path: &str,
    ) -> Result<(), Refusal> {
        let Self::Session { session, .. } = self else { return Ok(()) };
        // The stock interface sends no token with an upload; where it comes from a browser,
        // its origin was judged.
        let exempt = parts.method == Method::GET
            || route.is_open(&parts.method)
            || (parts.method == Method::POST && is_upload(path));
        if exempt {
            return Ok(());
        }
        let token = parts.headers.get(&CSRF_HEADER).and_then(|token| token.to_str().ok());
        match token.is_some_and(|token| session.csrf.same_as(token)) {
            true => Ok(()),
            false => Err(Refusal::Csrf),
        }
    }

    /// Refuses what has ended, where Proxmox VE would want a credential. Pages and open calls
    /// are answered as to nobody.
    pub(crate) fn check_alive(&self, parts: &Parts, route: &Route<'_>) -> Result<(), Refusal> {
        let ended = matches!(self, Self::Ended(_) | Self::LoggedOut(_) | Self::Invalid(_));
        // The pages of the API lead to their login page by themselves.
        let wanted = matches!(route, Route::Api(..)) && !route.is_index();
        if ended && wanted && !route.is_open(&parts.method) {
            return Err(match self {
                Self::Invalid(Credential::Ticket { .. }) => Refusal::InvalidTicket,
                _ => Refusal::NotLoggedIn,
            });
        }
        Ok(())
    }

    /// The lines for upstream.
    pub(crate) fn lines(&self, headers: &Headers<'_>, method: &Method) -> Lines {
        match self {
            Self::Session { session, .. } => {
                let vault = session.vault();
                let csrf = (*method != Method::GET).then(|| vault.csrf.expose().as_str());
                headers.with_ticket(vault.cookie.expose(), csrf)
            }
            Self::OwnTicket(credential) | Self::ApiToken(credential) => {
                headers.with_credential(credential)
            }
            Self::ProxyToken(token) => headers.with_token(token.line.expose()),
            Self::Anonymous | Self::Ended(_) | Self::LoggedOut(_) | Self::Invalid(_) => {
                headers.with_credential(&Credential::None)
            }
        }
    }

    /// The attempt that a refusal of this caller's credential was.
    pub(crate) fn attempt(&self, client: IpAddr, now: u64) -> Option<Attempt> {
        let (channel, text) = match self {
            Self::OwnTicket(Credential::Ticket { text, .. })
            | Self::Invalid(Credential::Ticket { text, .. }) => (Channel::Ticket, text),
            Self::ApiToken(Credential::ApiToken(text))
            | Self::Invalid(Credential::ApiToken(text)) => (Channel::ApiToken, text),
            Self::ProxyToken(token) => {
                return Some(Attempt::new(Channel::ApiToken, client, Some(&token.name())));
            }
            Self::Ended(Some(id)) => {
                let attempt = Attempt::new(Channel::Ticket, client, None);
                return Some(Attempt { expired: Some(id.mark()), ..attempt });
            }
            _ => return None,
        };
        let text = std::str::from_utf8(text).unwrap_or_default();
        if channel == Channel::ApiToken {
            let id = text.rsplit_once('=').map_or(text, |(id, _)| id);
            return Some(Attempt::new(channel, client, Some(id)));
        }
        let attempt = Attempt::new(channel, client, ticket_label(text));
        let old = ticket_time(text).is_some_and(|time| time + TICKET_SECONDS <= now);
        Some(Attempt { expired: old.then(|| Id::of(text.as_bytes()).mark()), ..attempt })
    }

    /// The account, for records: of a session the one that logged in, of a ticket or token the
    /// one it names, which is true once Proxmox VE has answered for it.
    pub(crate) fn name(&self) -> String {
        let named =
            |text: Option<&str>| UserText::new(text.unwrap_or_default()).as_str().to_owned();
        match self {
            Self::Session { session, .. } | Self::LoggedOut(session) => named(Some(&session.user)),
            Self::OwnTicket(Credential::Ticket { text, .. }) => {
                named(std::str::from_utf8(text).ok().and_then(ticket_label))
            }
            Self::ApiToken(Credential::ApiToken(text)) => {
                let id = std::str::from_utf8(text).ok().and_then(|text| text.rsplit_once('='));
                named(id.map(|(id, _)| id))
            }
            Self::ProxyToken(token) => named(Some(&token.name())),
            _ => String::new(),
        }
    }

    /// What this caller is known by where something is bound to them; None for nobody.
    pub(crate) fn id(&self) -> Option<Id> {
        match self {
            Self::Session { session, .. } => Some(session.id),
            Self::OwnTicket(credential) | Self::ApiToken(credential) => match credential {
                Credential::Ticket { text, .. } | Credential::ApiToken(text) => Some(Id::of(text)),
                Credential::None => None,
            },
            Self::ProxyToken(token) => Some(Id::of(token.line.expose().as_bytes())),
            Self::Anonymous | Self::Ended(_) | Self::LoggedOut(_) | Self::Invalid(_) => None,
        }
    }
}

/// What a ticket is, if it has the shape of one of the gate's.
fn of_the_gate<'h>(
    text: &[u8],
    parts: &Parts,
    sessions: &Sessions,
    now: u64,
) -> Option<Caller<'h>> {
    let (label, value) = match shape(text) {
        Shape::Foreign => return None,
        Shape::Dummy => return Some(Caller::Ended(None)),
        Shape::Opaque { label, value } => (label, value),
    };
    let session = sessions.find(&value, now);
    let session = session.filter(|session| {
        !session.browser && session.label.as_bytes() == label && !has_metadata(&parts.headers)
    });
    Some(match session {
        Some(session) => Caller::Session { session, value },
        None => Caller::Ended(Some(value.id())),
    })
}
