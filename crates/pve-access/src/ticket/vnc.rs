//! Tickets for consoles.
//!
//! They name no user: user, path and port are additional data, so the ticket opens only the
//! console it was issued for.

use pve_formats::user_cfg::normalize_path;
use secrets::SecretString;

use super::TicketError;
use super::sealed::{open, seal};
use crate::limits::VNC_TICKET_AGE;
use crate::{SigningKey, TicketKeys};

const PREFIX: &str = "PVEVNC";

/// Length of the password that newer answers put before the ticket, `PASSWORD:PVEVNC:…`.
const PASSWORD_CHARS: usize = 8;

/// Issues a ticket for the console of `path` (as `/vms/100`) and, if given, on `port` only.
pub fn issue_vnc(
    key: &SigningKey,
    user: &str,
    path: &str,
    port: Option<u16>,
    now: u64,
) -> Result<SecretString, TicketError> {
    let aad = additional_data(user, path, port).ok_or(TicketError::Unissuable)?;
    seal(key, PREFIX, None, Some(&aad), now)
}

/// Verifies a ticket for the console, with or without the password before it, and returns its
/// age in seconds. `user` is a user or token as in the request that asked for the ticket.
pub fn verify_vnc(
    keys: &impl TicketKeys,
    text: &str,
    user: &str,
    path: &str,
    port: Option<u16>,
    now: u64,
) -> Result<i64, TicketError> {
    let aad = additional_data(user, path, port).ok_or(TicketError::Purpose)?;
    let verified = open(keys, PREFIX, without_password(text), Some(&aad), &VNC_TICKET_AGE, now)?;
    // No console ticket has a payload; one that had would have been made for something else.
    if verified.payload.is_empty() { Ok(verified.age) } else { Err(TicketError::Purpose) }
}

fn additional_data(user: &str, path: &str, port: Option<u16>) -> Option<String> {
    let path = normalize_path(path)?;
    Some(match port {
        Some(port) => format!("{user}:{path}:{port}"),
        None => format!("{user}:{path}"),
    })
}

/// `s/^.{8}://`
fn without_password(text: &str) -> &str {
    let (at, _) = text.char_indices().nth(PASSWORD_CHARS).unwrap_or_default();
    match text.split_at_checked(at) {
        Some((password, rest)) if !password.contains('\n') => {
            rest.strip_prefix(':').unwrap_or(text)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::Keyring;

    const NOW: u64 = 1_795_215_443;

    static RING: LazyLock<Keyring> =
        LazyLock::new(|| Keyring::new(SigningKey::generate().unwrap(), Vec::new()).unwrap());

    fn ticket(path: &str, port: Option<u16>) -> String {
        issue_vnc(RING.signing(), "a@pve", path, port, NOW).unwrap().expose().clone()
    }

    #[test]
    fn user_path_and_port_must_match() {
        let text = ticket("/vms//100/", Some(5900));
        let verify = |user, path, port| verify_vnc(&RING, &text, user, path, port, NOW);
        assert_eq!(verify("a@pve", "/vms/100", Some(5900)), Ok(0));
        let refused = Err(TicketError::Signature);
        assert_eq!(verify("b@pve", "/vms/100", Some(5900)), refused);
        assert_eq!(verify("a@pve", "/vms/101", Some(5900)), refused);
        assert_eq!(verify("a@pve", "/vms/100", Some(5901)), refused);
        assert_eq!(verify("a@pve", "/vms/100", None), refused);
        assert_eq!(verify("a@pve", "", Some(5900)), Err(TicketError::Purpose));
    }

    #[test]
    fn a_password_may_precede_the_ticket() {
        let text = ticket("/vms/100", None);
        let verify = |text: &str| verify_vnc(&RING, text, "a@pve", "/vms/100", None, NOW);
        assert_eq!(verify(&format!("s3:ré+7:{text}")), Err(TicketError::Malformed));
        assert_eq!(verify(&format!("s3:ré+78:{text}")), Ok(0));
        assert_eq!(verify(&text), Ok(0));
    }

    #[test]
    fn life_is_short() {
        let text = ticket("/vms/100", None);
        let at = |now| verify_vnc(&RING, &text, "a@pve", "/vms/100", None, now);
        assert_eq!(at(NOW + 39), Ok(39));
        assert_eq!(at(NOW + 40), Err(TicketError::Expired(40)));
        assert_eq!(at(NOW - 19), Ok(-19));
        assert_eq!(at(NOW - 20), Err(TicketError::Future(-20)));
    }

    #[test]
    fn an_authentication_ticket_is_no_console_ticket() {
        let login = super::super::issue(RING.signing(), "a@pve", None, NOW).unwrap();
        let refused = verify_vnc(&RING, login.expose(), "a@pve", "/vms/100", None, NOW);
        assert_eq!(refused, Err(TicketError::Malformed));
    }
}
