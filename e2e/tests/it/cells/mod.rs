//! Cells against everything that tries to get out of them: the catalogue in `e2e/cells`, in both
//! modes, each attempt with its control outside.

mod attempts;
mod catalogue;
mod lifecycle;
mod limits;
mod missing;
mod network;
mod observe;
mod programs;
mod range;
mod records;
mod visible;
mod warm;
