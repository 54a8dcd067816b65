//! One connection: deadlines, framing, requests in order.

use std::time::Duration;

use broker_api::{Code, Refusal, Request, frame, pulse, strict_json};
use serde_json::{Map, Value};
use telemetry::CorrelationId;
use tokio::time::{Instant, timeout_at};

use super::connections::Place;
use super::emit::{Emitter, Gone, Protocol};
use super::stream::Stream;
use super::{Shared, dispatch};
use crate::limits::{FIRST_BUFFER, IN_BUFFER, OUT_BUFFER, STRANGER_WAIT};
use crate::peer::{Peer, PeerKey};

/// A request as both protocols have it.
pub(crate) struct Asked {
    pub(crate) verb: String,
    pub(crate) params: Map<String, Value>,
}

/// Why nothing more was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// The peer has closed its side.
    Closed,
    TimedOut,
}

/// Serves a peer that the policy knows, until it is gone.
pub(crate) async fn serve(
    shared: &Shared,
    mut stream: Stream,
    peer: &Peer,
    key: &PeerKey,
    place: &Place,
) {
    let limits = shared.config().settings.limits;
    let mut bytes = Vec::with_capacity(FIRST_BUFFER);
    let first = Instant::now() + limits.first_byte();
    let began = read(&mut stream, &mut bytes, first).await;
    let protocol = protocol_of(&bytes);
    let mut emitter = Emitter::new(shared, &mut stream, protocol, limits.write());
    if let Err(ended) = began {
        if ended == Ended::TimedOut {
            refuse_slow(&mut emitter, key).await;
        }
        return;
    }
    let served = match protocol {
        Protocol::Own => serve_own(&mut emitter, &mut bytes, peer, key, place, &limits).await,
        Protocol::Pulse => serve_pulse(&mut emitter, &mut bytes, peer, key, place, &limits).await,
    };
    if served.is_ok() {
        stream.drain();
    }
}

/// Reads a stranger's request, within a short time, and refuses it: an answer that comes before
/// the request was read would often be lost.
pub(crate) async fn refuse_stranger(shared: &Shared, mut stream: Stream, who: &str) {
    let until = Instant::now() + STRANGER_WAIT;
    let mut bytes = Vec::with_capacity(FIRST_BUFFER);
    while bytes.len() < IN_BUFFER && !is_whole(&bytes) {
        if read(&mut stream, &mut bytes, until).await.is_err() {
            break;
        }
    }
    let protocol = protocol_of(&bytes);
    let mut emitter = Emitter::new(shared, &mut stream, protocol, STRANGER_WAIT);
    emitter.correlation = CorrelationId::random().to_string();
    let body = match protocol {
        Protocol::Own => frame::request(&bytes).ok().flatten(),
        Protocol::Pulse => pulse::line(&bytes).ok().flatten(),
    };
    if let Some(value) = body.and_then(|(body, _)| strict_json::parse(body).ok()) {
        let given = value.get("correlation_id").and_then(Value::as_str);
        if let Some(id) = given.and_then(|text| text.parse::<CorrelationId>().ok()) {
            emitter.correlation = id.to_string();
        }
        emitter.id = value.get("id").and_then(Value::as_u64);
    }
    let text = format!("no rule names this peer, which is {who}");
    emitter.push(&Err(Refusal::new(Code::Unauthorized, text)));
    if emitter.flush().await.is_ok() {
        stream.drain();
    }
}

async fn serve_own(
    emitter: &mut Emitter<'_>,
    bytes: &mut Vec<u8>,
    peer: &Peer,
    key: &PeerKey,
    place: &Place,
    limits: &crate::config::Limits,
) -> Result<(), Gone> {
    let mut until = Instant::now() + limits.request();
    loop {
        let mut used = 0;
        place.set_busy(true);
        loop {
            match frame::request(bytes.get(used..).unwrap_or_default()) {
                Ok(Some((body, length))) => {
                    let asked = read_own(emitter, body);
                    answer(emitter, peer, key, asked).await?;
                    used += length;
                }
                Ok(None) => break,
                Err(large) => {
                    let refusal = Refusal::new(Code::PayloadTooLarge, large.to_string());
                    fault(emitter, key, &refusal);
                    return emitter.flush().await;
                }
            }
            if emitter.gathered() >= OUT_BUFFER {
                emitter.flush().await?;
            }
        }
        emitter.flush().await?;
        place.set_busy(false);
        bytes.drain(..used);
        let waiting = bytes.is_empty();
        if waiting {
            until = Instant::now() + limits.idle();
        } else if used > 0 {
            until = Instant::now() + limits.request();
        }
        match read(emitter.stream, bytes, until).await {
            Ok(()) if waiting => until = Instant::now() + limits.request(),
            Ok(()) => {}
            Err(Ended::TimedOut) if !waiting => {
                refuse_slow(emitter, key).await;
                return Ok(());
            }
            // Nothing is left to read.
            Err(Ended::Closed) => return Err(Gone),
            Err(Ended::TimedOut) => return Ok(()),
        }
    }
}

