//! Files of the interface that were compressed before: see `compression`.

use http::{Method, StatusCode};

use super::Asked;
use crate::body::AnswerBody;
use crate::compression::{Assets, Keep, Look, asset};
use crate::head::Answer;
use crate::link::LinkBody;
use crate::route::Route;
use crate::upstream::Outbound;

/// What is known of what is asked for.
pub(super) enum File<'a> {
    /// It is no file, or none are kept.
    No,
    /// The answer.
    Here(Box<Answer<AnswerBody>>),
    /// Upstream has to be asked. `known`: only whether it has changed.
    Asked { assets: &'a Assets, path: &'a str, asked: std::time::Duration, known: bool },
}

impl<'a> File<'a> {
    /// Looks; a file that has to be confirmed is asked for by its date.
    pub(super) fn look(asked: &'a Asked<'_>, outbound: &mut Outbound<'_>) -> Self {
        let shared = &asked.peer.worker.shared;
        let (Some(assets), Route::Page(path)) = (&shared.assets, asked.route) else {
            return Self::No;
        };
        if asked.parts.method != Method::GET || !asset(path) {
            return Self::No;
        }
        let now = shared.clock.monotonic();
        match assets.look(path, &asked.parts.headers, now) {
            Look::Fresh(answer) => Self::Here(Box::new(answer)),
            Look::Stale(modified) => {
                outbound.lines.set("If-Modified-Since", modified.as_bytes());
                Self::Asked { assets, path, asked: now, known: true }
            }
            Look::Absent => Self::Asked { assets, path, asked: now, known: false },
        }
    }

    /// The file, when upstream says that it has not changed.
    pub(super) fn confirmed(
        &self,
        asked: &Asked<'_>,
        answer: &Answer<LinkBody>,
    ) -> Option<Answer<AnswerBody>> {
        match self {
            Self::Asked { assets, path, asked: when, known: true }
                if answer.head.status == StatusCode::NOT_MODIFIED =>
            {
                assets.unchanged(path, &asked.parts.headers, *when)
            }
            _ => None,
        }
    }

    /// Where the answer is kept once it has gone out.
    pub(super) fn keep(&self) -> Option<Keep> {
        match self {
            Self::Asked { assets, path, asked, .. } => assets.keep(path, *asked),
            Self::No | Self::Here(_) => None,
        }
    }
}
