//! The way to the server: one exchange over a pooled or a new connection, without a word about who
//! we are.

use std::future::Future;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use tls::Connector;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::connection::{Connection, Failure};
use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::limits::{CONNECTIONS_MAX, Limits, TARGET_MAX, UPLOAD_MAX};
use crate::params::Params;
use crate::pool::Pool;
use crate::reply::{Raw, Reply};
use crate::session::Authorization;

const CSRF: HeaderName = HeaderName::from_static("csrfpreventiontoken");
const USER_AGENT: &str = concat!("proxward/", env!("CARGO_PKG_VERSION"));

/// Endpoint, pool and limits.
pub(crate) struct Line {
    endpoint: Endpoint,
    connector: Option<Connector>,
    limits: Limits,
    pool: Pool,
    slots: Semaphore,
}

/// One call.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) params: &'a Params,
}

/// What a session needs to log in.
pub(crate) trait Exchange {
    /// One exchange, judged by status.
    fn exchange(
        &self,
        call: Call<'_>,
        authorization: &Authorization,
    ) -> impl Future<Output = Result<Reply, ClientError>> + Send;
}

impl Exchange for Line {
    async fn exchange(
        &self,
        call: Call<'_>,
        authorization: &Authorization,
    ) -> Result<Reply, ClientError> {
        let (target, body) = self.target(call)?;
        let idempotent = call.method == Method::GET;
        let request = || self.request(call.method, &target, body.clone(), authorization);
        let after = self.limits.response;
        timeout(after, self.send(request, idempotent))
            .await
            .map_err(|_| ClientError::Timeout { what: "the answer", after })??
            .judged()
    }
}

impl Line {
    pub(crate) fn new(endpoint: Endpoint, connector: Option<Connector>, limits: Limits) -> Self {
        let slots = Semaphore::new(CONNECTIONS_MAX);
        Self { endpoint, connector, limits, pool: Pool::default(), slots }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn send(
        &self,
        request: impl Fn() -> Result<Request<Full<Bytes>>, ClientError>,
        idempotent: bool,
    ) -> Result<Raw, ClientError> {
        // The semaphore is never closed.
        let _slot = self.slots.acquire().await;
        if let Some(mut pooled) = self.pool.take().await {
            match pooled.exchange(request()?, self.limits.body).await {
                Ok(raw) => {
                    self.pool.put(pooled);
                    return Ok(raw);
                }
                Err(Failure::Final(error)) => return Err(error),
                // The server closed it just now.
                Err(Failure::Unsent) => {}
                Err(Failure::Lost) if idempotent => {}
                Err(Failure::Lost) => return Err(lost()),
            }
        }
        let mut fresh =
            Connection::open(&self.endpoint, self.connector.as_ref(), &self.limits).await?;
        match fresh.exchange(request()?, self.limits.body).await {
            Ok(raw) => {
                self.pool.put(fresh);
                Ok(raw)
            }
            Err(Failure::Final(error)) => Err(error),
            Err(Failure::Unsent | Failure::Lost) => Err(lost()),
        }
    }

    /// The request target, and the form where there is one.
    fn target(&self, call: Call<'_>) -> Result<(String, Option<Bytes>), ClientError> {
        let path = checked(call.path)?;
        let mut target = format!("{}/{path}", self.endpoint.base());
        let encoded = call.params.encoded();
        let in_query = matches!(*call.method, Method::GET | Method::DELETE);
        if in_query && !encoded.is_empty() {
            target.push('?');
            target.push_str(&encoded);
        }
        if target.len() > TARGET_MAX {
            let what = "the request target (path and query)";
            return Err(ClientError::TooLarge { what, limit: TARGET_MAX });
        }
        if in_query {
            return Ok((target, None));
        }
        if encoded.len() > UPLOAD_MAX {
            return Err(ClientError::TooLarge { what: "the parameters", limit: UPLOAD_MAX });
        }
        Ok((target, Some(Bytes::from(encoded))))
    }

    fn request(
        &self,
        method: &Method,
        target: &str,
        body: Option<Bytes>,
        authorization: &Authorization,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut builder = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.endpoint.authority())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json");
        if let Some(value) = authorization.cookie() {
            builder = builder.header(header::COOKIE, value);
        }
        if let Some(value) = authorization.token() {
            builder = builder.header(header::AUTHORIZATION, value);
        }
        if method != Method::GET
            && let Some(value) = authorization.csrf()
        {
            builder = builder.header(CSRF, value);
        }
        if let Some(form) = &body {
            builder = builder
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                // Written also when it is 0, which hyper would leave out.
                .header(header::CONTENT_LENGTH, HeaderValue::from(form.len()));
        }
        builder
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| ClientError::Usage(format!("the call can not be sent: {error}")))
    }
}

fn lost() -> ClientError {
    let text = "the connection broke before the answer; the call may have been executed";
    ClientError::Protocol(text.to_owned())
}

/// An API path as [`crate::path`] writes it, without its leading slash. What would change the
/// meaning of the request line, or be rewritten on the way, is refused.
fn checked(path: &str) -> Result<&str, ClientError> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    let lawful = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/".contains(&b);
    let segment = |segment: &str| !matches!(segment, "" | "." | "..");
    if relative.bytes().all(lawful) && (relative.is_empty() || relative.split('/').all(segment)) {
        return Ok(relative);
    }
    Err(ClientError::Usage(format!("{path:?} is no API path; segments are encoded by path([…])")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_pass() {
        for good in ["", "/", "/version", "nodes/pve1", "/a/local%3Aiso%2Fx", "/a/%2E%2E"] {
            checked(good).unwrap();
        }
        for bad in ["//version", "/a//b", "/a/", "/a/../b", "/.", "/a?b=c", "/a#b", "/a b", "/é"] {
            assert!(matches!(checked(bad), Err(ClientError::Usage(_))), "{bad:?}");
        }
    }
}
