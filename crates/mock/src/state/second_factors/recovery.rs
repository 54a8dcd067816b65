//! Recovery keys: ten texts, each good for one login, shown once when they are made.

use aws_lc_rs::rand;
use secrets::SecretString;
use serde::{Deserialize, Serialize};

use super::FactorError;
use crate::limits::RECOVERY_KEYS;
use crate::state::kept_secret::KeptText;

/// Random bytes of one key.
const KEY_BYTES: usize = 8;

/// One set of keys; a used one leaves its number behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecoveryKeys {
    keys: Vec<Option<KeptText>>,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

impl RecoveryKeys {
    /// A new set with the texts for the user.
    pub(crate) fn generate(now: u64) -> Result<(Self, Vec<String>), FactorError> {
        let mut bytes = [0; RECOVERY_KEYS * KEY_BYTES];
        rand::fill(&mut bytes).map_err(|_| FactorError::Randomness)?;
        let texts: Vec<String> = bytes.chunks_exact(KEY_BYTES).map(written).collect();
        let keys =
            texts.iter().map(|text| Some(KeptText(SecretString::from(text.as_str())))).collect();
        Ok((Self { keys, created: now }, texts))
    }

    /// The numbers of the keys that are left.
    pub(crate) fn available(&self) -> Vec<usize> {
        let numbered = self.keys.iter().enumerate();
        numbered.filter_map(|(number, key)| key.as_ref().map(|_| number)).collect()
    }

    /// Whether `key` is one of the keys that are left; it is none from now on.
    pub(crate) fn use_up(&mut self, key: &str) -> bool {
        let left = self.keys.iter_mut();
        let mut same = left.filter(|one| one.as_ref().is_some_and(|one| one.0.same_as(key)));
        same.next().and_then(Option::take).is_some()
    }
}

/// `xxxx-xxxx-xxxx-xxxx`
fn written(key: &[u8]) -> String {
    let groups = key.chunks(2).map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect());
    groups.collect::<Vec<String>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_genuine_form_and_are_not_equal() {
        let (_, texts) = RecoveryKeys::generate(0).unwrap();
        assert_eq!(texts.len(), 10);
        for text in &texts {
            let groups: Vec<&str> = text.split('-').collect();
            let hex = |group: &&str| group.len() == 4 && u16::from_str_radix(group, 16).is_ok();
            assert!(groups.len() == 4 && groups.iter().all(hex), "{text}");
            assert_eq!(texts.iter().filter(|other| *other == text).count(), 1);
        }
    }

    #[test]
    fn a_key_is_good_once_and_its_number_goes() {
        let (mut keys, texts) = RecoveryKeys::generate(0).unwrap();
        assert!(!keys.use_up("") && !keys.use_up("0000-0000-0000-000"));
        assert!(keys.use_up(&texts[3]) && !keys.use_up(&texts[3]));
        assert_eq!(keys.available(), [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    }
}
