//! One call of the kind that answers who somebody is: its request read and written anew, its
//! answer judged, and the ticket in it put into the vault.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode};
use secrets::SecretString;
use telemetry::HttpDate;

use super::attempt::{Attempt, Channel};
use super::envelope::{Envelope, Member, Verdict, escape};
use super::params::{Kind, Params, Shape};
use crate::caller::Caller;
use crate::credential::{SESSION_COOKIE, TICKET};
use crate::head::{AnswerHead, Parts};
use crate::origin::from_browser;
use crate::reason::Phrase;
use crate::refusal::Refusal;
use crate::rewrite::Read;
use crate::route::{AuthCall, Format};
use crate::session::{
    self, Login, Policy, Session, Sessions, Value, Vault, dummy, is_ticket, opaque, shape,
    ticket_label,
};
use crate::stack::Peer;

/// What Proxmox VE says to a wrong password.
const JSON_FAILURE: &str = r#"{"data":null,"message":"authentication failure\n"}"#;
const EXTJS_FAILURE: &str =
    r#"{"data":null,"message":"authentication failure\n","status":"401","success":0}"#;

/// Has the shape of a ticket and the signature of none.
const WORTHLESS: &[u8] = b"PVE:-:00000000::proxward";

/// See the module.
pub(crate) struct Exchange {
    call: AuthCall,
    format: Format,
    params: Params,
    browser: bool,
    /// The session whose ticket was posted as password, with the value that stands for it.
    renewed: Option<(Arc<Session>, Value)>,
}

/// What is sent upstream in place of the client's request.
pub(crate) struct Rewritten {
    pub(crate) target: PathAndQuery,
    pub(crate) body: Bytes,
}

/// The answer in place of Proxmox VE's.
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) body: Bytes,
    /// A session that a new login of the same browser replaces.
    pub(crate) replaced: Option<Arc<Session>>,
    /// The session that it began.
    pub(crate) opened: Option<session::Id>,
}

/// The answer of Proxmox VE can not be understood: nothing of it may go out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the answer to a login is no JSON")]
    Envelope,
    #[error("the answer to a login names no user, or its ticket has an unknown form")]
    Ticket,
    #[error("no random bytes for a session: {0}")]
    Random(std::io::Error),
}

impl Exchange {
    /// Reads the request.
    ///
    /// # Errors
    /// What is no login: a format that gives tickets in a form of its own, a content type that
    /// pveproxy does not know, parameters that no login has.
    pub(crate) fn read(
        (format, call): (Format, AuthCall),
        parts: &Parts,
        query: Option<&str>,
        body: &[u8],
    ) -> Result<Self, Refusal> {
        if format == Format::Other {
            return Err(Refusal::LoginFormat);
        }
        let kind = Kind::of(parts).ok_or(Refusal::ContentType)?;
        let params =
            Params::read((kind, Shape::LOGIN), body, query).map_err(|_| Refusal::Parameters)?;
        Ok(Self { call, format, params, browser: from_browser(&parts.headers), renewed: None })
    }

    /// The attempt, as it is counted.
    pub(crate) fn attempt(&self, client: IpAddr) -> Attempt {
        let text = |name| self.params.one(name).and_then(|text| std::str::from_utf8(text).ok());
        let channel = match self.call {
            AuthCall::OpenId => return Attempt::of_realm(Channel::OpenId, client, None),
            AuthCall::VncTicket => {
                return Attempt::new(Channel::Ticket, client, text("authid"));
            }
            AuthCall::Ticket if self.params.one("tfa-challenge").is_some() => Channel::Tfa,
            AuthCall::Ticket if self.format == Format::Json => Channel::Json,
            AuthCall::Ticket => Channel::Extjs,
        };
        let user = text("username").map(|user| match text("realm") {
            Some(realm) => format!("{user}@{realm}"),
            None => user.to_owned(),
        });
        Attempt::new(channel, client, user.as_deref())
    }

