//! A recording that answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::exchange::Exchange;
use super::key::Key;
use super::{VERSION, VERSION_KEY};
use crate::document::{FileError, Place};
use crate::limits::{RECORD_FILE_BYTES, RECORD_LINE_BYTES, RECORDED_EXCHANGES};
use crate::wire::Response;

/// Recorded answers by request. Those to the same request come in their order, and the last one
/// again and again.
#[derive(Debug, Default)]
pub struct Recording(BTreeMap<Key, Mutex<Track>>);

#[derive(Debug, Default)]
struct Track {
    answers: Vec<Response>,
    next: usize,
}

impl Recording {
    /// Reads a recording: at most 256 MiB, 8 MiB a line, 200,000 exchanges; `name` is what errors
    /// call it.
    ///
    /// # Errors
    /// [`FileError`] with the line: not JSON, an unknown member, another version.
    pub fn parse(name: &str, text: &str) -> Result<Self, FileError> {
        let file = Place::file(name);
        if text.len() > RECORD_FILE_BYTES {
            let what = format!("{} bytes, at most {RECORD_FILE_BYTES}", text.len());
            return Err(file.refused(what, "split it"));
        }
        let mut lines = text.lines().enumerate().map(|(at, line)| (file.at(at + 1), line));
        let (first, head) = lines.next().unwrap_or((file.at(1), ""));
        check_head(&first, head)?;
        let mut tracks: BTreeMap<Key, Mutex<Track>> = BTreeMap::new();
        for (count, (place, line)) in lines.enumerate() {
            if count >= RECORDED_EXCHANGES {
                let what = format!("more than {RECORDED_EXCHANGES} exchanges");
                return Err(place.refused(what, "split it"));
            }
            if line.len() > RECORD_LINE_BYTES {
                let what = format!("{} bytes, at most {RECORD_LINE_BYTES}", line.len());
                return Err(place.refused(what, "remove the line"));
            }
            let refused = |what: String| place.refused(what, "correct or remove the line");
            let exchange: Exchange =
                serde_json::from_str(line).map_err(|error| refused(reason(&error)))?;
            let key = exchange.key();
            let answer = exchange.response().map_err(refused)?;
            let track = tracks.entry(key).or_default();
            track.get_mut().unwrap_or_else(PoisonError::into_inner).answers.push(answer);
        }
        Ok(Self(tracks))
    }

    /// Different requests that have an answer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no answer at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next answer to a request.
    pub(crate) fn answer(&self, key: &Key) -> Option<Response> {
        let mut track = self.0.get(key)?.lock().unwrap_or_else(PoisonError::into_inner);
        let last = track.answers.len().checked_sub(1)?;
        let at = track.next.min(last);
        track.next = at + 1;
        track.answers.get(at).cloned()
    }
}

fn check_head(place: &Place, line: &str) -> Result<(), FileError> {
    let head: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
    match head.get(VERSION_KEY).and_then(Value::as_u64) {
        Some(VERSION) => Ok(()),
        Some(other) => {
            let what = format!("version {other} of the format, and this program knows {VERSION}");
            Err(place.refused(what, "record it again, or use the program that made it"))
        }
        None => Err(place.refused(
            format!("no recording: the first line is no {{\"{VERSION_KEY}\":{VERSION}}}"),
            "name a file that `proxward mock --record` has made",
        )),
    }
}

/// Without the line that `serde_json` counts within one line.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}
