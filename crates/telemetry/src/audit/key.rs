//! The key of a chain: with it the hash of a record is HMAC-SHA-256 (RFC 2104).

use std::fmt;

use sha2::{Digest, Sha256};

/// Block size of SHA-256 in bytes.
const BLOCK: usize = 64;

/// Fewest bytes of a key; less can be guessed.
pub const KEY_BYTES: usize = 16;

/// What a chain is keyed with: who does not have it can neither write a record that verifies nor
/// a whole new chain.
#[derive(Clone)]
pub struct Key {
    /// The states after the padded key, so that no record pays for them again.
    inner: Sha256,
    outer: Sha256,
}

/// The key is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit key: {found} bytes, expected at least {KEY_BYTES} random ones")]
pub struct KeyError {
    /// Bytes found.
    pub found: usize,
}

impl Key {
    /// A key of any length from [`KEY_BYTES`] up.
    ///
    /// # Errors
    /// [`KeyError`] for a shorter one.
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() < KEY_BYTES {
            return Err(KeyError { found: bytes.len() });
        }
        let hashed: [u8; 32];
        let short = if bytes.len() > BLOCK {
            hashed = Sha256::digest(bytes).into();
            &hashed[..]
        } else {
            bytes
        };
        let padded = |with: u8| {
            let mut state = Sha256::new();
            let rest = std::iter::repeat_n(&0, BLOCK.saturating_sub(short.len()));
            let block: Vec<u8> = short.iter().chain(rest).map(|byte| byte ^ with).collect();
            state.update(&block);
            state
        };
        Ok(Self { inner: padded(0x36), outer: padded(0x5c) })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// SHA-256 of the parts, or their HMAC under the key.
pub(super) fn digest(key: Option<&Key>, parts: &[&[u8]]) -> [u8; 32] {
    let mut inner = key.map_or_else(Sha256::new, |key| key.inner.clone());
    parts.iter().for_each(|part| inner.update(part));
    let Some(key) = key else {
        return inner.finalize().into();
    };
    let mut outer = key.outer.clone();
    outer.update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_cases_of_rfc_4231() {
        // cases 1 and 6: a short key, and one longer than a block
        let short = Key::new(&[0x0b; 20]).unwrap();
        assert_eq!(
            hex(&digest(Some(&short), &[b"Hi ", b"There"])),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        let long = Key::new(&[0xaa; 131]).unwrap();
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            hex(&digest(Some(&long), &[text])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert_eq!(Key::new(b"short").unwrap_err(), KeyError { found: 5 });
    }
}
