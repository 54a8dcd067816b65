//! What there was before, written before anything is changed.

use serde::{Deserialize, Serialize};

use super::{InstallError, JOURNAL, Place, files};

/// How far it has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Installing,
    Installed,
    Removing,
}

/// The journal's one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    pub(super) phase: Phase,
    /// Whether pveproxy had a file of defaults; its bytes are in the saved copy.
    pub(super) had_defaults: bool,
    /// Whether the configuration is of our making.
    pub(super) made_config: bool,
}

impl Journal {
    /// None when nothing was begun.
    pub(super) fn read(place: &Place) -> Result<Option<Self>, InstallError> {
        let path = place.at(JOURNAL);
        let Some(bytes) = files::read(&path)? else { return Ok(None) };
        let wrong = |error: serde_json::Error| InstallError::Journal {
            path: path.clone(),
            what: error.to_string(),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(wrong)
    }

    /// On the disk when this returns.
    pub(super) fn write(&self, place: &Place) -> Result<(), InstallError> {
        // A struct of three plain members has no way not to be written.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        files::write(&place.at(JOURNAL), &bytes)
    }

    pub(super) fn end(place: &Place) -> Result<(), InstallError> {
        files::remove(&place.at(JOURNAL))
    }
}
