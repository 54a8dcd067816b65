//! Whether the administrator's policy lets a call pass.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use pve_schema::Verb;

use super::{Asked, declared_length, whole};
use crate::body::{Ready, Source};
use crate::caller::Caller;
use crate::credential::Credential;
use crate::edge::{self, BodyRule, unescape};
use crate::login::{Kind, Params, Shape};
use crate::policy::{Decision, Given, InForce, Question, Segments, Who};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::session::ticket_label;

/// What judging has read.
#[derive(Default)]
pub(super) struct Judged {
    /// The body, where it had to be read for that.
    pub(super) body: Option<Bytes>,
    /// The parameters that were judged, to be sent on in place of the client's own.
    pub(super) params: Option<Params>,
}

impl Judged {
    /// What to send on: where parameters were judged, these and no others. The last value says
    /// whether the body is a form of ours.
    pub(super) fn sent(
        self,
        target: &PathAndQuery,
    ) -> Result<(Option<PathAndQuery>, Ready, bool), Refusal> {
        let Self { body, params } = self;
        let Some(params) = params else { return Ok((None, Ready(body), false)) };
        let mut form = params.write();
        let mut text = target.path().as_bytes().to_vec();
        let described = body.is_some();
        if !described && !form.is_empty() {
            text.push(b'?');
            text.append(&mut form);
        }
        let target = PathAndQuery::try_from(text).map_err(|_| Refusal::Url)?;
        Ok((Some(target), Ready(body.map(|_| Bytes::from(form))), described))
    }
}

/// Whose rules a call is judged by.
struct Name<'c> {
    user: Cow<'c, str>,
    token: Option<Cow<'c, str>>,
}

/// Judges a call of the API or of the gate itself. Somebody who is not known is judged only
/// where a call needs no credential: everywhere else Proxmox VE refuses them.
pub(super) async fn judge(
    asked: &Asked<'_>,
    record: &mut Record,
    target: &PathAndQuery,
    body: &mut dyn Source,
) -> Result<Judged, Refusal> {
    let Some(policy) = asked.peer.worker.policy() else { return Ok(Judged::default()) };
    let path = match asked.route {
        Route::Api(_, below) => Cow::Borrowed(below),
        Route::Own(below) => Cow::Owned(format!("/proxward/{below}")),
        Route::Page(_) => return Ok(Judged::default()),
    };
    let open = asked.route.is_open(&asked.parts.method) || asked.is_login();
    let name = match Name::of(asked.caller) {
        Ok(name) => name,
        // No ticket and no token that Proxmox VE could believe.
        Err(()) if !open => {
            asked.count_refused(record).await;
            return Err(Refusal::NotLoggedIn);
        }
        Err(()) => None,
    };
    if name.is_none() && !open {
        return Ok(Judged::default());
    }
    let segments = Segments::of(&path).ok_or(Refusal::PathTooDeep)?;
    let method = Verb::from_http(asked.parts.method.as_str());
    let method = method.ok_or_else(|| Refusal::Method(asked.parts.method.to_string()))?;
    let call = Call { policy: &policy, method, segments: &segments, name: name.as_ref(), open };
    match call.decide(asked, Given::Unread) {
        Some(decision) => {
            pass(decision, record, name.is_some())?;
            Ok(Judged::default())
        }
        None => {
            let (mut judged, whole) = read(asked, target, body).await?;
            let params = judged.params.as_ref().ok_or(Refusal::PolicyParameters)?;
            let given = if whole { Given::All(params) } else { Given::Partly(params) };
            let decision = call.decide(asked, given).ok_or(Refusal::PolicyParameters)?;
            pass(decision, record, name.is_some())?;
            // A login is written anew by those who read it; what is for the gate stays here.
            if asked.is_login() || matches!(asked.route, Route::Own(_)) {
                judged.params = None;
            }
            Ok(judged)
        }
    }
}

