//! Options of `proxward mock` that make it an instrument: seeds from files, faults, recordings.

use std::path::{Path, PathBuf};

use ::mock::{Config, Faults, Form, Recording, Seed, SeedFile, Steps, Upstream};
use clap::Args;
use pve_client::Endpoint;
use secrets::SecretString;
use tls::Trust;

use crate::exit::{Exit, Stop};
use crate::place::{read_secret, read_text};

/// Largest file of any of these; the mock has its own limits for each.
const FILE_BYTES: u64 = 256 << 20;
/// Largest bundle of authorities.
const AUTHORITY_BYTES: u64 = 1 << 20;

/// What `--seed` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    Empty,
    Small,
    Cluster,
    File(PathBuf),
}

/// For clap: every other word is a file.
pub(crate) fn choice(text: &str) -> Result<Choice, std::convert::Infallible> {
    Ok(match text {
        "empty" => Choice::Empty,
        "small" => Choice::Small,
        "cluster" => Choice::Cluster,
        path => Choice::File(path.into()),
    })
}

#[derive(Debug, Args)]
pub(crate) struct Instruments {
    /// Prints the seed as a file to start from, without secrets, and ends
    #[arg(long)]
    pub(crate) print_seed: bool,
    /// Rules for calls that are slow, fail or break (TOML, JSON or YAML by the file's ending)
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Records exchanges, without secrets, to a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Answers from a recording first
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// Passes requests on to this server, to record its answers
    #[arg(long, value_name = "URL", requires = "record", conflicts_with_all = ["faults", "replay"])]
    pub(crate) upstream: Option<String>,
    /// SHA-256 fingerprint of the certificate shown there
    #[arg(long, value_name = "SHA256", requires = "upstream", conflicts_with = "upstream_ca")]
    pub(crate) upstream_fingerprint: Option<String>,
    /// Authority that signed the certificate shown there (PEM)
    #[arg(long, value_name = "FILE", requires = "upstream")]
    pub(crate) upstream_ca: Option<PathBuf>,
}

impl Instruments {
    /// Reads the files and puts what they hold into the configuration.
    pub(crate) fn fit(&self, config: &mut Config) -> Result<(), Stop> {
        if let Some(path) = &self.faults {
            let text = read_text(path, FILE_BYTES)?;
            let faults = Faults::parse(&path.display().to_string(), &text, Form::of(path));
            config.faults = faults.map_err(Stop::usage)?;
        }
        if let Some(path) = &self.replay {
            let text = read_text(path, FILE_BYTES)?;
            let recording = Recording::parse(&path.display().to_string(), &text);
            config.replay = recording.map_err(Stop::usage)?;
        }
        config.record.clone_from(&self.record);
        config.upstream = self.upstream.as_deref().map(|url| self.upstream(url)).transpose()?;
        Ok(())
    }

    fn upstream(&self, url: &str) -> Result<Upstream, Stop> {
        let endpoint: Endpoint = url.parse().map_err(Stop::usage)?;
        let trust = match (&self.upstream_fingerprint, &self.upstream_ca) {
            (Some(text), _) => Some(Trust::Pin(text.parse().map_err(Stop::usage)?)),
            (None, Some(path)) => {
                Some(Trust::Authority(read_text(path, AUTHORITY_BYTES)?.into_bytes()))
            }
            (None, None) if endpoint.is_plain() => None,
            (None, None) => {
                let text = "--upstream: nobody vouches for the server; add \
                            --upstream-fingerprint or --upstream-ca";
                return Err(Stop::say(Exit::Usage, text));
            }
        };
        Upstream::new(endpoint, trust.as_ref()).map_err(Stop::usage)
    }
}

/// The seed that is chosen, and the calls that fill it when it is a file.
pub(crate) fn seed(choice: &Choice, guests: Option<u32>) -> Result<(Seed, Steps), Stop> {
    let seed = match choice {
        Choice::Empty => Seed::empty(),
        Choice::Small => Seed::small(),
        Choice::Cluster => Seed::cluster(),
        Choice::File(path) if guests.is_some() => {
            let text =
                format!("--guests adds to empty, small or cluster, not to {}", path.display());
            return Err(Stop::say(Exit::Usage, text));
        }
        Choice::File(path) => return from_file(path),
    };
    let count = guests.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    Ok((count.map_or(seed.clone(), |count| seed.with_guests(count)), Steps::default()))
}

fn from_file(path: &Path) -> Result<(Seed, Steps), Stop> {
    if !path.exists() {
        let text =
            format!("--seed {}: no such file; use empty, small, cluster or a file", path.display());
        return Err(Stop::say(Exit::Usage, text));
    }
    let text = read_text(path, FILE_BYTES)?;
    let beside = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut secret = |name: &str| -> Result<SecretString, String> {
        read_secret(&beside.join(name)).map_err(|stop| stop.to_string())
    };
    let name = path.display().to_string();
    let file = SeedFile::parse(&name, &text, Form::of(path), &mut secret).map_err(Stop::usage)?;
    Ok((file.seed, file.steps))
}
