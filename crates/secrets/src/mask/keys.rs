//! The names whose values are secret.

use super::limits::KEY_MAX_BYTES;

/// How the value behind a name is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All of it.
    Whole,
    /// All but who and when: `PVE:user@realm:TIME::`.
    Ticket,
    /// All but whose: `user@realm!id=`.
    Token,
    /// All but the scheme and who.
    Authorization,
    /// The value of each cookie.
    Cookies,
    /// The value of the cookie, not its attributes.
    SetCookie,
    /// As `Whole`, when it looks like base64: `Basic` is a word of prose too.
    Basic,
}

/// How much of a name must be in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The end: `password` also stands for `smtp-password` and `PROXWARD_PASSWORD`.
    End,
    /// All of it.
    All,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Lower case, without `-` and `_`.
    name: &'static str,
    part: Part,
    kind: Kind,
    /// Whether a blank alone may stand before the value: `PVEAuthCookie PVE:…`.
    blank: bool,
}

const fn end(name: &'static str, kind: Kind) -> Row {
    Row { name, part: Part::End, kind, blank: false }
}

const fn all(name: &'static str, kind: Kind) -> Row {
    Row { name, part: Part::All, kind, blank: false }
}

const fn blank(row: Row) -> Row {
    Row { blank: true, ..row }
}

/// The first row that fits decides.
static ROWS: &[Row] = &[
    // headers
    end("authorization", Kind::Authorization),
    end("setcookie", Kind::SetCookie),
    // PVEAuthCookie, PMGAuthCookie, __Host-PBSAuthCookie, PDMAuthCookie; also in prose
    blank(end("authcookie", Kind::Ticket)),
    end("cookie", Kind::Cookies),
    all("cookies", Kind::Whole),
    // PVEAPIToken=user@realm!id=SECRET
    blank(end("apitoken", Kind::Token)),
    blank(end("csrfpreventiontoken", Kind::Whole)),
    end("csrf", Kind::Whole),
    blank(all("bearer", Kind::Token)),
    blank(all("basic", Kind::Basic)),
    // tickets: ticket, vncticket, tfa-challenge (a ticket too)
    end("ticket", Kind::Ticket),
    end("tfachallenge", Kind::Ticket),
    // tokens: of InfluxDB, Gotify, NetBox, access_token, id_token, refresh_token
    end("token", Kind::Token),
    all("jwt", Kind::Whole),
    // passwords
    end("password", Kind::Whole),
    end("passwords", Kind::Whole),
    end("passwd", Kind::Whole),
    end("passphrase", Kind::Whole),
    end("passcode", Kind::Whole),
    end("pass", Kind::Whole),
    end("pwd", Kind::Whole),
    // bindpw, rootpw
    end("pw", Kind::Whole),
    end("psk", Kind::Whole),
    // second factor: otp, totp (a code, or the otpauth URI at enrolment), their seeds
    end("otp", Kind::Whole),
    end("otpcode", Kind::Whole),
    end("recoverykey", Kind::Whole),
    end("recoverykeys", Kind::Whole),
    end("secret", Kind::Whole),
    end("secrets", Kind::Whole),
    end("credential", Kind::Whole),
    end("credentials", Kind::Whole),
    // keys; a plain `key` is too many other things (sendkey, subscription)
    end("apikey", Kind::Whole),
    end("accesskey", Kind::Whole),
    end("secretkey", Kind::Whole),
    end("privatekey", Kind::Whole),
    end("signingkey", Kind::Whole),
    end("encryptionkey", Kind::Whole),
    end("clientkey", Kind::Whole),
    end("hmackey", Kind::Whole),
    end("authkey", Kind::Whole),
    end("certkey", Kind::Whole),
    end("keyring", Kind::Whole),
];

/// Query parameters that are secret in a URL, where their names have one meaning only:
/// OpenID Connect puts these on the redirect.
const URL_ONLY: &[&str] = &["code", "state", "nonce", "sig", "signature", "key"];

/// The rows by the last letter of their names, a bit for each: most words end here.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the bounds")]
static ROWS_BY_LAST: [u64; 26] = {
    assert!(ROWS.len() <= 64);
    let mut rows_by_last = [0; 26];
    let mut row = 0;
    while row < ROWS.len() {
        let name = ROWS[row].name.as_bytes();
        rows_by_last[(name[name.len() - 1] - b'a') as usize] |= 1 << row;
        row += 1;
    }
    rows_by_last
};

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kind: Kind,
    /// Whether a blank alone may stand before the value.
    pub(super) blank: bool,
}

