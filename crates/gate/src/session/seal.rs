//! Sessions at rest: AES-256-GCM-SIV with a key that lies in a file of its own, so that the
//! state file alone gives nobody a ticket. The mode bears a repeated nonce; each record is
//! bound to its id, so that none can take another's place.

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrets::private_file::{self, FileError};
use secrets::{SecretBytes, random};
use thiserror::Error;

use super::value::Id;

/// The key's file: 64 hexadecimal digits and a line end.
const KEY_FILE_BYTES: usize = 66;

/// First byte of a sealed record.
const VERSION: u8 = 1;

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file is not private, or can not be read or made.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds something else.
    #[error(
        "{0}: expected 64 hexadecimal digits; remove the file to have a new key made (everybody logs in again)"
    )]
    Content(String),
    /// The kernel gives no random bytes.
    #[error("no random bytes for the key of the sessions: {0}")]
    Random(#[from] std::io::Error),
    /// The library refused.
    #[error("the key of the sessions can not be used")]
    Library,
}

/// Seals and opens.
pub(crate) struct Sealer(RandomizedNonceKey);

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer")
    }
}

impl Sealer {
    /// With the key in `path`; made there when `create` says so and there is none.
    pub(crate) fn load(path: &Path, create: bool) -> Result<Self, KeyError> {
        let text = match private_file::read(path, KEY_FILE_BYTES) {
            Err(FileError::Missing { .. }) if create => {
                let halves = [random::hex()?, random::hex()?];
                let mut text = Vec::with_capacity(KEY_FILE_BYTES);
                for half in &halves {
                    text.extend_from_slice(half.expose().as_bytes());
                }
                text.push(b'\n');
                let text = SecretBytes::new(text);
                private_file::write(path, text.expose())?;
                text
            }
            read => read?,
        };
        let key = unhex(text.expose().trim_ascii_end())
            .ok_or_else(|| KeyError::Content(path.display().to_string()))?;
        Self::new(&key)
    }

    fn new(key: &SecretBytes) -> Result<Self, KeyError> {
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, key.expose());
        key.map(Self).map_err(|_| KeyError::Library)
    }

    /// None when the library refuses, which it has no reason to.
    pub(crate) fn seal(&self, id: &Id, mut record: Vec<u8>) -> Option<Vec<u8>> {
        let nonce = self.0.seal_in_place_append_tag(Aad::from(id.0), &mut record).ok()?;
        Some([&[VERSION], nonce.as_ref().as_slice(), &record].concat())
    }

    /// None when it was sealed with another key or for another id, or was changed.
    pub(crate) fn open(&self, id: &Id, sealed: &[u8]) -> Option<SecretBytes> {
        let (nonce, record) = sealed.strip_prefix(&[VERSION])?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut record = record.to_vec();
        let length = self.0.open_in_place(nonce, Aad::from(id.0), &mut record).ok()?.len();
        record.truncate(length);
        Some(SecretBytes::new(record))
    }
}

fn unhex(digits: &[u8]) -> Option<SecretBytes> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 64)?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..64).step_by(2).map(byte).collect();
    bytes.map(SecretBytes::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_with_its_key_and_id_only() {
        let sealer = Sealer::new(&SecretBytes::new(vec![7; 32])).unwrap();
        let (id, other) = (Id([1; 32]), Id([2; 32]));
        let sealed = sealer.seal(&id, b"PVE:root@pam:canary".to_vec()).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        assert_eq!(sealer.open(&id, &sealed).unwrap().expose(), b"PVE:root@pam:canary");
        assert!(sealer.open(&other, &sealed).is_none());
        let stranger = Sealer::new(&SecretBytes::new(vec![8; 32])).unwrap();
        assert!(stranger.open(&id, &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer.open(&id, &changed).is_none(), "{at}");
        }
        assert!(sealer.open(&id, &[]).is_none());
    }

    #[test]
    fn the_key_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("session.key");
        assert!(matches!(Sealer::load(&path, false), Err(KeyError::File(_))));
        let sealed = Sealer::load(&path, true).unwrap().seal(&Id([1; 32]), vec![1]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Sealer::load(&path, true).unwrap().open(&Id([1; 32]), &sealed).is_some());
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(Sealer::load(&path, true), Err(KeyError::Content(_))));
    }
}
