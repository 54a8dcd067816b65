//! The steps, there and back.

use std::thread::sleep;
use std::time::Instant;

use secrets::private_file::Readers;
use serde_json::Value;
use tls::{Identity, Trust};

use super::journal::{Journal, Phase};
use super::{
    ANSWER_PAUSE, ANSWER_TIME, CONFIG, DEFAULTS, InstallError, Place, SAVED, STATE, UNITS,
    defaults, files,
};
use crate::certificates::TlsFiles;
use crate::control::{self, Request, call};
use crate::destination::{Destination, probe};

const SERVICE: &str = "proxward-gate.service";
const ACCOUNT: (&str, &str) = (
    "etc/sysusers.d/proxward-gate.conf",
    include_str!("../../../../packaging/sysusers/proxward-gate.conf"),
);
/// Asks for a successor when the gate wishes for one.
const WISH: &str = "proxward-gate-successor.path";
/// Units, and whether they are there without the word for the way back.
const FILES: [(&str, &str, bool); 5] = [
    (SERVICE, include_str!("../../../../packaging/systemd/proxward-gate.service"), true),
    (WISH, include_str!("../../../../packaging/systemd/proxward-gate-successor.path"), true),
    (
        "proxward-gate-successor.service",
        include_str!("../../../../packaging/systemd/proxward-gate-successor.service"),
        true,
    ),
    (
        "proxward-gate-fallback.service",
        include_str!("../../../../packaging/systemd/proxward-gate-fallback.service"),
        false,
    ),
    (
        "proxward-gate.service.d/fallback.conf",
        "[Unit]\nOnFailure=proxward-gate-fallback.service\n",
        false,
    ),
];
/// Where a node has its certificates.
const CERTIFICATES: &str = "etc/pve/local";
/// The one that each node has.
const NODE: &str = "etc/pve/local/pve-ssl.pem";
/// What the gate needs on a node: whatever certificate pveproxy shows, read as pveproxy reads it
/// and expected of it, so that a renewed one needs nobody. Paths as they are when the root is `/`.
const CONFIG_TEXT: &str = r#"# Written by `proxward gate install`; yours from here on.
[gate]
# Every address of this host but loopback, where pveproxy stays.
listen = ["auto:8006"]
upstream = "https://127.0.0.1:8006"
# pveproxy shows the certificate that the gate shows, also after that was renewed.
upstream_fingerprint = "shown"
daemon = "127.0.0.1:85"
# As pveproxy chooses it: pveproxy-ssl.pem (custom, ACME), else pve-ssl.pem.
certificate = "pve"
certificate_directory = "/etc/pve/local"
state = "/var/lib/proxward/gate"
pveproxy_defaults = "/etc/proxward/pveproxy.saved"
"#;

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// It was so already.
    Already,
}

/// What `install` does, a line a step, in its order.
#[must_use]
pub fn plan(place: &Place) -> Vec<String> {
    let at = |path: &str| place.at(path).display().to_string();
    let units = FILES.iter().filter(|(_, _, always)| *always || place.fallback);
    let mut steps = vec![
        format!("save {} as {}", at(DEFAULTS), at(SAVED)),
        format!("write {}; systemd-sysusers makes the account", at(ACCOUNT.0)),
        format!("write {} unless it is there", at(CONFIG)),
    ];
    steps.extend(units.map(|(name, ..)| format!("write {}/{name}", at(UNITS))));
    steps.extend([
        format!("set LISTEN_IP=\"127.0.0.1\" in {}", at(DEFAULTS)),
        "systemctl daemon-reload; restart pveproxy; enable and start the gate".to_owned(),
        "wait until the gate answers on 8006, or undo all of it".to_owned(),
    ]);
    steps
}

/// Puts the gate in front, and returns when it answers.
///
/// # Errors
/// [`InstallError`]; everything is as it was before, unless that says otherwise.
pub fn install(place: &Place) -> Result<Outcome, InstallError> {
    let journal = match Journal::read(place)? {
        Some(Journal { phase: Phase::Removing, .. }) => {
            remove(place)?;
            begin(place)?
        }
        Some(journal) => journal,
        None => begin(place)?,
    };
    let already = journal.phase == Phase::Installed;
    match put_in_front(place, &journal) {
        Ok(()) => {
            Journal { phase: Phase::Installed, ..journal }.write(place)?;
            Ok(if already { Outcome::Already } else { Outcome::Done })
        }
        // One that worked once is not taken away for a moment's trouble.
        Err(error) if already => Err(error),
        Err(cause) => Err(match remove(place) {
            Ok(_) => cause,
            Err(undo) => InstallError::Undo { cause: Box::new(cause), undo: Box::new(undo) },
        }),
    }
}

