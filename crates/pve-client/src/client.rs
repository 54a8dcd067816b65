//! The client itself.

use std::fmt;
use std::sync::Arc;

use http::Method;
use tls::{Connector, Trust};

use crate::credentials::{Credentials, Ticket};
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::Limits;
use crate::line::{Call, Exchange as _, Line};
use crate::params::Params;
use crate::reply::Reply;
use crate::session::Session;

/// Paths where a 401 is the answer to what was sent, not to the ticket: repeating it would count
/// as a second failed login.
const LOGINS: [&str; 3] = ["/access/ticket", "/access/vncticket", "/access/openid"];

/// A client of one API with one identity. Clones are cheap and share connections and ticket; every
/// method may be called from many tasks at a time.
///
/// A call given up half-way (its future dropped) closes its connection; whether PVE executed it is
/// then unknown.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    line: Line,
    session: Session,
}

impl Client {
    /// A client with the default [`Limits`]. Nothing is sent yet.
    ///
    /// # Errors
    /// As [`Client::with_limits`].
    pub fn new(
        endpoint: Endpoint,
        trust: Option<&Trust>,
        credentials: Credentials,
    ) -> Result<Self, ClientError> {
        Self::with_limits(endpoint, trust, credentials, Limits::default())
    }

    /// A client; `trust` says which server is the right one and is needed unless the endpoint is
    /// plain HTTP to loopback.
    ///
    /// # Errors
    /// [`ClientError::Usage`] for https without trust or a ticket that is none;
    /// [`ClientError::Trust`] for trust that can not be used.
    pub fn with_limits(
        endpoint: Endpoint,
        trust: Option<&Trust>,
        credentials: Credentials,
        limits: Limits,
    ) -> Result<Self, ClientError> {
        let connector = match trust {
            _ if endpoint.is_plain() => None,
            Some(trust) => Some(Connector::new(trust)?),
            None => {
                let text = "https needs to know the server: give its CA with --ca FILE or its \
                            fingerprint (`pvenode cert info` shows both)";
                return Err(ClientError::Usage(text.to_owned()));
            }
        };
        let line = Line::new(endpoint, connector, limits);
        Ok(Self(Arc::new(Inner { line, session: Session::new(credentials)? })))
    }

    /// Where the API is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.0.line.endpoint()
    }

    /// GET: reads. Repeated once by itself when a pooled connection turns out to be closed.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn get(&self, path: &str, params: &Params) -> Result<Reply, ClientError> {
        self.call(&Method::GET, path, params).await
    }

    /// POST: creates or starts something; often answered with a [`Upid`](crate::Upid).
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn create(&self, path: &str, params: &Params) -> Result<Reply, ClientError> {
        self.call(&Method::POST, path, params).await
    }

    /// PUT: changes.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn set(&self, path: &str, params: &Params) -> Result<Reply, ClientError> {
        self.call(&Method::PUT, path, params).await
    }

    /// DELETE: removes.
    ///
    /// # Errors
    /// Every [`ClientError`].
    pub async fn delete(&self, path: &str, params: &Params) -> Result<Reply, ClientError> {
        self.call(&Method::DELETE, path, params).await
    }

    /// Logs in now, and uses the ticket from here on. Calls do so by themselves; this is for
    /// telling early that it works, for keeping the ticket, and for another try after a refusal,
    /// which calls do not make: they repeat its error without asking the server.
    ///
    /// # Errors
    /// [`ClientError::Usage`] unless the credentials are a password; [`ClientError::Auth`],
    /// [`ClientError::SecondFactor`] and those of any call.
    pub async fn login(&self) -> Result<Arc<Ticket>, ClientError> {
        self.0.session.log_in(&self.0.line).await
    }

    async fn call(
        &self,
        method: &Method,
        path: &str,
        params: &Params,
    ) -> Result<Reply, ClientError> {
        let Inner { line, session } = &*self.0;
        let call = Call { method, path, params };
        let authorization = session.authorization(line).await?;
        let refused = match line.exchange(call, &authorization).await {
            Err(error @ ClientError::Auth { .. }) if !is_login(path) => error,
            other => return other,
        };
        match session.refresh(&authorization, line).await? {
            Some(fresh) => line.exchange(call, &fresh).await,
            None => Err(refused),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", self.endpoint()).finish_non_exhaustive()
    }
}

fn is_login(path: &str) -> bool {
    let path = format!("/{}", path.trim_start_matches('/'));
    LOGINS.iter().any(|login| {
        path.strip_prefix(login).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_told_by_whole_segments() {
        for login in ["/access/ticket", "access/ticket", "/access/openid/login"] {
            assert!(is_login(login), "{login}");
        }
        assert!(!is_login("/access/tickets") && !is_login("/access"));
    }
}