/// Looks a name up: any case, with or without `-`, `_` and a number at the
/// end; of a dotted name, the last part.
pub(super) fn find(name: &[u8]) -> Option<Key> {
    // password2, secret_, x-token-1
    let letter = name.iter().rposition(u8::is_ascii_alphabetic)?;
    let mut rows = rows_ending_in(*name.get(letter)?);
    if rows == 0 {
        return None;
    }
    let name = Folded::new(name.get(..=letter)?);
    // lowest bit first: the order of the table
    while rows != 0 {
        let row = ROWS.get(usize::try_from(rows.trailing_zeros()).ok()?)?;
        let fits = match row.part {
            Part::End => name.bytes().ends_with(row.name.as_bytes()),
            Part::All => name.is(row.name),
        };
        if fits {
            return Some(Key { kind: row.kind, blank: row.blank });
        }
        rows &= rows - 1;
    }
    None
}

/// The same for a query parameter of a URL.
pub(super) fn find_in_url(name: &[u8]) -> Option<Key> {
    let folded = Folded::new(name);
    let url_only = URL_ONLY.iter().any(|known| folded.is(known));
    find(name).or_else(|| url_only.then_some(Key { kind: Kind::Whole, blank: false }))
}

fn rows_ending_in(letter: u8) -> u64 {
    let index = letter.to_ascii_lowercase().wrapping_sub(b'a');
    ROWS_BY_LAST.get(usize::from(index)).copied().unwrap_or(0)
}

/// The end of a name in lower case without `-` and `_`, in a fixed buffer: this runs for
/// every word of every log line.
struct Folded {
    buffer: [u8; KEY_MAX_BYTES],
    start: usize,
    cut: bool,
}

impl Folded {
    fn new(name: &[u8]) -> Self {
        let last = name.rsplit(|&b| b == b'.').next().unwrap_or_default();
        let mut folded = Self { buffer: [0; KEY_MAX_BYTES], start: KEY_MAX_BYTES, cut: false };
        for byte in last.iter().rev().filter(|&&b| b != b'-' && b != b'_') {
            let next = folded.start.checked_sub(1);
            match next.and_then(|at| folded.buffer.get_mut(at).map(|slot| (at, slot))) {
                Some((at, slot)) => {
                    *slot = byte.to_ascii_lowercase();
                    folded.start = at;
                }
                None => {
                    folded.cut = true;
                    break;
                }
            }
        }
        folded
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        !self.cut && self.bytes() == name.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_decides_for_some_name() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(row.name.len() <= KEY_MAX_BYTES, "{}", row.name);
            let shadow = ROWS.iter().take(index).find(|earlier| match earlier.part {
                Part::End => row.name.ends_with(earlier.name),
                Part::All => row.name == earlier.name && row.part == Part::All,
            });
            assert!(
                shadow.is_none_or(|s| s.kind != row.kind || s.blank != row.blank),
                "{} is dead behind {}",
                row.name,
                shadow.map_or("", |s| s.name)
            );
            assert!(shadow.is_none(), "{} never decides", row.name);
        }
    }

    #[test]
    fn spelling_does_not_matter_and_other_words_are_free() {
        for name in [
            "password",
            "PASSWORD",
            "smtp-password",
            "PROXWARD_PASSWORD",
            "newPassword",
            "a.b.password",
            "crypt_pass",
            "tfa-challenge",
            "X-Api-Key",
            "eab-hmac-key",
            "__Host-PBSAuthCookie",
            "CSRFPreventionToken",
            "vncticket",
            "--otp",
            "password2",
            "token_",
            "secret-01",
        ] {
            assert!(find(name.as_bytes()).is_some(), "{name}");
        }
        for name in [
            "",
            "user",
            "tokenid",
            "token-name",
            "passes",
            "ticket-info",
            "key",
            "keys",
            "sshkeys",
            "realm",
            "code",
            "recovery",
            "mybasic",
        ] {
            assert!(find(name.as_bytes()).is_none(), "{name}");
        }
        assert!(find_in_url(b"code").is_some() && find_in_url(b"node").is_none());
        let long = format!("{}password", "x".repeat(1000));
        assert!(find(long.as_bytes()).is_some());
    }
}
