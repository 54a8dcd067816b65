//! The few idle connections kept for the next call.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::connection::Connection;
use crate::limits::{IDLE_MAX, IDLE_TIMEOUT};

#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Connection>>);

impl Pool {
    /// The connection used last, if it is young enough and still open.
    pub(crate) async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.pop()?;
            if connection.is_usable().await {
                return Some(connection);
            }
        }
    }

    pub(crate) fn put(&self, mut connection: Connection) {
        connection.idle_since = Instant::now();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == IDLE_MAX {
            idle.remove(0);
        }
        idle.push(connection);
    }

    fn pop(&self) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.idle_since.elapsed() < IDLE_TIMEOUT);
        idle.pop()
    }
}