    /// The answer to an attempt that is not passed on: that to a wrong password, to the letter.
    pub(crate) fn failure(&self, now: Duration) -> Read {
        let (status, body) = match self.format {
            Format::Extjs | Format::Htmljs => (StatusCode::OK, EXTJS_FAILURE),
            _ => (StatusCode::UNAUTHORIZED, JSON_FAILURE),
        };
        let mut head = AnswerHead { status, ..AnswerHead::default() };
        let date = HttpDate(now.as_secs()).to_string();
        let content_type = match self.format {
            Format::Htmljs => "text/html;charset=UTF-8",
            _ => "application/json;charset=UTF-8",
        };
        let body = match self.format {
            Format::Htmljs => Bytes::from(escape(body)),
            _ => Bytes::from_static(body.as_bytes()),
        };
        // pveproxy's lines in its order, as they are after the gate's hygiene.
        let lines = [
            ("cache-control", "max-age=0"),
            ("date", date.as_str()),
            ("pragma", "no-cache"),
            ("server", "pve-api-daemon/3.0"),
            ("content-length", &body.len().to_string()),
            ("content-type", content_type),
            ("expires", date.as_str()),
        ];
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_str(value) {
                head.headers.append(HeaderName::from_static(name), value);
            }
        }
        if status == StatusCode::UNAUTHORIZED {
            head.phrase = Some(Phrase::fixed(b"authentication failure"));
        }
        let body = if self.format == Format::Html { redirect(&mut head, false) } else { body };
        Read { head, body }
    }

    /// The value of a tool's session that was posted as password.
    pub(crate) fn value(&self) -> Option<session::Id> {
        match shape(self.params.one("password")?) {
            session::Shape::Opaque { value, .. } => Some(value.id()),
            session::Shape::Dummy | session::Shape::Foreign => None,
        }
    }

    /// Puts the genuine ticket in the place of a value of the gate that was posted as password.
    /// A value that stands for nothing is a wrong password, and Proxmox VE says so.
    ///
    /// # Errors
    /// A ticket from elsewhere where those are refused.
    pub(crate) fn substitute(
        &mut self,
        caller: &Caller<'_>,
        sessions: &Sessions,
        now: u64,
    ) -> Result<(), Refusal> {
        if self.call != AuthCall::Ticket || !sessions.config().enabled {
            return Ok(());
        }
        let Some(password) = self.params.one("password") else { return Ok(()) };
        // Of a renewal there is no second factor: with one, the password is an answer to it,
        // and a ticket has no business in what is said about that.
        let renewal = ["tfa-challenge", "otp"].iter().all(|name| !self.params.has(name));
        let found = match shape(password) {
            session::Shape::Foreign => {
                let refused = sessions.config().foreign_tickets == Policy::Refuse;
                return if refused && is_ticket(password) {
                    Err(Refusal::ForeignTicket)
                } else {
                    Ok(())
                };
            }
            session::Shape::Dummy => match caller {
                Caller::Session { session, value } if session.browser => {
                    Some((Arc::clone(session), value.clone()))
                }
                _ => None,
            },
            session::Shape::Opaque { label, value } if !self.browser => {
                let session = sessions.find(&value, now);
                let session =
                    session.filter(|session| !session.browser && session.label.as_bytes() == label);
                session.map(|session| (session, value))
            }
            session::Shape::Opaque { .. } => None,
        };
        match found.filter(|_| renewal) {
            Some((session, value)) => {
                self.params.set("password", session.vault().ticket().as_bytes());
                self.renewed = Some((session, value));
            }
            // Upstream has no use for a value that may be somebody's session.
            None => self.params.set("password", WORTHLESS),
        }
        Ok(())
    }

    /// The request for upstream: the parameters that were judged, and no others, as a form.
    pub(crate) fn rewritten(&self, target: &PathAndQuery) -> Rewritten {
        // Pages for people are made here, from what the data says.
        let path = match (self.format, self.call) {
            (Format::Html, AuthCall::Ticket) => Some("/api2/json/access/ticket"),
            (Format::Html, AuthCall::OpenId) => Some("/api2/json/access/openid/login"),
            (Format::Html, AuthCall::VncTicket) => Some("/api2/json/access/vncticket"),
            _ => target.query().map(|_| target.path()),
        };
        let written = path.and_then(|path| PathAndQuery::try_from(path).ok());
        let target = written.unwrap_or_else(|| target.clone());
        Rewritten { target, body: Bytes::from(self.params.write()) }
    }

    /// Judges the answer and takes the ticket out of it.
    ///
    /// # Errors
    /// [`AnswerError`]; the answer must not go out.
    pub(crate) fn judge(
        &self,
        peer: &Peer,
        (caller, client): (&Caller<'_>, IpAddr),
        head: &mut AnswerHead,
        body: &Bytes,
    ) -> Result<Judged, AnswerError> {
        let format = if self.format == Format::Html { Format::Json } else { self.format };
        let envelope = Envelope::read(format, body);
        let success = head.status.is_success();
        let envelope = match envelope {
            Some(envelope) => envelope,
            // Its errors before dispatch have no body.
            None if success || self.shows_ticket(&String::from_utf8_lossy(body)) => {
                return Err(AnswerError::Envelope);
            }
            None => {
                let failed = head.status == StatusCode::UNAUTHORIZED;
                let verdict = if failed { Verdict::Failure } else { Verdict::Undecided };
                return Ok(Judged { verdict, body: body.clone(), replaced: None, opened: None });
            }
        };
        let verdict = envelope.verdict(head.status.as_u16());
        let sessions = &peer.worker.shared.sessions;
        let (mut replaced, mut opened) = (None, None);
        let ticket = envelope.text(Member::Ticket);
        let holds_ticket = verdict == Verdict::Success && sessions.config().enabled;
        if let Some(ticket) = ticket.filter(|_| holds_ticket) {
            let found = self.vaulted(peer, client, &envelope, &ticket)?;
            if found.new
                && let Caller::Session { session, .. } = caller
            {
                replaced = session.browser.then(|| Arc::clone(session));
            }
            if let Some(cookie) = &found.cookie {
                head.headers.append(SET_COOKIE, cookie.clone());
            }
            if self.format == Format::Html {
                head.headers.append(SET_COOKIE, readable(&found.shown)?);
            }
            opened = Some(found);
        }
        let began = opened.as_ref().filter(|opened| opened.new).map(|opened| opened.session.id);
        if self.format == Format::Html {
            let logged_in = verdict == Verdict::Success;
            let body = redirect(head, logged_in);
            return Ok(Judged { verdict, body, replaced, opened: began });
        }
        let body = match &opened {
            Some(Opened { session, shown, .. }) => {
                let csrf = session.csrf.expose();
                envelope.write(format, &[(Member::Ticket, shown), (Member::Csrf, csrf)])
            }
            None => envelope.write(format, &[]),
        };
        if self.shows_ticket(&body) {
            return Err(AnswerError::Ticket);
        }
        Ok(Judged { verdict, body: Bytes::from(body), replaced, opened: began })
    }

    /// Whether the ticket that was sent for the client comes back in what is said about it.
    fn shows_ticket(&self, body: &str) -> bool {
        self.renewed.as_ref().is_some_and(|(session, _)| {
            let vault = session.vault();
            let ticket = vault.ticket();
            let signature = ticket.rsplit_once("::").map(|(_, signature)| signature);
            signature.is_some_and(|signature| body.contains(signature))
        })
    }

    /// Whether this answers a challenge of Proxmox VE: then its success is that of a second
    /// factor. What Perl takes for no challenge at all does not count.
    fn is_second_step(&self) -> bool {
        let challenge = self.params.one("tfa-challenge");
        self.call == AuthCall::Ticket
            && challenge.is_some_and(|ticket| ticket.starts_with(b"PVE:!tfa!"))
    }

    /// Renews the session that asked for it, or opens one.
    fn vaulted(
        &self,
        peer: &Peer,
        client: IpAddr,
        envelope: &Envelope<'_>,
        ticket: &str,
    ) -> Result<Opened, AnswerError> {
        let shared = &peer.worker.shared;
        let now = shared.clock.unix_secs();
        let user = envelope.text(Member::Username).ok_or(AnswerError::Ticket)?.into_owned();
        let label = ticket_label(ticket).ok_or(AnswerError::Ticket)?.to_owned();
        let csrf = envelope.text(Member::Csrf).unwrap_or_default();
        let vault = Vault::new(ticket, SecretString::from(&*csrf), now);
        // The ticket of root@pam makes tickets for others: that is a login of its own.
        let renewed = self.renewed.as_ref().filter(|(session, _)| session.user == user);
        let (session, value) = match renewed {
            Some((session, value)) => {
                shared.sessions.renew(session, vault);
                (Arc::clone(session), value.clone())
            }
            None => {
                let (browser, second_factor) = (self.browser, self.is_second_step());
                let login = Login { user, label, browser, client, second_factor, vault };
                shared.sessions.open(login, now).map_err(AnswerError::Random)?
            }
        };
        let shown = match session.browser {
            true => dummy(ticket),
            false => opaque(ticket, &value),
        };
        let new = renewed.is_none();
        Ok(Opened {
            new,
            shown: shown.ok_or(AnswerError::Ticket)?,
            cookie: (session.browser && new).then(|| session_cookie(value.expose())).flatten(),
            session,
        })
    }
}

