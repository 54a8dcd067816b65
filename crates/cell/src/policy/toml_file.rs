//! Policies as TOML.

use serde::{Deserialize as _, Deserializer, de::Error as _};

use super::{Policy, PolicyError, Profile};
use crate::layer::Layer;

/// Names of layers that may be missing.
pub(super) fn optional_layers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Layer>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    names.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
}

impl Policy {
    /// Reads a policy. Keys that are not there have the values of the profile it names.
    ///
    /// # Errors
    ///
    /// The line and key of the first thing that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let fault = |error: &toml::de::Error| {
            let line = error.span().map_or(1, |span| {
                1 + text.get(..span.start).unwrap_or_default().matches('\n').count()
            });
            PolicyError::Text(format!("line {line}: {}", error.message().replace('\n', " ")))
        };
        // First as it stands, so that errors name a line of the file.
        let read: Self = toml::from_str(text).map_err(|error| fault(&error))?;
        let own: toml::Table = toml::from_str(text).map_err(|error| fault(&error))?;
        let mut whole = read.profile.table()?;
        merge(&mut whole, own);
        let policy: Self =
            whole.try_into().map_err(|error| PolicyError::Text(format!("{error}")))?;
        policy.check()?;
        Ok(policy)
    }

    /// Reads the policies of the `[cells.NAME]` tables of a file.
    ///
    /// # Errors
    ///
    /// When there are none, and as [`Policy::from_toml`]; a line counts from the table's own first.
    pub fn all_from_toml(text: &str) -> Result<Vec<(String, Self)>, PolicyError> {
        let wrong = |error: String| PolicyError::Text(error.trim().replace('\n', " "));
        let tables: toml::Table = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let cells = tables.get("cells").and_then(toml::Value::as_table);
        let cells = cells.ok_or_else(|| wrong("there is no [cells.NAME] table".to_owned()))?;
        let one = |(name, table): (&String, &toml::Value)| {
            let text = toml::to_string(table).map_err(|error| wrong(error.to_string()))?;
            let read = Self::from_toml(&text);
            let read = read.map_err(|error| wrong(format!("cells.{name}: {error}")))?;
            Ok((name.clone(), read))
        };
        cells.iter().map(one).collect()
    }

    /// Writes what differs from the profile it names, and nothing else.
    #[must_use]
    pub fn to_short_toml(&self) -> String {
        let Ok(mut own) = toml::Table::try_from(self) else { return String::new() };
        let base = self.profile.table().unwrap_or_default();
        own.retain(|key, value| key == "profile" || base.get(key) != Some(value));
        for (key, value) in &mut own {
            if let (Some(value), Some(base)) =
                (value.as_table_mut(), base.get(key).and_then(toml::Value::as_table))
            {
                value.retain(|key, value| base.get(key) != Some(value));
            }
        }
        toml::to_string(&own).unwrap_or_default()
    }

    /// Writes a policy out in full, so that it can be read, compared and kept.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_default()
    }
}

impl Profile {
    fn table(self) -> Result<toml::Table, PolicyError> {
        toml::Table::try_from(self.policy())
            .map_err(|error| PolicyError::Text(format!("profile {}: {error}", self.name())))
    }
}

/// Lays `over` on `base`, table by table.
fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => merge(inner, value),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Bytes;

    #[test]
    fn a_policy_takes_what_it_does_not_say_from_its_profile() {
        let text = "profile = 'build'\nread_only = true\n[limits]\npids = 9\n";
        let policy = Policy::from_toml(text).unwrap();
        assert!(policy.read_only);
        assert_eq!((policy.limits.pids, policy.limits.memory), (9, Bytes(2 << 30)));
    }

    #[test]
    fn a_file_may_hold_several() {
        let text = "[cells.a]\nread_only = true\n[cells.b]\n[cells.b.limits]\npids = 7\n";
        let all = Policy::all_from_toml(text).unwrap();
        assert_eq!(all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(all[0].1.read_only && all[1].1.limits.pids == 7);
        let wrong = Policy::all_from_toml("[cells.a]\nnetwork = 1\n").unwrap_err().to_string();
        assert!(wrong.starts_with("cells.a: line 1"), "{wrong}");
        assert!(Policy::all_from_toml("dir = '/x'\n").is_err());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "connect = ['api.example.org:443', '10.0.0.0/8:53/udp']\npublish = [8080]\n\
            [limits]\ntimeout = '90s'\nmemory = '64M'\n[env]\nA = 'b'\n";
        let policy = Policy::from_toml(text).unwrap();
        assert_eq!(Policy::from_toml(&policy.to_toml()).as_ref(), Ok(&policy));
        assert_eq!(Policy::from_toml(&policy.to_short_toml()).as_ref(), Ok(&policy));
        assert!(!policy.to_short_toml().contains("pids"));
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused_with_their_line() {
        let cases = [
            ("read_only = true\nnetwork = 'all'\n", "line 2"),
            ("[limits]\nmemory = '64 apples'\n", "line 2"),
            ("connect = ['example.org']\n", "line 1"),
            ("allow_degraded = ['seccomp']\n", "line 1"),
        ];
        for (text, line) in cases {
            let error = Policy::from_toml(text).map(|_| ()).unwrap_err().to_string();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }
}
