//! Which PVE is meant.

use std::fmt;

/// A major release, as far as access rules differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Release {
    /// 8.4: `VM.Monitor`, no guest agent or replication privileges.
    V8,
    /// 9.x.
    #[default]
    V9,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V8 => "8",
            Self::V9 => "9",
        })
    }
}
