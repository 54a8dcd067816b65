//! Settings of `/etc/default/pveproxy` as keys of `[gate]`.
//!
//! Each becomes the value of a key that is not set elsewhere, and is then checked like any other;
//! its place stays the line of that file. What stock would take and the gate does not is said by
//! name: nothing is dropped in silence, and nothing is weaker than it would be without the file.

use netpolicy::AddressSet;
use pve_formats::proxy_defaults::{Assignment, ProxyDefaults, SETTINGS};

/// The port stock always listens on.
const PORT: u16 = 8006;

/// What the file says about the gate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FromDefaults {
    /// Values for keys that are not set elsewhere.
    pub values: Vec<DefaultValue>,
    /// What is taken otherwise than stock takes it, or not at all.
    pub warnings: Vec<DefaultNote>,
}

/// A value for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultValue {
    /// The full key: `gate.allow_from`.
    pub key: &'static str,
    /// The value, as a variable of the environment would give it.
    pub value: String,
    /// The line of the file it comes from, counted from 1.
    pub line: usize,
}

/// Something about one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct DefaultNote {
    /// The line of the file, counted from 1.
    pub line: usize,
    /// The setting it names.
    pub name: String,
    /// What is to be known.
    pub what: String,
}

/// What becomes of a setting.
#[derive(Clone, Copy)]
enum Means {
    /// The value is the key's, as it is.
    Text(&'static str),
    /// A list in stock's dialect, written in standard spellings.
    Addresses(&'static str),
    /// One of these words.
    Word(&'static str, &'static [&'static str]),
    /// 1 or 0, and what each is for the key; None: nothing to set.
    Flag(&'static str, [Option<&'static str>; 2]),
    /// A number from 1 to the largest that stock takes.
    Count(&'static str, usize),
    /// An address to listen on, at stock's port.
    Listen(&'static str),
    /// Has no meaning here, for this reason.
    Nothing(&'static str),
    /// Judged together with another setting.
    Proxies,
}

/// One row for each of [`SETTINGS`].
const ROWS: [(&str, Means); SETTINGS.len()] = [
    ("ALLOW_FROM", Means::Addresses("gate.allow_from")),
    ("DENY_FROM", Means::Addresses("gate.deny_from")),
    ("POLICY", Means::Word("gate.address_policy", &["allow", "deny"])),
    ("LISTEN_IP", Means::Listen("gate.listen")),
    ("CIPHERS", Means::Text("gate.tls.ciphers")),
    ("CIPHERSUITES", Means::Text("gate.tls.ciphersuites")),
    (
        "DHPARAMS",
        Means::Nothing("has no meaning here: keys are agreed on elliptic curves and ML-KEM alone"),
    ),
    ("HONOR_CIPHER_ORDER", Means::Flag("gate.tls.server_order", [Some("true"), Some("false")])),
    ("COMPRESSION", Means::Flag("gate.compression", [None, Some("false")])),
    ("DISABLE_TLS_1_2", Means::Flag("gate.tls.min", [Some("1.3"), None])),
    ("DISABLE_TLS_1_3", Means::Flag("gate.tls.max", [Some("1.2"), None])),
    ("TLS_KEY_FILE", Means::Text("gate.key")),
    ("MAX_WORKERS", Means::Count("gate.workers", 127)),
    ("PROXY_REAL_IP_HEADER", Means::Proxies),
    ("PROXY_REAL_IP_ALLOW_FROM", Means::Proxies),
];

impl FromDefaults {
    /// Translates a file that was read.
    ///
    /// # Errors
    /// The first value that stock would refuse too.
    pub fn new(file: &ProxyDefaults) -> Result<Self, DefaultNote> {
        let mut read = Self::default();
        for (name, means) in &ROWS {
            if let Some(setting) = file.get(name) {
                read.take(setting, *means)?;
            }
        }
        read.take_proxies(file)?;
        for other in file.assignments().filter(|other| !is_known(&other.name)) {
            read.warn(other, "is no setting of pveproxy; is it misspelt?");
        }
        Ok(read)
    }

    fn take(&mut self, setting: &Assignment, means: Means) -> Result<(), DefaultNote> {
        let text = setting.value.as_str();
        match means {
            Means::Text(key) => self.set(setting, key, text),
            Means::Addresses(key) => {
                let addresses = addresses(setting)?;
                self.set(setting, key, &addresses.to_string());
            }
            Means::Word(key, words) if words.contains(&text) => self.set(setting, key, text),
            Means::Word(_, words) => {
                return Err(note(setting, &format!("{text:?}; write {}", words.join(" or "))));
            }
            Means::Flag(key, [on, off]) => {
                let value = match text {
                    "1" => on,
                    "0" => off,
                    _ => return Err(note(setting, &format!("{text:?}; write 1 or 0"))),
                };
                if let Some(value) = value {
                    self.set(setting, key, value);
                }
            }
            Means::Count(key, most) => {
                if !text.parse().is_ok_and(|count| (1..=most).contains(&count)) {
                    return Err(note(
                        setting,
                        &format!("{text:?}; write a number from 1 to {most}"),
                    ));
                }
                self.set(setting, key, text);
            }
            Means::Listen(key) => {
                let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                let address: std::net::IpAddr = bare.unwrap_or(text).parse().map_err(|_| {
                    note(
                        setting,
                        &format!("{text:?} is no address; write 192.0.2.10 or 2001:db8::1"),
                    )
                })?;
                let listen = std::net::SocketAddr::new(address, PORT);
                self.set(setting, key, &listen.to_string());
            }
            Means::Nothing(why) => self.warn(setting, why),
            Means::Proxies => {}
        }
        Ok(())
    }

    /// Stock believes anybody when no proxy is named, and judges and bans by other addresses than
    /// it logs. Here what is believed also decides who is admitted and banned.
    fn take_proxies(&mut self, file: &ProxyDefaults) -> Result<(), DefaultNote> {
        let header = file.get("PROXY_REAL_IP_HEADER");
        let proxies = file.get("PROXY_REAL_IP_ALLOW_FROM");
        let proxies = proxies.map(|setting| Ok((setting, addresses(setting)?))).transpose()?;
        match (header, proxies) {
            (Some(header), Some((setting, proxies))) if proxies != AddressSet::all() => {
                self.set(header, "gate.real_ip_header", &header.value);
                self.set(setting, "gate.trusted_proxies", &proxies.to_string());
            }
            (Some(header), _) => self.warn(
                header,
                "not believed of everybody: any client could take the address of another; \
                 name the proxies in PROXY_REAL_IP_ALLOW_FROM",
            ),
            (None, Some((setting, _))) => {
                self.warn(setting, "has no effect without PROXY_REAL_IP_HEADER, as in stock");
            }
            (None, None) => {}
        }
        Ok(())
    }

    fn set(&mut self, setting: &Assignment, key: &'static str, value: &str) {
        self.values.push(DefaultValue { key, value: value.to_owned(), line: setting.line });
    }

    fn warn(&mut self, setting: &Assignment, what: &str) {
        self.warnings.push(note(setting, what));
    }
}

fn note(setting: &Assignment, what: &str) -> DefaultNote {
    DefaultNote { line: setting.line, name: setting.name.clone(), what: what.to_owned() }
}

fn addresses(setting: &Assignment) -> Result<AddressSet, DefaultNote> {
    setting.value.parse().map_err(|error: netpolicy::SetError| note(setting, &error.to_string()))
}

fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<FromDefaults, DefaultNote> {
        FromDefaults::new(&ProxyDefaults::parse(text.as_bytes()).unwrap())
    }

    fn values(text: &str) -> Vec<(&'static str, String, usize)> {
        let read = read(text).unwrap();
        assert_eq!(read.warnings, [], "{text}");
        read.values.into_iter().map(|v| (v.key, v.value, v.line)).collect()
    }

    fn warning(text: &str) -> String {
        let read = read(text).unwrap();
        assert_eq!((read.values.len(), read.warnings.len()), (0, 1), "{read:?}");
        read.warnings[0].to_string()
    }

    #[test]
    fn every_setting_has_its_row() {
        assert_eq!(ROWS.map(|(name, _)| name), SETTINGS.map(|(name, _)| name));
    }

    #[test]
    fn settings_become_keys() {
        let text = "ALLOW_FROM=\"10/8, 192.168.0.1-192.168.0.9\"\nDENY_FROM=all\nPOLICY=deny\n\
            LISTEN_IP=2001:db8::1\nCOMPRESSION=0\nTLS_KEY_FILE=/secrets/key\nMAX_WORKERS=5\n\
            CIPHERS=HIGH\nCIPHERSUITES=TLS_AES_128_GCM_SHA256\nDISABLE_TLS_1_2=1\nDISABLE_TLS_1_3=0\n\
            HONOR_CIPHER_ORDER=0\n";
        let expected = [
            ("gate.allow_from", "10.0.0.0/8,192.168.0.1-192.168.0.9", 1),
            ("gate.deny_from", "all", 2),
            ("gate.address_policy", "deny", 3),
            ("gate.listen", "[2001:db8::1]:8006", 4),
            ("gate.tls.ciphers", "HIGH", 8),
            ("gate.tls.ciphersuites", "TLS_AES_128_GCM_SHA256", 9),
            ("gate.tls.server_order", "false", 12),
            ("gate.compression", "false", 5),
            ("gate.tls.min", "1.3", 10),
            ("gate.key", "/secrets/key", 6),
            ("gate.workers", "5", 7),
        ];
        let expected = expected.map(|(key, value, line)| (key, value.to_owned(), line));
        assert_eq!(values(text), expected);
        assert_eq!(values("LISTEN_IP=[::1]"), [("gate.listen", "[::1]:8006".to_owned(), 1)]);
        assert_eq!(values("COMPRESSION=1\nPOLICY=\n"), []);
    }

    #[test]
    fn a_header_is_believed_of_named_proxies_only() {
        let both = "PROXY_REAL_IP_HEADER=X-Real-IP\nPROXY_REAL_IP_ALLOW_FROM=10.0.0.1\n";
        let expected =
            [("gate.real_ip_header", "X-Real-IP", 1), ("gate.trusted_proxies", "10.0.0.1", 2)];
        let expected = expected.map(|(key, value, line)| (key, value.to_owned(), line));
        assert_eq!(values(both), expected);
        for anybody in [
            "PROXY_REAL_IP_HEADER=X-Real-IP",
            "PROXY_REAL_IP_HEADER=X-Real-IP\nPROXY_REAL_IP_ALLOW_FROM=all",
        ] {
            assert!(warning(anybody).starts_with("PROXY_REAL_IP_HEADER: not believed"));
        }
        assert!(warning("PROXY_REAL_IP_ALLOW_FROM=10.0.0.1").contains("no effect"));
    }

    #[test]
    fn what_is_not_taken_is_named() {
        assert!(warning("DHPARAMS=/etc/dh.pem").starts_with("DHPARAMS: has no meaning here"));
        assert!(warning("ALOW_FROM=10.0.0.1").starts_with("ALOW_FROM: is no setting"));
    }

    #[test]
    fn what_stock_refuses_is_refused_with_its_line() {
        for line in [
            "ALLOW_FROM=10.0.0.1/8",
            "ALLOW_FROM=10.0.0.1,,10.0.0.2",
            "DENY_FROM=example.com",
            "POLICY=maybe",
            "LISTEN_IP=eth0",
            "COMPRESSION=yes",
            "MAX_WORKERS=0",
            "MAX_WORKERS=128",
            "PROXY_REAL_IP_ALLOW_FROM=x",
        ] {
            let fault = read(&format!("# one\n{line}\n")).unwrap_err();
            assert_eq!(fault.line, 2, "{line}");
            assert!(line.starts_with(&fault.name), "{fault}");
        }
    }
}
