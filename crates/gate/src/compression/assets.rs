//! Files of the interface, compressed once.
//!
//! Proxmox VE answers them without a credential, so everybody gets the same. A file is kept by its
//! path alone: what stands in a query is the client's to choose, and must not fill memory. It is
//! believed for [`ASSETS_FOR`]; after that Proxmox VE is asked whether it has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, DATE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use http::{HeaderValue, StatusCode};

use super::Coding;
use crate::body::AnswerBody;
use crate::head::{Answer, Fields};
use crate::limits::{ASSET_BYTES, ASSET_PATH, ASSETS_BYTES, ASSETS_FOR, ASSETS_KEPT};
use crate::metrics::Metrics;
use crate::reason::Phrase;

/// What all workers keep.
#[derive(Clone)]
pub(crate) struct Assets {
    kept: Arc<Mutex<Kept>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Kept {
    by_path: HashMap<(Box<str>, Coding), Entry>,
    bytes: usize,
    /// Counts look-ups, to tell which was used longest ago.
    turn: u64,
}

struct Entry {
    asset: Arc<Asset>,
    /// On the monotonic clock.
    until: Duration,
    used: u64,
}

/// One file in one coding.
struct Asset {
    headers: Fields,
    modified: HeaderValue,
    tag: HeaderValue,
    body: Bytes,
}

/// What there is of a file.
pub(crate) enum Look {
    /// The answer.
    Fresh(Answer<AnswerBody>),
    /// It has to be asked whether the file has changed since then.
    Stale(HeaderValue),
    Absent,
}

/// Where a file will be kept, once it is known what of it comes.
pub(crate) struct Keep {
    assets: Assets,
    path: Box<str>,
    /// When it was asked for, on the monotonic clock.
    asked: Duration,
}

/// A file that is being compressed.
pub(crate) struct Keeping {
    keep: Keep,
    coding: Coding,
    headers: Fields,
    modified: HeaderValue,
    body: Vec<u8>,
    too_large: bool,
}

impl Assets {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { kept: Arc::default(), metrics }
    }

    /// Looks for a file; `headers` are the request's, `now` is on the monotonic clock.
    pub(crate) fn look(&self, path: &str, headers: &Fields, now: Duration) -> Look {
        let Some(coding) = Coding::wanted(headers) else { return Look::Absent };
        let mut kept = self.kept();
        kept.turn += 1;
        let turn = kept.turn;
        let Some(entry) = kept.by_path.get_mut(&(Box::from(path), coding)) else {
            return Look::Absent;
        };
        entry.used = turn;
        if entry.until <= now {
            return Look::Stale(entry.asset.modified.clone());
        }
        let asset = Arc::clone(&entry.asset);
        drop(kept);
        self.metrics.cache("assets", "hit");
        Look::Fresh(asset.answer(headers))
    }

    /// Upstream says that the file has not changed; `asked` is when it was asked.
    pub(crate) fn unchanged(
        &self,
        path: &str,
        headers: &Fields,
        asked: Duration,
    ) -> Option<Answer<AnswerBody>> {
        let coding = Coding::wanted(headers)?;
        let mut kept = self.kept();
        let entry = kept.by_path.get_mut(&(Box::from(path), coding))?;
        entry.until = asked + ASSETS_FOR;
        let asset = Arc::clone(&entry.asset);
        drop(kept);
        self.metrics.cache("assets", "confirmed");
        Some(asset.answer(headers))
    }

    /// A place for a file that was asked for at `asked`.
    pub(crate) fn keep(&self, path: &str, asked: Duration) -> Option<Keep> {
        (path.len() <= ASSET_PATH).then(|| Keep { assets: self.clone(), path: path.into(), asked })
    }

    fn insert(&self, path: Box<str>, coding: Coding, asset: Asset, until: Duration) {
        let mut kept = self.kept();
        let (mut bytes, turn) = (kept.bytes + asset.body.len(), kept.turn);
        let entry = Entry { asset: Arc::new(asset), until, used: turn };
        if let Some(old) = kept.by_path.insert((path, coding), entry) {
            bytes -= old.asset.body.len();
        }
        while bytes > ASSETS_BYTES || kept.by_path.len() > ASSETS_KEPT {
            let oldest = kept.by_path.iter().min_by_key(|(_, entry)| entry.used);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some(old) = kept.by_path.remove(&oldest) {
                bytes -= old.asset.body.len();
            }
            self.metrics.limit("assets");
        }
        kept.bytes = bytes;
        self.metrics.cache("assets", "kept");
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asset {
    /// The file, or that the client has it (RFC 9110 §13.2.2).
    fn answer(&self, request: &Fields) -> Answer<AnswerBody> {
        let unchanged = match request.get(IF_NONE_MATCH) {
            Some(tags) => self.is_tagged(tags),
            None => request.get(IF_MODIFIED_SINCE) == Some(&self.modified),
        };
        let body = if unchanged { Bytes::new() } else { self.body.clone() };
        let mut answer = Answer::new(AnswerBody::full(body));
        answer.head.headers = self.headers.clone();
        if unchanged {
            answer.head.status = StatusCode::NOT_MODIFIED;
            // As pveproxy writes it.
            answer.head.phrase = Some(Phrase::fixed(b"NOT MODIFIED"));
            answer.head.headers.remove(&CONTENT_LENGTH);
        }
        answer
    }

    fn is_tagged(&self, tags: &HeaderValue) -> bool {
        let tags = tags.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag) == self.tag.as_bytes();
        tags.into_iter().any(|tag| tag == b"*" || strong(tag))
    }
}

impl Keep {
    /// What is kept is the answer as it goes out, with these headers.
    pub(crate) fn begin(self, coding: Coding, headers: &Fields) -> Option<Keeping> {
        let modified = headers.get(LAST_MODIFIED)?.clone();
        let mut headers = headers.clone();
        headers.remove(&DATE);
        Some(Keeping { keep: self, coding, headers, modified, body: Vec::new(), too_large: false })
    }
}

impl Keeping {
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.too_large |= self.body.len() + piece.len() > ASSET_BYTES;
        if self.too_large {
            self.body = Vec::new();
        } else {
            self.body.extend_from_slice(piece);
        }
    }

