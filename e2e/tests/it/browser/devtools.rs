//! The Chrome DevTools Protocol over a pair of pipes: JSON with a zero byte after each message.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::program::PATIENCE;

/// Messages that wait for this test to look; then the browser waits.
const QUEUE: usize = 4096;

/// What a browser tells by itself.
pub(super) struct Event {
    pub(super) method: String,
    pub(super) session: String,
    pub(super) params: Value,
}

/// A browser's other end.
pub(super) struct DevTools {
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    events: VecDeque<Event>,
    /// By session: the page that answers for servers that do not exist.
    pages: HashMap<String, String>,
}

impl DevTools {
    pub(super) fn new(to: ChildStdin, from: ChildStdout) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        // Ends with the browser, or with the receiver.
        thread::spawn(move || {
            for message in BufReader::new(from).split(0) {
                let message = message.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
                let Some(message) = message else { return };
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let (events, pages) = (VecDeque::new(), HashMap::new());
        Self { to, from: receiver, last: 0, events, pages }
    }

    /// Calls a method; an empty session is the browser itself.
    pub(super) fn call(&mut self, session: &str, method: &str, params: Value) -> Result<Value> {
        let id = self.send(session, method, params)?;
        let begun = Instant::now();
        loop {
            ensure!(begun.elapsed() < PATIENCE, "{method}: no answer");
            let Some(mut message) = self.next(PATIENCE)?.filter(|message| message["id"] == id)
            else {
                continue;
            };
            if let Some(error) = message.get("error") {
                bail!("{method}: {}", error["message"]);
            }
            return Ok(message["result"].take());
        }
    }

    /// The oldest event that fits; waits for one.
    pub(super) fn event(
        &mut self,
        what: &str,
        fits: impl Fn(&Event) -> bool,
        patience: Duration,
    ) -> Result<Event> {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.events.iter().position(&fits) {
                return self.events.remove(at).context("an event");
            }
            ensure!(begun.elapsed() < patience, "the browser does not come to: {what}");
            self.next(Duration::from_millis(50))?;
        }
    }

    /// All events so far that fit.
    pub(super) fn take(&mut self, fits: impl Fn(&Event) -> bool) -> Result<VecDeque<Event>> {
        while self.next(Duration::ZERO)?.is_some() {}
        let events = std::mem::take(&mut self.events).into_iter();
        let (taken, kept) = events.partition(fits);
        self.events = kept;
        Ok(taken)
    }

    /// Answers requests of a session that match with a page, in the place of any server.
    pub(super) fn serve(&mut self, session: &str, pattern: &str, html: &str) -> Result<()> {
        self.pages.insert(session.to_owned(), html.to_owned());
        let patterns = json!({ "patterns": [{ "urlPattern": pattern }] });
        self.call(session, "Fetch.enable", patterns).map(drop)
    }

    /// Calls a method and waits for nothing; the number of the call.
    pub(super) fn send(&mut self, session: &str, method: &str, params: Value) -> Result<u64> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method });
        message["params"] = params;
        if !session.is_empty() {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).with_context(|| format!("{method}: the browser has ended"))?;
        Ok(self.last)
    }

    /// The next message; null where it was an event, which is put aside. `None`: none in time.
    fn next(&mut self, patience: Duration) -> Result<Option<Value>> {
        let mut message = match self.from.recv_timeout(patience) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => bail!("the browser has ended"),
        };
        let Some(method) = message["method"].as_str().map(str::to_owned) else {
            return Ok(Some(message));
        };
        let session = message["sessionId"].as_str().unwrap_or_default().to_owned();
        let params = message["params"].take();
        if method == "Fetch.requestPaused" {
            self.fulfill(&session, &params)?;
        } else {
            self.events.push_back(Event { method, session, params });
        }
        Ok(Some(Value::Null))
    }

    fn fulfill(&mut self, session: &str, params: &Value) -> Result<()> {
        let html = self.pages.get(session).cloned().unwrap_or_default();
        let answer = json!({
            "requestId": params["requestId"],
            "responseCode": 200,
            "responseHeaders": [{ "name": "Content-Type", "value": "text/html" }],
            "body": STANDARD.encode(html),
        });
        self.send(session, "Fetch.fulfillRequest", answer).map(drop)
    }
}
