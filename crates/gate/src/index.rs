//! Pages into which Proxmox VE writes a CSRF token: the interface's index, its consoles, the
//! API's pages for people. A session's pages get the session's own token instead, since no
//! other is taken.

/// Characters of the MAC in a token: HMAC-SHA256 in base64 without padding.
const MAC: usize = 43;

/// Characters of the time before it.
const TIME: usize = 8;

/// The page with `own` in the place of every token.
pub(crate) fn with_own_token(page: &[u8], own: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(page.len() + 16);
    let mut rest = page;
    while let Some(at) = rest.iter().position(|byte| *byte == b':') {
        let token = at.checked_sub(TIME).filter(|start| is_token(rest, *start));
        let (copied, skipped) = match token {
            Some(start) => (start, at + 1 + MAC),
            None => (at + 1, at + 1),
        };
        out.extend_from_slice(rest.get(..copied).unwrap_or_default());
        if token.is_some() {
            out.extend_from_slice(own.as_bytes());
        }
        rest = rest.get(skipped..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// Whether a whole token, and no part of something longer, begins at `start`.
fn is_token(text: &[u8], start: usize) -> bool {
    let part = |from: usize, length: usize| text.get(from..from + length).unwrap_or_default();
    let time = part(start, TIME);
    let mac = part(start + TIME + 1, MAC);
    let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let longer = start
        .checked_sub(1)
        .and_then(|before| text.get(before))
        .is_some_and(u8::is_ascii_alphanumeric)
        || text.get(start + TIME + 1 + MAC).is_some_and(|after| base64(after) || *after == b'=');
    time.len() == TIME
        && time.iter().all(hex)
        && mac.len() == MAC
        && mac.iter().all(base64)
        && !longer
}

#[cfg(test)]
mod tests {
    use super::with_own_token;
    use proptest::prelude::*;

    const TOKEN: &str = "6B00CE46:X9QWCK7VU8UUrK1c2M4ywi1vqHfjQOP0n/7QiT7e+rE";

    fn changed(page: &str) -> String {
        String::from_utf8(with_own_token(page.as_bytes(), "OWN")).unwrap()
    }

    #[test]
    fn tokens_and_nothing_else() {
        assert_eq!(changed(&format!("a: '{TOKEN}',b:{TOKEN}")), "a: 'OWN',b:OWN");
        assert_eq!(changed(TOKEN), "OWN");
        for page in [
            "",
            ":",
            "UPID:pve1:000F4240:00112233:6B00CE46:vzdump::root@pam:",
            &format!("A{TOKEN}"),
            &format!("{TOKEN}="),
            &format!("{TOKEN}a"),
            &TOKEN.to_lowercase(),
            &TOKEN[..51],
        ] {
            assert_eq!(changed(page), page);
        }
    }

    proptest! {
        #[test]
        fn what_is_no_token_stays(page in "[0-9A-F:+/a]{0,120}") {
            let out = changed(&page);
            if !out.contains("OWN") {
                prop_assert_eq!(out, page);
            }
        }
    }
}
