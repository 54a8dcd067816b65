//! Secrets as the state file holds them: in clear, in a file that only its owner may read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrets::{SecretBytes, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A secret text on its way to or from the state file. Nothing else serialises one.
#[derive(Debug, Clone)]
pub(crate) struct KeptText(pub(crate) SecretString);

/// Secret bytes on the same way, as base64.
#[derive(Debug, Clone)]
pub(crate) struct KeptBytes(pub(crate) SecretBytes);

impl Serialize for KeptText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for KeptText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(SecretString::new(text)))
    }
}

impl Serialize for KeptBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text = SecretString::new(STANDARD.encode(self.0.expose()));
        to.serialize_str(text.expose())
    }
}

impl<'de> Deserialize<'de> for KeptBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = SecretString::new(String::deserialize(from)?);
        let bytes = STANDARD.decode(text.expose());
        // The cause would repeat a byte of the secret.
        bytes.map(|bytes| Self(SecretBytes::new(bytes))).map_err(|_| D::Error::custom("no base64"))
    }
}

/// A word of a closed list. By this name serde does not take it for a part of its input.
pub(crate) type Word = &'static str;

/// Reads a word of a closed list, so that it can stay a `&'static str`.
pub(super) fn word_of<'de, D: Deserializer<'de>>(
    from: D,
    words: &'static [&'static str],
) -> Result<&'static str, D::Error> {
    let given = String::deserialize(from)?;
    let known = words.iter().copied().find(|word| *word == given);
    known.ok_or_else(|| D::Error::custom(format!("unknown word {given:?}")))
}
