//! Who is calling? User, token and realm names of Proxmox VE, peers of a unix socket.
//!
//! Every decision about rights starts with a name, and names arrive as text: in tickets,
//! API tokens, URLs, `user.cfg`. Here that text becomes a type once, by PVE's own rules
//! (`PVE::Auth::Plugin`, `PVE::AccessControl`), so that nothing behind this crate splits
//! at `@` or `!` again and no two places disagree about where a realm begins.
//!
//! A local caller has no PVE name; the kernel says who opened a unix socket, see [`peer`].
//!
//! What a caller may do is not decided here, and being parsed does not mean being known:
//! a [`UserId`] is well formed, nothing more.

mod name;
mod principal;

pub mod peer;

pub use name::{
    NameError, REALM_MAX_CHARS, Realm, TokenId, USER_MAX_CHARS, USER_MIN_CHARS, UserId,
};
pub use principal::Principal;
