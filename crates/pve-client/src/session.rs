//! Login, renewal and the headers that prove them.
//!
//! One lock around the ticket makes every login a single flight: callers that find it missing,
//! old or refused wait for the one who fetches it.

use std::sync::Arc;

use http::HeaderValue;
use identity::UserId;
use secrets::SecretString;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::credentials::{Credentials, SecondFactor, Ticket, challenge_kinds, ticket_user};
use crate::encode::encode;
use crate::error::ClientError;
use crate::limits::{TICKET_LIFETIME, TICKET_RENEWAL};
use crate::line::{Call, Exchange};
use crate::params::Params;
use crate::reply::{Reply, lenient_u64};

const TICKET_PATH: &str = "/access/ticket";

pub(crate) struct Session {
    credentials: Credentials,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    active: Option<Arc<Active>>,
    /// Counts tickets, so that of many callers refused with the same one only one logs in.
    generation: u64,
    factor: Option<SecondFactor>,
    factor_used: bool,
    /// A login was refused. It is not repeated by itself: each try is a failure that counts
    /// against the address and, for the second factor, against the account.
    refused: Option<String>,
}

/// A ticket in use.
pub(crate) struct Active {
    generation: u64,
    obtained: Instant,
    ticket: Arc<Ticket>,
    cookie: HeaderValue,
    csrf: HeaderValue,
}

/// What a request carries.
#[derive(Clone)]
pub(crate) enum Authorization {
    None,
    Token(HeaderValue),
    Ticket(Arc<Active>),
}

impl Authorization {
    /// The value of `Cookie`.
    pub(crate) fn cookie(&self) -> Option<&HeaderValue> {
        match self {
            Self::Ticket(active) => Some(&active.cookie),
            _ => None,
        }
    }

    /// The value of `Authorization`. Never beside a cookie: PVE lets a stale cookie beat a good
    /// token.
    pub(crate) fn token(&self) -> Option<&HeaderValue> {
        match self {
            Self::Token(value) => Some(value),
            _ => None,
        }
    }

    /// The value of `CSRFPreventionToken`.
    pub(crate) fn csrf(&self) -> Option<&HeaderValue> {
        match self {
            Self::Ticket(active) => Some(&active.csrf),
            _ => None,
        }
    }
}

impl Session {
    pub(crate) fn new(mut credentials: Credentials) -> Result<Self, ClientError> {
        let mut state = State::default();
        match &mut credentials {
            Credentials::Password { second_factor, .. } => state.factor = second_factor.take(),
            Credentials::Ticket { ticket, csrf } => {
                let user = ticket_user(ticket.expose()).ok_or_else(|| {
                    ClientError::Usage("the ticket given is none: PVE:USER@REALM:…".to_owned())
                })?;
                let ticket = Ticket {
                    user: user.to_owned(),
                    ticket: SecretString::new(ticket.expose().clone()),
                    csrf: SecretString::new(csrf.expose().clone()),
                    cluster: None,
                    capabilities: Value::Null,
                };
                state.activate(ticket)?;
            }
            Credentials::None | Credentials::Token { .. } => {}
        }
        Ok(Self { credentials, state: Mutex::new(state) })
    }

    /// The headers for the next request; logs in or renews first where that is due.
    pub(crate) async fn authorization(
        &self,
        exchange: &impl Exchange,
    ) -> Result<Authorization, ClientError> {
        match &self.credentials {
            Credentials::None => return Ok(Authorization::None),
            Credentials::Token { id, secret } => {
                let value = format!("PVEAPIToken={id}={}", secret.expose());
                return Ok(Authorization::Token(secret_header(&value, "token")?));
            }
            Credentials::Password { .. } | Credentials::Ticket { .. } => {}
        }
        let mut state = self.state.lock().await;
        let active = match &state.active {
            Some(active) if active.obtained.elapsed() < TICKET_RENEWAL => Arc::clone(active),
            Some(active) => {
                let old = Arc::clone(active);
                self.renew(&mut state, &old, exchange).await?
            }
            None => self.log_in_again(&mut state, exchange).await?,
        };
        Ok(Authorization::Ticket(active))
    }

    /// After a 401: the headers to try once more with, or `None` when there is nothing better.
    pub(crate) async fn refresh(
        &self,
        refused: &Authorization,
        exchange: &impl Exchange,
    ) -> Result<Option<Authorization>, ClientError> {
        let (Authorization::Ticket(stale), Credentials::Password { .. }) =
            (refused, &self.credentials)
        else {
            return Ok(None);
        };
        let mut state = self.state.lock().await;
        let active = match &state.active {
            Some(active) if active.generation != stale.generation => Arc::clone(active),
            _ => self.log_in_again(&mut state, exchange).await?,
        };
        Ok(Some(Authorization::Ticket(active)))
    }

    /// A login on request, also after a refused one.
    pub(crate) async fn log_in(
        &self,
        exchange: &impl Exchange,
    ) -> Result<Arc<Ticket>, ClientError> {
        let Credentials::Password { user, password, .. } = &self.credentials else {
            let text = "only a user with a password can log in";
            return Err(ClientError::Usage(text.to_owned()));
        };
        let mut state = self.state.lock().await;
        let active = state.log_in(user, password, exchange).await?;
        Ok(Arc::clone(&active.ticket))
    }

    async fn log_in_again(
        &self,
        state: &mut State,
        exchange: &impl Exchange,
    ) -> Result<Arc<Active>, ClientError> {
        if let Some(reason) = &state.refused {
            return Err(ClientError::Auth { reason: reason.clone() });
        }
        match &self.credentials {
            Credentials::Password { user, password, .. } => {
                state.log_in(user, password, exchange).await
            }
            _ => Err(ClientError::Auth { reason: "the ticket has expired".to_owned() }),
        }
    }

