//! The texts a session is known by: what the browser or the tool holds, and what only looks
//! like it.
//!
//! | text | who holds it | worth |
//! |---|---|---|
//! | 64 hex digits | browser, in the cookie that scripts can not read | the session |
//! | `PVE:USER:TIME::proxward` and 64 hex digits | a tool, as if it were its ticket | the session |
//! | `PVE:USER:TIME::proxward` | scripts of the web interface | nothing |

use std::io;

use aws_lc_rs::digest::{SHA256, digest};
use secrets::{Secret, SecretString};

/// Bytes of a value: 256 random bits as lower-case hexadecimal digits.
const DIGITS: usize = 64;

/// Random digits of a CSRF token.
const CSRF_DIGITS: usize = 32;

/// Begins what stands where a ticket has its signature, with what stands before that. No
/// signature is that short.
const MARK: &[u8] = b"::proxward";

/// What names a session in memory and on disk: SHA-256 of its value, so that neither can be
/// used to take part in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) [u8; 32]);

impl Id {
    /// Hash of any other text that stands for a caller.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut id = [0; 32];
        id.copy_from_slice(digest(&SHA256, text).as_ref());
        Self(id)
    }

    /// Enough of it to tell one from the next.
    pub(crate) fn mark(self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// All of it in hex.
    pub(crate) fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What [`Id::text`] has written.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 32];
        if text.len() != 2 * id.len() {
            return None;
        }
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some(Self(id))
    }

    /// The first half in hex: enough to name a session to a person.
    pub(crate) fn short(self) -> String {
        self.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A session's secret.
#[derive(Clone)]
pub(crate) struct Value(Secret<[u8; DIGITS]>);

impl Value {
    /// A new one, and the CSRF token that goes with it: `TIME:RANDOM`, in the form of PVE's own.
    /// Both of one draw, as the kernel is asked for each.
    ///
    /// # Errors
    /// The kernel gives no random bytes.
    pub(crate) fn draw(now: u64) -> io::Result<(Self, SecretString)> {
        let drawn = secrets::random::digits::<{ DIGITS + CSRF_DIGITS }>()?;
        let (value, csrf) = drawn.expose().split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
        let time = u32::try_from(now).unwrap_or(u32::MAX);
        let mut token = String::with_capacity("00000000:".len() + CSRF_DIGITS);
        for shift in (0..u32::BITS).step_by(4).rev() {
            let digit = char::from_digit(time >> shift & 0xF, 16).unwrap_or_default();
            token.push(digit.to_ascii_uppercase());
        }
        token.push(':');
        token.push_str(std::str::from_utf8(csrf).unwrap_or_default());
        Ok((Self(Secret::new(*value)), SecretString::new(token)))
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let digits: [u8; DIGITS] = text.try_into().ok()?;
        let hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        digits.iter().all(hex).then(|| Self(Secret::new(digits)))
    }

    pub(crate) fn id(&self) -> Id {
        Id::of(self.0.expose())
    }

    /// For the one place it is handed out.
    pub(crate) fn expose(&self) -> &str {
        std::str::from_utf8(self.0.expose()).unwrap_or_default()
    }
}

/// What a text in a ticket's place is.
pub(crate) enum Shape<'t> {
    /// The readable stand-in; no credential.
    Dummy,
    /// A tool's value, and the name written before it.
    Opaque { label: &'t [u8], value: Value },
    /// A ticket of Proxmox VE, or nothing at all: Proxmox VE will say.
    Foreign,
}

/// Tells them apart by the text alone, from its end: a genuine ticket is long.
pub(crate) fn shape(text: &[u8]) -> Shape<'_> {
    if text.ends_with(MARK) {
        return Shape::Dummy;
    }
    let digits = text.len().checked_sub(DIGITS).and_then(|at| text.split_at_checked(at));
    let Some((head, digits)) = digits else { return Shape::Foreign };
    let Some(head) = head.strip_suffix(MARK) else { return Shape::Foreign };
    match (label(head), Value::parse(digits)) {
        (Some(label), Some(value)) => Shape::Opaque { label, value },
        _ => Shape::Foreign,
    }
}

/// The stand-in for a ticket: its readable part, and no signature.
pub(crate) fn dummy(ticket: &str) -> Option<String> {
    Some([head(ticket)?, "::proxward"].concat())
}

/// What a tool gets in place of its ticket.
pub(crate) fn opaque(ticket: &str, value: &Value) -> Option<String> {
    Some([head(ticket)?, "::proxward", value.expose()].concat())
}