/// What a client gets for its login.
struct Opened {
    session: Arc<Session>,
    new: bool,
    shown: String,
    cookie: Option<HeaderValue>,
}

/// The session cookie with this value; an empty one takes it back.
pub(crate) fn session_cookie(value: &str) -> Option<HeaderValue> {
    let end = if value.is_empty() { "; Max-Age=0" } else { "" };
    let text = format!("{SESSION_COOKIE}={value}; Secure; HttpOnly; SameSite=Strict; Path=/{end}");
    let mut cookie = HeaderValue::from_str(&text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

/// The stand-in as the interface's scripts would set it.
fn readable(shown: &str) -> Result<HeaderValue, AnswerError> {
    let shown = shown.replace('%', "%25").replace(':', "%3A").replace(';', "%3B");
    let text = format!("{TICKET}={shown}; Secure; SameSite=Lax; Path=/");
    HeaderValue::from_str(&text).map_err(|_| AnswerError::Ticket)
}

/// Leads the API's pages for people on.
fn redirect(head: &mut AnswerHead, logged_in: bool) -> Bytes {
    let to = if logged_in { "/api2/html/" } else { "/api2/html/access/ticket" };
    head.status = StatusCode::SEE_OTHER;
    head.phrase = None;
    head.headers.remove(&CONTENT_TYPE);
    head.headers.insert(LOCATION, HeaderValue::from_static(to));
    Bytes::new()
}
