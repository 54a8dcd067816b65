//! One answer for all that ask the same: open interfaces poll the same lists every few seconds, and
//! each answer costs Proxmox VE as much as the first.
//!
//! Only what browsers' sessions poll is shared, by a table ([`polled`]): a program that has changed
//! something by another way may not be shown what was before, a person does not notice a second.
//! An answer is shared with the same session, and with those whose effective permissions, as
//! Proxmox VE has told each of them within the last seconds, are the same to the letter. Permissions
//! are asked for only while several sessions ask for the same list.
//!
//! What is not a whole 200 is nobody else's. Every write through the gate, and every change of
//! `user.cfg`, ends the sharing of what was asked for before it.

mod flights;
mod polled;

pub(crate) use flights::{Answer, Joined, Question, Sharing, Write};
pub(crate) use polled::{By, polled};
