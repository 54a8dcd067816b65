//! Where answers go: gathered, recorded, then written.

use std::time::Duration;

use broker_api::{Answer, Code, Refusal, frame, pulse};
use serde_json::Value;
use telemetry::audit::Event;
use tokio::time::timeout;

use super::Shared;
use super::stream::Stream;
use crate::limits::FIRST_BUFFER;
use crate::race::{Either, race};

/// Which of the two protocols a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Own,
    Pulse,
}

/// The way back to one peer.
pub(crate) struct Emitter<'a> {
    pub(super) shared: &'a Shared,
    pub(super) stream: &'a mut Stream,
    pub(super) protocol: Protocol,
    wait: Duration,
    out: Vec<u8>,
    seq: u64,
    /// Of the request being done.
    pub(super) correlation: String,
    pub(super) id: Option<u64>,
}

/// The peer is gone, or does not take its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl<'a> Emitter<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        stream: &'a mut Stream,
        protocol: Protocol,
        wait: Duration,
    ) -> Self {
        let (out, correlation) = (Vec::with_capacity(FIRST_BUFFER), String::new());
        Self { shared, stream, protocol, wait, out, seq: 0, correlation, id: None }
    }

    pub(crate) fn shared(&self) -> &'a Shared {
        self.shared
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// A record that is gathered with others and written a moment later.
    pub(crate) fn record(&self, event: Event) {
        self.shared.record(event);
    }

    /// On the disk when this returns; for what must not happen unrecorded.
    pub(crate) fn record_now(&self, event: Event) -> Result<(), Refusal> {
        self.shared.audit.write_through(event).map_err(|error| {
            self.shared.metrics.audit_failures.inc();
            tracing::error!(%error, "audit");
            let text = "the audit log can not be written; nothing is changed without it";
            Refusal::new(Code::Unavailable, text)
        })
    }

    /// One of several answers, at once.
    pub(crate) async fn more(&mut self, result: &Value) -> Result<(), Gone> {
        self.push_done(result, true);
        self.flush().await
    }

    /// Waits for something between two answers, as long as the peer is there.
    pub(crate) async fn wait(&mut self, work: impl Future<Output = ()>) -> Result<(), Gone> {
        match race(work, self.stream.hung_up()).await {
            Either::First(()) => Ok(()),
            Either::Second(()) => Err(Gone),
        }
    }

    /// The last answer to a request, gathered.
    pub(crate) fn push(&mut self, outcome: &Result<Value, Refusal>) {
        match outcome {
            Ok(result) => self.push_done(result, false),
            Err(refusal) => self.push_refused(refusal),
        }
    }

    /// Bytes gathered.
    pub(crate) fn gathered(&self) -> usize {
        self.out.len()
    }

    /// Writes what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        if self.out.is_empty() {
            return Ok(());
        }
        let written = timeout(self.wait, self.stream.write_all(&self.out)).await;
        self.out.clear();
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Gone),
            Err(_) => {
                self.shared.metrics.write_timeouts.inc();
                Err(Gone)
            }
        }
    }

    fn push_done(&mut self, result: &Value, more: bool) {
        self.seq += 1;
        let pushed = match self.protocol {
            Protocol::Pulse => {
                self.out.extend(pulse::done(&self.correlation, result).bytes());
                Ok(())
            }
            Protocol::Own => {
                let text = Answer::done(&self.correlation, self.id, self.seq, result, more);
                frame::push(&mut self.out, text.as_bytes())
            }
        };
        if let Err(large) = pushed {
            self.seq -= 1;
            self.push_refused(&Refusal::new(Code::OutputTooLarge, large.to_string()));
        }
    }

    fn push_refused(&mut self, refusal: &Refusal) {
        self.seq += 1;
        match self.protocol {
            Protocol::Pulse => self.out.extend(pulse::refused(&self.correlation, refusal).bytes()),
            Protocol::Own => {
                let text = Answer::refused(&self.correlation, self.id, self.seq, refusal);
                // A refusal is short.
                let _ = frame::push(&mut self.out, text.as_bytes());
            }
        }
    }
}
