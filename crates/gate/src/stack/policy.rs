//! Whether the administrator's policy lets a call pass.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use pve_schema::{Schema, Verb};

use super::{Asked, declared_length, whole};
use crate::audit::Act;
use crate::body::{Ready, Source};
use crate::caller::Caller;
use crate::credential::Credential;
use crate::edge::{self, BodyRule, unescape};
use crate::login::{Kind, Params, Shape};
use crate::permissions::Unknown;
use crate::policy::{
    Decision, Factors, Given, InForce, Question, SchemaMode, Segments, Who, check_schema,
};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::route::{Format, Route};
use crate::session::ticket_label;

/// What judging has read.
#[derive(Default)]
pub(super) struct Judged {
    /// The body, where it had to be read for that.
    pub(super) body: Option<Bytes>,
    /// The parameters that were judged, to be sent on in place of the client's own.
    pub(super) params: Option<Params>,
    /// Whether these are all there are: those of an upload come later.
    whole: bool,
}

impl Judged {
    /// What to send on: where parameters were judged, these and no others. The last value says
    /// whether the body is a form of ours.
    pub(super) fn sent(
        self,
        target: &PathAndQuery,
    ) -> Result<(Option<PathAndQuery>, Ready, bool), Refusal> {
        let Self { body, params, .. } = self;
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

/// Whether there is anything to judge a call by.
pub(super) fn concerns(asked: &Asked<'_>, record: &Record) -> bool {
    let token = matches!(asked.caller, Caller::ProxyToken(_));
    token || asked.peer.worker.policy(record.begun()).is_some()
}

/// Judges a call of the API or of the gate itself. Somebody who is not known is judged only
/// where a call needs no credential: everywhere else Proxmox VE refuses them.
pub(super) async fn judge(
    asked: &Asked<'_>,
    record: &mut Record,
    target: &PathAndQuery,
    body: &mut dyn Source,
) -> Result<Judged, Refusal> {
    if let Caller::ProxyToken(token) = asked.caller
        && asked.peer.worker.shared.tokens.is_first_use(token, asked.client)
    {
        asked.record(Act::TokenUsed, token.plain_name());
    }
    let policy = asked.peer.worker.policy(record.begun());
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
    if let Caller::ProxyToken(token) = asked.caller
        && !token.permits(method, &segments)
    {
        record.failed(&"limits of a proxy token");
        return Err(Refusal::Policy("the limits of this proxy token".to_owned()));
    }
    let Some(policy) = policy else { return Ok(Judged::default()) };
    let call = Call { policy: &policy, method, segments: &segments, name: name.as_ref(), open };
    let decision = call.decide(asked, Given::Unread);
    let known = name.is_some();
    if let Some(Some(denied)) = &decision {
        return Err(refuse(asked, denied, record, known).await);
    }
    // A login's parameters are judged by those who read it, and nobody's call by nobody.
    let schema = match asked.route {
        Route::Api(format, _) if known && !asked.is_login() => call.schema(format),
        _ => None,
    };
    if decision.is_some() && schema.is_none() {
        return Ok(Judged::default());
    }
    let mut judged = read(asked, target, body).await?;
    if decision.is_none() {
        let params = judged.params.as_ref().ok_or(Refusal::PolicyParameters)?;
        let given = if judged.whole { Given::All(params) } else { Given::Partly(params) };
        let denial = call.decide(asked, given).ok_or(Refusal::PolicyParameters)?;
        if let Some(denied) = denial {
            return Err(refuse(asked, &denied, record, known).await);
        }
    }
    let enforced = match &schema {
        Some(schema) => schema.check(&judged, record)?,
        None => false,
    };
    // A login is written anew by those who read it; what is for the gate stays here; and what
    // nothing was decided by is left as it is.
    let elsewhere = asked.is_login() || matches!(asked.route, Route::Own(_));
    if elsewhere || (decision.is_some() && !enforced) {
        judged.params = None;
    }
    Ok(judged)
}

/// The schema as it looks at one call.
struct Checked<'c> {
    schema: &'static Schema,
    format: Format,
    enforced: bool,
    call: (Verb, &'c Segments<'c>),
}

impl Checked<'_> {
    /// Refuses or reports what the schema does not know. True when that is enforced.
    fn check(&self, judged: &Judged, record: &mut Record) -> Result<bool, Refusal> {
        let params = judged.params.as_ref();
        let unread = params.is_none() && judged.whole;
        if unread && self.enforced {
            return Err(Refusal::PolicyParameters);
        }
        match check_schema(self.schema, self.call, params.filter(|_| judged.whole)) {
            Ok(()) => {}
            Err(unfit) => {
                record.failed(&unfit.text());
                if self.enforced {
                    return Err(Refusal::Unfit(Box::new(unfit.answer(self.format))));
                }
            }
        }
        Ok(self.enforced)
    }
}

/// The account of a session or a ticket. Tokens are programs: that one of them gets through
/// says nothing of the people.
pub(super) fn person(caller: &Caller<'_>) -> Option<String> {
    let name = Name::of(caller).ok().flatten()?;
    name.token.is_none().then(|| name.user.into_owned())
}