/// Takes the gate away and gives pveproxy its defaults back, to the byte.
///
/// # Errors
/// [`InstallError`]; the next call goes on.
pub fn remove(place: &Place) -> Result<Outcome, InstallError> {
    let Some(journal) = Journal::read(place)? else { return Ok(Outcome::Already) };
    Journal { phase: Phase::Removing, ..journal.clone() }.write(place)?;
    let unit = place.at(UNITS).join(SERVICE);
    if unit.exists() {
        place.command("systemctl", &["disable", "--now", WISH, SERVICE])?;
    }
    restore(place, &journal)?;
    for (name, ..) in FILES {
        files::remove(&place.at(UNITS).join(name))?;
    }
    let _ = std::fs::remove_dir(place.at(UNITS).join("proxward-gate.service.d"));
    place.command("systemctl", &["daemon-reload"])?;
    place.command("systemctl", &["restart", "pveproxy.service"])?;
    files::remove(&place.at(ACCOUNT.0))?;
    if journal.made_config
        && files::read(&place.at(CONFIG))?.as_deref() == Some(CONFIG_TEXT.as_bytes())
    {
        files::remove(&place.at(CONFIG))?;
    }
    // The saved copy goes after the journal does: without a journal it means nothing.
    Journal::end(place)?;
    files::remove(&place.at(SAVED))?;
    Ok(Outcome::Done)
}

/// What there is now is what comes back.
fn begin(place: &Place) -> Result<Journal, InstallError> {
    if !place.at(NODE).exists() {
        return Err(InstallError::NoNode(place.at(NODE)));
    }
    let before = files::read(&place.at(DEFAULTS))?;
    files::write(&place.at(SAVED), before.as_deref().unwrap_or_default())?;
    let journal = Journal {
        phase: Phase::Installing,
        had_defaults: before.is_some(),
        made_config: !place.at(CONFIG).exists(),
    };
    journal.write(place)?;
    Ok(journal)
}

fn put_in_front(place: &Place, journal: &Journal) -> Result<(), InstallError> {
    files::write(&place.at(ACCOUNT.0), ACCOUNT.1.as_bytes())?;
    let account = place.at(ACCOUNT.0).display().to_string();
    place.command("systemd-sysusers", &[&account])?;
    if journal.made_config && !place.at(CONFIG).exists() {
        files::write(&place.at(CONFIG), CONFIG_TEXT.as_bytes())?;
    }
    for (name, text, always) in FILES {
        if always || place.fallback {
            files::write(&place.at(UNITS).join(name), text.as_bytes())?;
        }
    }
    let now = files::read(&place.at(DEFAULTS))?.unwrap_or_default();
    let wanted = defaults::on_loopback(&now);
    if now != wanted {
        files::write(&place.at(DEFAULTS), &wanted)?;
    }
    place.command("systemctl", &["daemon-reload"])?;
    if now != wanted || journal.phase != Phase::Installed {
        place.command("systemctl", &["restart", "pveproxy.service"])?;
    }
    place.command("systemctl", &["enable", "--now", SERVICE, WISH])?;
    answers(place)
}

/// Puts the saved bytes back. What was edited meanwhile is kept beside.
fn restore(place: &Place, journal: &Journal) -> Result<(), InstallError> {
    let path = place.at(DEFAULTS);
    let saved = files::read(&place.at(SAVED))?.unwrap_or_default();
    if let Some(now) = files::read(&path)?
        && now != saved
        && now != defaults::on_loopback(&saved)
    {
        files::write(&path.with_extension("edited"), &now)?;
    }
    match journal.had_defaults {
        true => files::write(&path, &saved),
        false => files::remove(&path),
    }
}

/// What pveproxy shows.
fn identity(place: &Place) -> Result<Identity, InstallError> {
    let directory = place.at(CERTIFICATES);
    let loaded = TlsFiles::node(&directory, None, Readers::Group).load();
    let loaded = loaded.map_err(|error| InstallError::File {
        path: directory,
        source: std::io::Error::other(error),
    });
    Ok(loaded?.identity)
}

/// Waits until the gate says where it listens, and one of those answers with its certificate.
fn answers(place: &Place) -> Result<(), InstallError> {
    let identity = identity(place)?;
    let until = Instant::now() + ANSWER_TIME;
    loop {
        let why = match answers_now(place, &identity) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if Instant::now() > until {
            return Err(InstallError::Silent(why));
        }
        sleep(ANSWER_PAUSE);
    }
}

fn answers_now(place: &Place, identity: &Identity) -> Result<(), String> {
    let socket = place.at(STATE).join(control::SOCKET);
    let status = call(&socket, &Request::Status).map_err(|error| error.to_string())?;
    let listen = status.get("listen").and_then(Value::as_array);
    let first = listen.and_then(|list| list.first()).and_then(Value::as_str);
    let address = first.ok_or("it runs, and listens on no address yet")?;
    // pveproxy shows the same certificate: that it is the gate was said by the gate.
    let trust = Trust::Pin(identity.fingerprint());
    let there = Destination::new(&format!("https://{address}"), Some(&trust));
    let there = there.map_err(|error| error.to_string())?;
    probe(&there).map_err(|error| format!("{address}: {error}"))
}