    /// A ticket serves as password for the next (PVE::API2::AccessControl, create_ticket), also
    /// where a second factor was needed for the first.
    async fn renew(
        &self,
        state: &mut State,
        old: &Arc<Active>,
        exchange: &impl Exchange,
    ) -> Result<Arc<Active>, ClientError> {
        let params = Params::new()
            .with("username", &old.ticket.user)
            .with("password", old.ticket.ticket.expose());
        let renewed = request(exchange, &params).await.and_then(|reply| match answer(reply)? {
            Answer::Ticket(ticket) => Ok(ticket),
            Answer::Challenge { .. } => Err(no_ticket()),
        });
        let error = match renewed {
            Ok(ticket) => return state.activate(ticket),
            Err(error) => error,
        };
        let dead =
            old.obtained.elapsed() >= TICKET_LIFETIME || matches!(error, ClientError::Auth { .. });
        match &self.credentials {
            // The hour left may bring a better moment.
            _ if !dead => Ok(Arc::clone(old)),
            Credentials::Password { .. } => self.log_in_again(state, exchange).await,
            _ => Err(error),
        }
    }
}

impl State {
    async fn log_in(
        &mut self,
        user: &UserId,
        password: &SecretString,
        exchange: &impl Exchange,
    ) -> Result<Arc<Active>, ClientError> {
        self.refused = None;
        let outcome = self.two_steps(user, password, exchange).await;
        if let Err(ClientError::Auth { reason }) = &outcome {
            self.refused = Some(reason.clone());
        }
        self.activate(outcome?)
    }

    async fn two_steps(
        &mut self,
        user: &UserId,
        password: &SecretString,
        exchange: &impl Exchange,
    ) -> Result<Ticket, ClientError> {
        let first = Params::new().with("username", user).with("password", password.expose());
        let (challenge, offered) = match answer(request(exchange, &first).await?)? {
            Answer::Ticket(ticket) => return Ok(ticket),
            Answer::Challenge { challenge, offered } => (challenge, offered),
        };
        let Some(factor) = self.factor.take() else {
            let remedy = if self.factor_used {
                "the one given has served for a login already; log in anew with a fresh one"
            } else {
                "give one for the login, or use an API token"
            };
            return Err(ClientError::SecondFactor { offered, remedy });
        };
        self.factor_used = true;
        let second = Params::new()
            .with("username", user)
            .with("tfa-challenge", challenge.expose())
            .with("password", factor.response().expose());
        match answer(request(exchange, &second).await?)? {
            Answer::Ticket(ticket) => Ok(ticket),
            Answer::Challenge { .. } => Err(no_ticket()),
        }
    }

    fn activate(&mut self, ticket: Ticket) -> Result<Arc<Active>, ClientError> {
        let mut cookie = "PVEAuthCookie=".to_owned();
        encode(ticket.ticket.expose(), &mut cookie);
        self.generation += 1;
        let active = Arc::new(Active {
            generation: self.generation,
            obtained: Instant::now(),
            cookie: secret_header(&cookie, "ticket")?,
            csrf: secret_header(ticket.csrf.expose(), "CSRF token")?,
            ticket: Arc::new(ticket),
        });
        self.active = Some(Arc::clone(&active));
        Ok(active)
    }
}

enum Answer {
    Ticket(Ticket),
    Challenge { challenge: SecretString, offered: Vec<String> },
}

async fn request(exchange: &impl Exchange, params: &Params) -> Result<Reply, ClientError> {
    let call = Call { method: &http::Method::POST, path: TICKET_PATH, params };
    exchange.exchange(call, &Authorization::None).await
}

/// The challenge shows as `NeedTFA` and as a ticket of its own form; either one counts, so that a
/// challenge is never taken for a ticket.
fn answer(reply: Reply) -> Result<Answer, ClientError> {
    let Value::Object(mut data) = reply.data else {
        return Err(no_ticket());
    };
    let mut text = |key: &str| match data.remove(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text),
        _ => None,
    };
    let ticket = text("ticket").ok_or_else(no_ticket)?;
    let csrf = text("CSRFPreventionToken");
    let user = text("username");
    let cluster = text("clustername");
    let asked = data.get("NeedTFA").is_some_and(|value| {
        value.as_bool().or_else(|| lenient_u64(value).map(|n| n != 0)).unwrap_or(false)
    });
    let kinds = challenge_kinds(&ticket);
    if asked || kinds.is_some() {
        let challenge = SecretString::new(ticket);
        return Ok(Answer::Challenge { challenge, offered: kinds.unwrap_or_default() });
    }
    let user = user.or_else(|| ticket_user(&ticket).map(str::to_owned)).ok_or_else(no_ticket)?;
    Ok(Answer::Ticket(Ticket {
        user,
        ticket: SecretString::new(ticket),
        csrf: SecretString::new(csrf.ok_or_else(no_ticket)?),
        cluster,
        capabilities: data.remove("cap").unwrap_or(Value::Null),
    }))
}

fn no_ticket() -> ClientError {
    ClientError::Protocol("the login was answered without a ticket; is this PVE's API?".to_owned())
}

/// Marked sensitive, so that no debug output of the HTTP library shows it.
fn secret_header(value: &str, what: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| ClientError::Usage(format!("the {what} holds characters no header can")))?;
    value.set_sensitive(true);
    Ok(value)
}
