//! The layers of a cell, by the names that messages, `--allow-degraded` and `doctor` use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! layers {
    ($($variant:ident $name:literal $optional:literal $purpose:literal;)*) => {
        /// One wall of a cell.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Layer {
            $(#[doc = $purpose] $variant,)*
        }

        impl Layer {
            /// All of them, in the order they are built.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is for.
            #[must_use]
            pub fn purpose(self) -> &'static str {
                match self { $(Self::$variant => $purpose,)* }
            }

            /// May `--allow-degraded` name it? The others are never left out.
            #[must_use]
            pub fn may_be_missing(self) -> bool {
                match self { $(Self::$variant => $optional,)* }
            }
        }
    };
}

layers! {
    Plan "plan" false "the policy, and what it names, resolved";
    Identity "identity" false "a user id that no other cell has";
    Launcher "launcher" false "the program that builds the cell";
    MemoryLimit "memory-limit" true "memory ends this command and nothing else";
    ProcessLimit "process-limit" true "processes and threads are counted";
    CpuLimit "cpu-limit" true "processor time is shared out";
    Namespaces "namespaces" false "own processes, mounts, network, IPC, host name, control groups";
    Mounts "mounts" false "a root of its own that holds one directory and the command";
    IdMap "id-map" true "files belong to the directory's owner outside and to the cell inside";
    Proc "proc" true "the command's own entry in /proc";
    Scratch "scratch" false "a temporary file system with a size";
    Loopback "loopback" true "127.0.0.1 and ::1 of the cell's own";
    Limits "limits" false "descriptors, file sizes, no core dumps";
    Privileges "privileges" false "no capability, no group, no way to gain either";
    Landlock "landlock" true "a second wall around files, by the kernel's own rules";
    Seccomp "seccomp" false "an allow-list of system calls";
    Canary "canary" false "attempts that must fail, made from inside";
    Exec "exec" false "the one start of the command";
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a layer, or of one that is never left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerError {
    /// No layer has this name.
    #[error("{0:?} is no layer; 'proxward cell doctor' lists them")]
    Unknown(String),
    /// A cell without it would be none.
    #[error("the layer {0} can not be left out: a cell without it confines nothing")]
    Required(Layer),
}

impl FromStr for Layer {
    type Err = LayerError;

    /// A layer that may be missing, by name.
    fn from_str(text: &str) -> Result<Self, LayerError> {
        let found = Self::ALL.iter().find(|layer| layer.name() == text);
        match found {
            None => Err(LayerError::Unknown(text.chars().take(40).collect())),
            Some(layer) if layer.may_be_missing() => Ok(*layer),
            Some(layer) => Err(LayerError::Required(*layer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_serde_and_only_optional_ones_are_accepted() {
        for layer in Layer::ALL {
            assert_eq!(serde_json::to_value(layer).unwrap(), layer.name());
            assert_eq!(layer.name().parse::<Layer>().is_ok(), layer.may_be_missing());
        }
        assert!(matches!("nothing".parse::<Layer>(), Err(LayerError::Unknown(_))));
    }
}
