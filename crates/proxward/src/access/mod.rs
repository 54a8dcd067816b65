//! `proxward access`: who may do what, from a `user.cfg` alone.

mod judge;
mod options;
mod show;

use std::fs::File;
use std::io::{Read, stdin};
use std::path::Path;

use pve_access::user_cfg::{GrantLines, normalize_path};
use pve_access::{Access, Privilege, Privileges, Release, Subject, UserConfig, roles};
use telemetry::Clock;

pub(crate) use options::Access as Arguments;
use options::{Can, Effective, Explain, Question, Source};

use crate::exit::{Exit, Stop, file_fault};
use crate::output::note;

/// Longest file read in bytes; the parser refuses less.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Findings about the file shown on stderr; the rest is counted.
const MAX_WARNINGS_SHOWN: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Stop> {
    match &arguments.question {
        Question::Can(can) => answer_can(can),
        Question::Explain(explain) => answer_explain(explain),
        Question::Effective(effective) => answer_effective(effective),
        Question::Judge(judge) => judge::run(judge.release.into()),
    }
}

fn answer_can(can: &Can) -> Result<(), Stop> {
    let wanted = Privileges::parse(can.privileges.iter().map(String::as_str));
    let wanted = wanted.map_err(Stop::usage)?;
    let (subject, path) = (subject(&can.subject)?, path(&can.path)?);
    let (access, _) = load(&can.source)?;
    let account = access.check_account(&subject, Clock::system().unix_secs()).err();
    let allowed = account.is_none() && access.check(&subject, &path, wanted, can.any);
    let held = access.permissions(&subject, &path).held;
    let missing: Vec<&str> =
        wanted.iter().filter(|p| !held.contains(*p)).map(Privilege::name).collect();
    let verdict = show::Verdict { subject: &subject, path: &path, allowed, missing, account };
    show::can(&verdict, can.source.format)
}

fn answer_explain(explain: &Explain) -> Result<(), Stop> {
    let (subject, path) = (subject(&explain.subject)?, path(&explain.path)?);
    let (access, lines) = load(&explain.source)?;
    let account = access.check_account(&subject, Clock::system().unix_secs()).err();
    let explanation = access.explain(&subject, &path, Some(&lines));
    show::explanation(&explanation, account, explain.source.format);
    Ok(())
}

fn answer_effective(effective: &Effective) -> Result<(), Stop> {
    let subject = subject(&effective.subject)?;
    let (access, _) = load(&effective.source)?;
    let account = access.check_account(&subject, Clock::system().unix_secs()).err();
    show::effective(&subject, &access.effective(&subject), account, effective.source.format);
    Ok(())
}

fn subject(text: &str) -> Result<Subject, Stop> {
    text.parse().map_err(|error| Stop::say(Exit::Usage, format!("{text:?}: {error}")))
}

fn path(text: &str) -> Result<String, Stop> {
    normalize_path(text).ok_or_else(|| {
        Stop::say(Exit::Usage, format!("{text:?}: no path of the access control list, as /vms/100"))
    })
}

/// Reads the file; what was skipped in it goes to stderr with its line.
fn load(source: &Source) -> Result<(Access, GrantLines), Stop> {
    let release: Release = source.release.into();
    let name = source.user_cfg.display();
    let text = read(&source.user_cfg).map_err(|error| file_fault(&source.user_cfg, &error))?;
    let (parsed, lines) = UserConfig::parse_located(&text, &roles::vocabulary(release))
        .map_err(|error| Stop::say(Exit::Usage, format!("{name}: {error}")))?;
    for warning in parsed.warnings.iter().take(MAX_WARNINGS_SHOWN) {
        note(&format!("proxward: {name}: {warning}"));
    }
    let shown = parsed.warnings.len().min(MAX_WARNINGS_SHOWN);
    let further = parsed.warnings.len() + parsed.further_warnings - shown;
    if further > 0 {
        note(&format!("proxward: {name}: {further} more lines or items are skipped by PVE"));
    }
    Ok((Access::new(release, parsed.config), lines))
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> =
        if path == Path::new("-") { Box::new(stdin()) } else { Box::new(File::open(path)?) };
    reader.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    // Names are ASCII and comments percent-encoded; a stray byte must not hide the other lines.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
