//! A file, watched: each change of its content is an answer.
//!
//! Where the kernel tells of changes the file is read when it does; elsewhere (pmxcfs is a filesystem
//! of a program) again and again.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use broker_api::{Code, Refusal};
use rustix::fs::inotify::{ReadFlags, Reader};
use serde_json::{Map, Value, json};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep, timeout};

use super::routes::call;
use crate::limits::{WATCH_PAUSE, WATCH_SETTLE};
use crate::serve::{Emitter, Gone, Shared, watch};
use crate::worker::WorkerKind;

/// Answers each change until the time is over.
pub(super) async fn stream(
    emitter: &mut Emitter<'_>,
    params: &Map<String, Value>,
) -> Result<Result<Value, Refusal>, Gone> {
    let shared = emitter.shared();
    let wait = params.get("wait_ms").and_then(Value::as_u64).unwrap_or(30_000);
    let until = Instant::now() + Duration::from_millis(wait);
    let mut asked = params.clone();
    asked.remove("wait_ms");
    // Before the first look: what changes after that is told.
    let directory = Directory::of(shared, &asked).await;
    let mut before: Option<Value> = None;
    let mut changes = 0_u64;
    loop {
        let found = match call(shared, WorkerKind::Files, "file.read", &asked).await {
            Ok(found) => found,
            Err(refusal) if refusal.code == Code::NotFound => json!({"sha256": "absent"}),
            Err(refusal) => return Ok(Err(refusal)),
        };
        if before.as_ref().is_some_and(|before| before.get("sha256") != found.get("sha256")) {
            changes += 1;
            emitter.more(&found).await?;
        }
        before = Some(found);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Ok(json!({"changes": changes})));
        }
        match &directory {
            Some(directory) => {
                let changed = timeout(left.min(WATCH_PAUSE.1), directory.changed());
                emitter.wait(async { drop(changed.await) }).await?;
            }
            None => emitter.wait(sleep(left.min(WATCH_PAUSE.0))).await?,
        }
    }
}

/// A file's directory, watched by the kernel.
struct Directory {
    watch: AsyncFd<OwnedFd>,
    name: String,
}

impl Directory {
    /// `None` where the kernel does not tell of changes, or all its watches are taken.
    async fn of(shared: &Shared, asked: &Map<String, Value>) -> Option<Self> {
        let within = shared.config().settings.limits.handler();
        let opened = shared.links().call(WorkerKind::Files, "files.notify", asked, within).await;
        let opened = opened.ok()?;
        let name = opened.value.get("name")?.as_str()?.to_owned();
        Some(Self { watch: watch(opened.descriptor?, Interest::READABLE).ok()?, name })
    }

    /// Returns when the file, or the directory itself, has changed.
    async fn changed(&self) {
        loop {
            let Ok(mut guard) = self.watch.readable().await else { return };
            // Many at once are one, whoever's they are.
            sleep(WATCH_SETTLE).await;
            guard.clear_ready();
            if self.concerned() {
                return;
            }
        }
    }

    /// Reads what was told.
    fn concerned(&self) -> bool {
        const BUFFER: usize = 4096;
        const EVENTS: usize = 16_384;
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut events = Reader::new(&self.watch, &mut buffer);
        let mut concerned = false;
        for _ in 0..EVENTS {
            let Ok(event) = events.next() else { break };
            let own = event.file_name().is_none_or(|name| name.to_bytes() == self.name.as_bytes());
            concerned |= own || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
        }
        concerned
    }
}
