//! The audit log: who did what, in a file that shows when it was tampered with.
//!
//! # Format
//!
//! One JSON object a line, UTF-8, ended by a line feed, at most
//! [`AUDIT_LINE`](crate::limits::AUDIT_LINE) bytes:
//!
//! ```json
//! {"seq":1,"time":"2026-07-01T12:00:00.000Z","kind":"session.opened","user":"root@pam","prev":"0000…","hash":"9f2c…"}
//! ```
//!
//! * `seq` is first and counts from 1 without gaps; `time` is RFC 3339, UTC, milliseconds;
//!   `kind` says what happened; the fields of that kind follow, sorted by name.
//! * `prev` is the last but one member: the `hash` of the record before, 64 lower-case hexadecimal
//!   characters; 64 zeros in the first record.
//! * `hash` is the last member: the SHA-256 of the line's bytes with the hash member taken out,
//!   that is, with its last 75 bytes `,"hash":"…"}` replaced by `}`, and without the line feed.
//!   Because `prev` is part of these bytes, every record vouches for all before it.
//!
//! To check one record without this program:
//!
//! ```sh
//! sed -n 7p audit.jsonl | sed -E 's/,"hash":"[0-9a-f]{64}"\}$/}/' | tr -d '\n' | sha256sum
//! ```
//!
//! # What it proves
//!
//! [`verify`] finds a changed, removed, moved or repeated record and a missing head. The chain
//! holds no key: who may write the file can write a whole new chain, or cut off its tail. Both
//! show against a [`Head`] that was remembered elsewhere ([`Expected::head`]).
//!
//! With a [`Key`] ([`Log::open_keyed`]) the hash is HMAC-SHA-256 over the same bytes: a new chain
//! needs the key then. A cut tail still shows only against a remembered head.
//!
//! # Rotation
//!
//! Rename the file and call [`Log::reopen`]: the new file begins with a `log.continued` record
//! whose `prev` is the last hash of the old one. The files in order are one chain again (`cat`),
//! or each is verified by itself with [`Expected::after`].
//!
//! # Secrets
//!
//! Fields pass `secrets::mask` before they are hashed and written.

mod event;
mod file;
mod key;
mod record;
mod verify;
mod writer;

pub use event::Event;
pub use key::{KEY_BYTES, Key, KeyError};
pub use record::{Hash, HashError, Head};
pub use verify::{Expected, Reason, Verdict, verify, verify_keyed};
pub use writer::{AuditError, Log, SyncPolicy};
