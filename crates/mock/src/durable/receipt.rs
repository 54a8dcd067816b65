//! What a call waits for before it is answered.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::error::StartError;

/// Why a change was not kept; it is undone. One line for the client and the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotKept(pub(crate) Arc<str>);

impl From<NotKept> for StartError {
    fn from(not_kept: NotKept) -> Self {
        Self::NotKept(not_kept.to_string())
    }
}

pub(crate) type Kept = Result<(), NotKept>;

#[derive(Default)]
struct Slot {
    result: Mutex<Option<Kept>>,
    told: Condvar,
    told_async: Notify,
}

/// The promise of an answer whether the changes are on the disk.
pub(crate) struct Receipt(Arc<Slot>);

/// The other end; dropped without a word it tells that the writer is gone.
pub(super) struct Promise(Arc<Slot>);

pub(super) fn promise() -> (Promise, Receipt) {
    let slot = Arc::new(Slot::default());
    (Promise(Arc::clone(&slot)), Receipt(slot))
}

impl Receipt {
    /// Waits on the runtime.
    pub(crate) async fn wait(self) -> Kept {
        loop {
            if let Some(kept) = self.told() {
                return kept;
            }
            self.0.told_async.notified().await;
        }
    }

    /// Waits on this thread, which must be none of a runtime.
    pub(crate) fn block(self) -> Kept {
        let mut result = self.0.result.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(kept) = result.take() {
                return kept;
            }
            result = self.0.told.wait(result).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn told(&self) -> Option<Kept> {
        self.0.result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Promise {
    pub(super) fn keep(&self, kept: Kept) {
        let mut result = self.0.result.lock().unwrap_or_else(PoisonError::into_inner);
        result.get_or_insert(kept);
        drop(result);
        self.0.told.notify_all();
        self.0.told_async.notify_one();
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(Err(NotKept("the mock's state file is closed".into())));
    }
}
