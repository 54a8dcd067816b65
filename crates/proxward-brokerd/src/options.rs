//! The command line. Six options: a parser of its own keeps the program small.

use std::path::PathBuf;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
The broker: least-privilege host operations on a unix socket

Usage: proxward-brokerd [OPTIONS]

Options:
      --config FILE        configuration instead of /etc/proxward/proxward.toml
      --pulse-config FILE  pulse-sensor-proxy's configuration (YAML), and its variables
      --socket PATH        socket instead of the configured one
      --forced-command     answers another node's broker; for command= in authorized_keys
      --check              checks the configuration and ends
      --log LEVEL          error, warn, info, debug or trace [default: info]
  -h, --help               prints this
  -V, --version            prints the version

SIGHUP reads the configuration again; the old one stays when the new one is wrong.

Example:
  proxward-brokerd --config /etc/proxward/proxward.toml

Exit codes: 0 done, 2 usage or configuration, 3 permission, 4 did not start or ended by itself";

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) config: Option<PathBuf>,
    pub(crate) pulse_config: Option<PathBuf>,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) check: bool,
    pub(crate) log: String,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Help,
    Version,
    Run(Options),
}

/// Reads the words behind the program's name.
pub(crate) fn parse(words: &[String]) -> Result<Parsed, String> {
    let mut options = Options {
        config: None,
        pulse_config: None,
        socket: None,
        check: false,
        log: "info".to_owned(),
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, given) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        match flag {
            "-h" | "--help" => return Ok(Parsed::Help),
            "-V" | "--version" => return Ok(Parsed::Version),
            "--check" => {
                options.check = true;
                continue;
            }
            _ => {}
        }
        let known = ["--config", "--pulse-config", "--socket", "--log"].contains(&flag);
        if !known {
            return Err(format!("unknown option {flag:?}"));
        }
        let value = given.or_else(|| words.next().cloned());
        let value = value.ok_or_else(|| format!("{flag} needs a value"))?;
        match flag {
            "--config" => options.config = Some(value.into()),
            "--pulse-config" => options.pulse_config = Some(value.into()),
            "--socket" => options.socket = Some(value.into()),
            _ => options.log = value,
        }
    }
    if options.config.is_some() && options.pulse_config.is_some() {
        return Err("--config and --pulse-config exclude each other".to_owned());
    }
    Ok(Parsed::Run(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Parsed, String> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_mean_what_help_says() {
        let Ok(Parsed::Run(options)) = parsed(&["--config=a", "--socket", "/s", "--check"]) else {
            panic!("runs")
        };
        assert_eq!((options.config, options.socket), (Some("a".into()), Some("/s".into())));
        assert!(options.check);
        assert_eq!(parsed(&["-h", "--bad"]), Ok(Parsed::Help));
        assert!(parsed(&["--bad"]).unwrap_err().contains("--bad"));
        assert!(parsed(&["--log"]).unwrap_err().contains("needs a value"));
        assert!(parsed(&["--config", "a", "--pulse-config", "b"]).is_err());
        for flag in ["--config", "--pulse-config", "--socket", "--check", "--log"] {
            assert!(HELP.contains(flag));
        }
    }
}
