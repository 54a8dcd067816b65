//! The streams of one HTTP/2 connection: tasks that end with it.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// hyper's executor for one connection. Dropping the last clone ends every stream; their
/// number is bounded by the connection's own limit on streams.
#[derive(Clone, Default)]
pub(crate) struct StreamTasks(Rc<RefCell<JoinSet<()>>>);

impl StreamTasks {
    /// Forgets the streams that have ended, and wakes the caller when another does.
    pub(crate) fn reap(&self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.0.borrow_mut().poll_join_next(cx) {}
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        self.0.borrow_mut().spawn_local(stream);
    }
}
