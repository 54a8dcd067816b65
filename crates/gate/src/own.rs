//! What the gate answers by itself below `/proxward/`.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, Method, Response};

use crate::body::AnswerBody;
use crate::caller::Caller;
use crate::credential::TICKET;
use crate::login::session_cookie;
use crate::refusal::Refusal;
use crate::session::Sessions;

/// Answers a call. Credential, origin and CSRF token have been judged.
pub(crate) async fn answer(
    method: &Method,
    path: &str,
    caller: &Caller<'_>,
    sessions: &Sessions,
) -> Result<Response<AnswerBody>, Refusal> {
    match (method, path) {
        (&Method::POST, "logout") => logout(caller, sessions).await,
        _ => Err(Refusal::NoSuchPath),
    }
}

/// Ends the caller's session, durably, and takes both cookies back.
async fn logout(caller: &Caller<'_>, sessions: &Sessions) -> Result<Response<AnswerBody>, Refusal> {
    let (Caller::Session { session, .. } | Caller::LoggedOut(session)) = caller else {
        return Err(Refusal::NotLoggedIn);
    };
    sessions.end(session.id).await.map_err(|_| Refusal::NotStored)?;
    let mut answer = Response::new(AnswerBody::full(Bytes::from_static(b"{\"data\":null}")));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if session.browser {
        headers.extend(session_cookie("").map(|cookie| (SET_COOKIE, cookie)));
        let readable = format!("{TICKET}=; Secure; SameSite=Lax; Path=/; Max-Age=0");
        headers.extend(HeaderValue::from_str(&readable).map(|cookie| (SET_COOKIE, cookie)));
    }
    Ok(answer)
}