    /// The whole has been seen.
    pub(crate) fn end(self) {
        let Self { keep, coding, mut headers, modified, body, too_large } = self;
        if too_large {
            keep.assets.metrics.limit("asset");
            return;
        }
        let hash = digest(&SHA256, &body);
        let tag: String = hash.as_ref().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
        let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) else { return };
        headers.insert(ETAG, tag.clone());
        headers.insert(CONTENT_LENGTH, body.len().into());
        let asset = Asset { headers, modified, tag, body: Bytes::from(body) };
        keep.assets.insert(keep.path, coding, asset, keep.asked + ASSETS_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::{Assets, Coding, Look};
    use crate::head::Fields;
    use crate::limits::{ASSET_BYTES, ASSETS_BYTES, ASSETS_FOR, ASSETS_KEPT};
    use crate::metrics::Metrics;
    use http::header::{ACCEPT_ENCODING, LAST_MODIFIED};
    use std::time::Duration;
    use telemetry::metrics::Registry;

    fn assets() -> Assets {
        Assets::new(Metrics::register(&Registry::new()).unwrap())
    }

    fn accepting() -> Fields {
        let mut headers = Fields::default();
        headers.insert(ACCEPT_ENCODING, "zstd".parse().unwrap());
        headers
    }

    fn keep(assets: &Assets, path: &str, bytes: usize, asked: Duration) {
        let mut headers = Fields::default();
        headers.insert(LAST_MODIFIED, "yesterday".parse().unwrap());
        let keep = assets.keep(path, asked).unwrap();
        let mut keeping = keep.begin(Coding::Zstd, &headers).unwrap();
        keeping.push(&vec![b'x'; bytes]);
        keeping.end();
    }

    #[test]
    fn a_file_is_believed_for_a_while_and_longer_when_confirmed() {
        let (assets, headers) = (assets(), accepting());
        let asked = Duration::from_secs(100);
        keep(&assets, "/a", 10, asked);
        let fresh = |now| matches!(assets.look("/a", &headers, now), Look::Fresh(_));
        let until = asked + ASSETS_FOR;
        assert!(fresh(until - Duration::from_millis(1)));
        assert!(
            matches!(assets.look("/a", &headers, until), Look::Stale(date) if date == "yesterday")
        );
        assert!(assets.unchanged("/a", &headers, until).is_some());
        assert!(fresh(until + ASSETS_FOR / 2));
        assert!(matches!(assets.look("/b", &headers, asked), Look::Absent));
        assert!(matches!(assets.look("/a", &Fields::default(), asked), Look::Absent));
    }

    #[test]
    fn what_is_kept_stays_within_its_bounds() {
        let (assets, headers) = (assets(), accepting());
        for number in 0..6 {
            keep(&assets, &format!("/{number}"), ASSET_BYTES, Duration::ZERO);
            // The first is used all the time.
            assert!(matches!(assets.look("/0", &headers, Duration::ZERO), Look::Fresh(_)));
        }
        assert_eq!(assets.kept().bytes, ASSETS_BYTES);
        assert!(matches!(assets.look("/1", &headers, Duration::ZERO), Look::Absent));
        keep(&assets, "/large", ASSET_BYTES + 1, Duration::ZERO);
        assert!(matches!(assets.look("/large", &headers, Duration::ZERO), Look::Absent));
        for number in 0..ASSETS_KEPT * 2 {
            keep(&assets, &format!("/small/{number}"), 1, Duration::ZERO);
        }
        let kept = assets.kept();
        assert!(kept.by_path.len() <= ASSETS_KEPT);
        let sum: usize = kept.by_path.values().map(|entry| entry.asset.body.len()).sum();
        assert_eq!(kept.bytes, sum);
        assert!(assets.keep(&"x".repeat(1000), Duration::ZERO).is_none());
    }
}