/// The name in a ticket, as it is written there.
pub(crate) fn ticket_label(ticket: &str) -> Option<&str> {
    label(head(ticket)?.as_bytes()).and_then(|label| std::str::from_utf8(label).ok())
}

/// When a ticket says that it was issued, in seconds since 1970.
pub(crate) fn ticket_time(ticket: &str) -> Option<u64> {
    let (_, time) = head(ticket)?.rsplit_once(':')?;
    u64::from_str_radix(time, 16).ok().filter(|_| time.len() == 8)
}

/// Whether a text has the form of a ticket that could authenticate.
pub(crate) fn is_ticket(text: &[u8]) -> bool {
    split_last(text)
        .and_then(|(head, _)| label(head))
        .is_some_and(|name| !name.starts_with(b"!tfa!"))
}

/// `PVE:NAME:TIME` without the two ends.
fn label(head: &[u8]) -> Option<&[u8]> {
    let name_and_time = head.strip_prefix(b"PVE:")?;
    let at = name_and_time.iter().rposition(|byte| *byte == b':')?;
    let (name, time) = name_and_time.split_at(at);
    let hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'A'..=b'F');
    let time = time.get(1..)?;
    (!name.is_empty() && time.len() == 8 && time.iter().all(hex)).then_some(name)
}

/// A ticket without its signature.
fn head(ticket: &str) -> Option<&str> {
    split_last(ticket.as_bytes()).and_then(|(head, _)| ticket.get(..head.len()))
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut before = text;
    let at = loop {
        let at = memchr::memrchr(b':', before)?;
        before = text.get(..at)?;
        if before.last() == Some(&b':') {
            break at - 1;
        }
    };
    Some((text.get(..at)?, text.get(at + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> Value {
        Value::draw(0).unwrap().0
    }

    const TICKET: &str = "PVE:a@pve:6B00CE44::OQlwI5I8Mwa1iK==";

    #[test]
    fn stand_ins_keep_the_readable_part() {
        let value = value();
        assert_eq!(dummy(TICKET).unwrap(), "PVE:a@pve:6B00CE44::proxward");
        assert!(matches!(shape(dummy(TICKET).unwrap().as_bytes()), Shape::Dummy));
        let opaque = opaque(TICKET, &value).unwrap();
        let Shape::Opaque { label, value: read } = shape(opaque.as_bytes()) else {
            panic!("{opaque}")
        };
        assert_eq!((label, read.expose()), (b"a@pve".as_slice(), value.expose()));
        assert_eq!(ticket_label(TICKET), Some("a@pve"));
        assert_eq!(ticket_time(TICKET), Some(0x6B00_CE44));
        assert_eq!(ticket_time("PVE:x:zz::"), None);
    }

    #[test]
    fn everything_else_is_foreign() {
        let digits = "a".repeat(64);
        for text in [
            TICKET.to_owned(),
            String::new(),
            "::".into(),
            "PVE:a@pve:6B00CE44::proxwarda".into(),
            format!("PVE:a@pve:6B00CE44::proxward{}", "A".repeat(64)),
            format!("PVE:a@pve::proxward{digits}"),
            format!("PVE::6B00CE44::proxward{digits}"),
            format!("proxward{digits}"),
        ] {
            assert!(matches!(shape(text.as_bytes()), Shape::Foreign), "{text}");
        }
    }

    #[test]
    fn values_are_random_and_their_ids_do_not_tell() {
        let (one, csrf) = Value::draw(0x6B00_CE44).unwrap();
        assert!(csrf.expose().starts_with("6B00CE44:") && csrf.expose().len() == 41);
        assert!(!csrf.expose().contains(&one.expose()[..8]));
        let two = value();
        assert_ne!(one.expose(), two.expose());
        assert!(one.id() != two.id());
        assert!(!one.expose().contains(&one.id().short()));
        assert!(Value::parse(one.expose().as_bytes()).unwrap().id() == one.id());
        assert!(Id::parse(&one.id().text()) == Some(one.id()));
        assert!(Id::parse(&one.id().short()).is_none() && Id::parse(&"é".repeat(32)).is_none());
    }

    #[test]
    fn challenges_are_no_tickets_that_authenticate() {
        assert!(is_ticket(TICKET.as_bytes()));
        assert!(!is_ticket(b"PVE:!tfa!{\"totp\"%3Atrue}:6B00CE44::x"));
        assert!(!is_ticket(b"my::password"));
    }

    proptest! {
        #[test]
        fn any_text_has_a_shape(text in "(PVE:)?[a-z@:]{0,8}(:6B00CE44)?(::)?(proxward)?[0-9a-f]{0,66}") {
            shape(text.as_bytes());
            is_ticket(text.as_bytes());
        }
    }
}