/// A call on its way through the rules.
struct Call<'c> {
    policy: &'c InForce,
    method: Verb,
    segments: &'c Segments<'c>,
    name: Option<&'c Name<'c>>,
    open: bool,
}

/// Denied, and by what.
type Denial = Option<String>;

impl Call<'_> {
    /// None where parameters are needed.
    fn decide(&self, asked: &Asked<'_>, params: Given<'_>) -> Option<Denial> {
        let who = self.name.map(|name| Who { user: &name.user, token: name.token.as_deref() });
        let client: IpAddr = asked.client;
        let question = Question {
            method: self.method,
            path: self.segments,
            who,
            client,
            now: asked.now,
            accounts: &self.policy.accounts,
            params,
            found: OnceCell::new(),
        };
        match self.policy.rules.decide(&question, self.open) {
            Decision::Allow(_) => Some(None),
            Decision::Deny(by) => Some(Some(by.text())),
            Decision::NeedsParameters => None,
        }
    }
}

fn pass(denial: Denial, record: &mut Record, known: bool) -> Result<(), Refusal> {
    let Some(by) = denial else { return Ok(()) };
    record.failed(&by);
    Err(if known { Refusal::Policy(by) } else { Refusal::PolicyUnsaid })
}

/// Reads query and body; false where the body passes through as it comes, unread.
async fn read(
    asked: &Asked<'_>,
    target: &PathAndQuery,
    body: &mut dyn Source,
) -> Result<(Judged, bool), Refusal> {
    let Asked { parts, peer, .. } = *asked;
    let length = parts.headers.get(CONTENT_LENGTH).map(declared_length).transpose()?;
    let path = edge::decode_path(target.path())?;
    let rule = edge::body_rule(&parts.method, &path, length, body.left() == Some(0))?;
    let (kind, bytes) = match rule {
        BodyRule::Whole => {
            let kind = Kind::of(parts).ok_or(Refusal::PolicyParameters)?;
            (kind, Some(whole(peer, body).await?))
        }
        BodyRule::None | BodyRule::Stream => (Kind::Form, None),
    };
    let text = bytes.as_deref().unwrap_or_default();
    let params = Params::read((kind, Shape::CALL), text, target.query());
    let params = params.map_err(|_| Refusal::PolicyParameters)?;
    Ok((Judged { body: bytes, params: Some(params) }, rule != BodyRule::Stream))
}

impl<'c> Name<'c> {
    /// The account that Proxmox VE will take the caller for, if it believes the credential.
    /// `Err` for a credential that it can not believe, as it names nobody.
    fn of(caller: &'c Caller<'_>) -> Result<Option<Self>, ()> {
        let text = |bytes: &'c [u8]| std::str::from_utf8(bytes).map_err(|_| ());
        match caller {
            Caller::Session { session, .. } => Self::labelled(&session.label).map(Some),
            Caller::OwnTicket(Credential::Ticket { text: ticket, .. }) => {
                Self::labelled(ticket_label(text(ticket)?).ok_or(())?).map(Some)
            }
            Caller::ApiToken(Credential::ApiToken(token)) => {
                let (id, _) = text(token)?.rsplit_once('=').ok_or(())?;
                let (user, _) = id.rsplit_once('!').ok_or(())?;
                let (user, token) = (Cow::Borrowed(user), Some(Cow::Borrowed(id)));
                Ok(Some(Self { user, token }))
            }
            Caller::OwnTicket(_) | Caller::ApiToken(_) => Err(()),
            Caller::Anonymous | Caller::Ended(_) | Caller::LoggedOut(_) => Ok(None),
        }
    }

    /// By the name as a ticket spells it, which Proxmox VE decodes whole.
    fn labelled(label: &'c str) -> Result<Self, ()> {
        let user = match label.contains('%') {
            true => Cow::Owned(String::from_utf8(unescape(label.as_bytes())).map_err(|_| ())?),
            false => Cow::Borrowed(label),
        };
        Ok(Self { user, token: None })
    }
}