async fn serve_pulse(
    emitter: &mut Emitter<'_>,
    bytes: &mut Vec<u8>,
    peer: &Peer,
    key: &PeerKey,
    place: &Place,
    limits: &crate::config::Limits,
) -> Result<(), Gone> {
    let until = Instant::now() + limits.request();
    loop {
        match pulse::line(bytes) {
            Ok(Some((line, _))) => {
                place.set_busy(true);
                let asked = read_pulse(emitter, line);
                answer(emitter, peer, key, asked).await?;
                return emitter.flush().await;
            }
            Ok(None) => {}
            Err(code) => {
                fault(emitter, key, &Refusal::new(code, "the line is too long"));
                return emitter.flush().await;
            }
        }
        match read(emitter.stream, bytes, until).await {
            Ok(()) => {}
            Err(Ended::TimedOut) => {
                refuse_slow(emitter, key).await;
                return Ok(());
            }
            Err(Ended::Closed) => {
                // The original wants the line feed, even when the JSON is complete.
                fault(emitter, key, &Refusal::new(Code::InvalidFrame, "no line feed"));
                return emitter.flush().await;
            }
        }
    }
}

/// Budget, then reading, then the work.
async fn answer(
    emitter: &mut Emitter<'_>,
    peer: &Peer,
    key: &PeerKey,
    asked: Result<Asked, Refusal>,
) -> Result<(), Gone> {
    let spent = emitter.shared.admission.spend(key, emitter.shared.clock.monotonic());
    let outcome = match (spent, asked) {
        (Err(refusal), _) => {
            emitter.shared.metrics.request("unknown", Some(&refusal), Duration::ZERO, key.as_str());
            if let Some(event) = emitter.shared.audit.repeated(key.as_str(), "rate_limited") {
                emitter.record(event);
            }
            Err(refusal)
        }
        (Ok(()), Err(refusal)) => {
            fault(emitter, key, &refusal);
            return Ok(());
        }
        (Ok(()), Ok(asked)) => dispatch::handle(emitter, peer, key, &asked).await?,
    };
    emitter.push(&outcome);
    Ok(())
}

/// What is no request: answered, counted, and paid for.
fn fault(emitter: &mut Emitter<'_>, key: &PeerKey, refusal: &Refusal) {
    let shared = emitter.shared;
    if emitter.correlation.is_empty() {
        emitter.correlation = CorrelationId::random().to_string();
    }
    shared.admission.penalise(key, shared.clock.monotonic());
    shared.metrics.penalty(refusal.code.name(), key.as_str());
    shared.metrics.request("unknown", Some(refusal), Duration::ZERO, key.as_str());
    if let Some(event) = shared.audit.repeated(key.as_str(), refusal.code.name()) {
        emitter.record(event);
    }
    emitter.push(&Err(refusal.clone()));
}

async fn refuse_slow(emitter: &mut Emitter<'_>, key: &PeerKey) {
    emitter.shared.metrics.read_timeouts.inc();
    emitter.correlation.clear();
    let refusal = Refusal::new(Code::ReadTimeout, "the request did not arrive in time");
    fault(emitter, key, &refusal);
    let _ = emitter.flush().await;
}

fn read_own(emitter: &mut Emitter<'_>, body: &[u8]) -> Result<Asked, Refusal> {
    emitter.id = None;
    emitter.correlation.clear();
    let invalid = |code, text: String| Err(Refusal::new(code, text));
    let read = if body.is_empty() {
        invalid(Code::EmptyRequest, "an empty frame".to_owned())
    } else {
        match strict_json::parse(body) {
            Err(error) => invalid(Code::InvalidJson, error.to_string()),
            Ok(value) => match Request::from_value(value) {
                Ok(request) => {
                    emitter.id = request.id;
                    if let Some(id) = request.correlation_id {
                        emitter.correlation.push_str(id.as_str());
                    }
                    Ok(Asked { verb: request.verb, params: request.parameters })
                }
                Err(fault) => {
                    emitter.id = fault.id;
                    if let Some(id) = &fault.correlation_id {
                        emitter.correlation.push_str(id.as_str());
                    }
                    invalid(Code::InvalidRequest, fault.to_string())
                }
            },
        }
    };
    name_it(emitter);
    read
}

fn read_pulse(emitter: &mut Emitter<'_>, line: &[u8]) -> Result<Asked, Refusal> {
    let read = if line.trim_ascii().is_empty() {
        Err(Refusal::new(Code::EmptyRequest, "an empty line"))
    } else {
        let parsed = strict_json::parse(line).map_err(|_| (Code::InvalidJson, None));
        match parsed.and_then(pulse::Line::from_value) {
            Err((code, correlation)) => {
                if let Some(id) = correlation {
                    emitter.correlation.push_str(id.as_str());
                }
                Err(Refusal::new(code, "no request"))
            }
            Ok(line) => {
                if let Some(id) = &line.correlation_id {
                    emitter.correlation.push_str(id.as_str());
                }
                crate::pulse::asked(line)
            }
        }
    };
    name_it(emitter);
    read
}

fn name_it(emitter: &mut Emitter<'_>) {
    if emitter.correlation.is_empty() {
        emitter.correlation = CorrelationId::random().to_string();
    }
}

fn protocol_of(bytes: &[u8]) -> Protocol {
    match bytes.first() {
        Some(0) => Protocol::Own,
        _ => Protocol::Pulse,
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    match protocol_of(bytes) {
        Protocol::Own => !matches!(frame::request(bytes), Ok(None)),
        Protocol::Pulse => !matches!(pulse::line(bytes), Ok(None)),
    }
}

/// Appends what arrives next.
async fn read(stream: &mut Stream, bytes: &mut Vec<u8>, until: Instant) -> Result<(), Ended> {
    if bytes.len() == bytes.capacity() {
        bytes.reserve(IN_BUFFER);
    }
    match timeout_at(until, stream.read(bytes)).await {
        Ok(Ok(0) | Err(_)) => Err(Ended::Closed),
        Ok(Ok(_)) => Ok(()),
        Err(_) => Err(Ended::TimedOut),
    }
}