/// The account or token that Proxmox VE will take the caller for.
pub(super) fn subject(caller: &Caller<'_>) -> Option<String> {
    let Name { user, token } = Name::of(caller).ok().flatten()?;
    Some(token.unwrap_or(user).into_owned())
}

/// A call on its way through the rules.
struct Call<'c> {
    policy: &'c InForce,
    method: Verb,
    segments: &'c Segments<'c>,
    name: Option<&'c Name<'c>>,
    open: bool,
}

/// Why a call is refused, if it is.
type Denial = Option<Denied>;

enum Denied {
    /// By this part of the policy.
    By(String),
    /// For want of a second factor, by this entry.
    SecondFactor(String),
    /// For want of a code, by this entry.
    StepUp(String),
}

impl<'c> Call<'c> {
    /// None where nobody looks at the schema.
    fn schema(&self, format: Format) -> Option<Checked<'c>> {
        let rules = &self.policy.rules;
        let enforced = match rules.schema() {
            SchemaMode::Off => return None,
            SchemaMode::Report => false,
            SchemaMode::Enforce => true,
        };
        let call = (self.method, self.segments);
        Some(Checked { schema: rules.release(), format, enforced, call })
    }

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
            factors: asked.factors(self.policy),
            found: OnceCell::new(),
        };
        match self.policy.rules.decide(&question, self.open) {
            Decision::Allow(_) => Some(None),
            Decision::Deny(by) => Some(Some(Denied::By(by.text()))),
            Decision::SecondFactor(name) => Some(Some(Denied::SecondFactor(name.to_owned()))),
            Decision::StepUp(name) => Some(Some(Denied::StepUp(name.to_owned()))),
            Decision::NeedsParameters => None,
        }
    }
}

/// The answer to a denied call. Rules are named to whom Proxmox VE or the gate knows, and to
/// nobody who only claims a name.
async fn refuse(asked: &Asked<'_>, denied: &Denied, record: &mut Record, known: bool) -> Refusal {
    let (cause, refusal) = match denied {
        Denied::By(by) => (by.clone(), Refusal::Policy(by.clone())),
        Denied::SecondFactor(name) => {
            (format!("tfa '{name}'"), Refusal::SecondFactor(name.clone()))
        }
        Denied::StepUp(name) => (format!("step_up '{name}'"), Refusal::StepUp(name.clone())),
    };
    record.failed(&cause);
    if !known {
        return Refusal::PolicyUnsaid;
    }
    let Asked { peer, parts, caller, .. } = *asked;
    if !matches!(caller, Caller::OwnTicket(_) | Caller::ApiToken(_)) {
        return refusal;
    }
    match peer.worker.shared.permissions.of(peer, caller, parts, "/").await {
        Ok(_) | Err(Unknown::Refused) => refusal,
        Err(Unknown::Upstream(error)) => error.refusal(),
        Err(Unknown::NotLoggedIn) => {
            asked.count_refused(record).await;
            Refusal::NotLoggedIn
        }
    }
}

/// Reads query and body. Parameters that can not be read are left out: whoever needs them
/// refuses the call.
async fn read(
    asked: &Asked<'_>,
    target: &PathAndQuery,
    body: &mut dyn Source,
) -> Result<Judged, Refusal> {
    let Asked { parts, peer, .. } = *asked;
    let length = parts.headers.get(CONTENT_LENGTH).map(declared_length).transpose()?;
    let path = edge::decode_path(target.path())?;
    let rule = edge::body_rule(&parts.method, &path, length, body.left() == Some(0))?;
    let (kind, bytes) = match rule {
        BodyRule::Whole => (Kind::of(parts), Some(whole(peer, body).await?)),
        BodyRule::None | BodyRule::Stream => (Some(Kind::Form), None),
    };
    let text = bytes.as_deref().unwrap_or_default();
    let params = kind.map(|kind| Params::read((kind, Shape::CALL), text, target.query()));
    let params = params.and_then(Result::ok);
    Ok(Judged { body: bytes, params, whole: rule != BodyRule::Stream })
}

impl Asked<'_> {
    /// What the caller has shown. Codes are shown for a session.
    fn factors(&self, policy: &InForce) -> Factors {
        let Caller::Session { session, .. } = self.caller else { return Factors::default() };
        let step_ups = &self.peer.worker.shared.step_ups;
        let stepped_up = policy.rules.asks_for_codes().then(|| step_ups.of(session.id)).flatten();
        Factors { second: session.second_factor, stepped_up }
    }
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
            Caller::ProxyToken(token) => {
                let id = token.behind();
                let (user, _) = id.rsplit_once('!').ok_or(())?;
                Ok(Some(Self { user: Cow::Borrowed(user), token: Some(Cow::Borrowed(id)) }))
            }
            Caller::OwnTicket(_) | Caller::ApiToken(_) => Err(()),
            Caller::Anonymous | Caller::Ended(_) | Caller::LoggedOut(_) | Caller::Invalid(_) => {
                Ok(None)
            }
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
