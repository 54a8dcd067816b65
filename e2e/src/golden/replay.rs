//! Sending the records and judging the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mock::{Api, Config, Mock};
use secrets::SecretString;
use serde::Deserialize;
use telemetry::{Clock, HttpDate, ManualClock};

use super::client::{After, Connection};
use super::compare;
use super::corpus::{Corpus, Record, read};
use super::expected;
use super::omitted;
use super::seed::recorded_host;
use super::substitute::Substitutes;
use super::through_gate::Gate;

/// Idle connections are closed after this long here; the genuine five seconds would make every
/// record that ends in silence cost that much.
pub(super) const IDLE: Duration = Duration::from_secs(1);
/// A recorded answer that took this long was delayed on purpose or ended in silence.
const DELAYED_MS: f64 = 2500.0;
/// Before the first record has set the clock.
const BEFORE: Duration = Duration::from_secs(0x6B00_CE40);

/// Which way the records are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Leg {
    /// To the mock.
    Direct,
    /// To the gate in front of a mock.
    Gate,
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As recorded.
    Equal,
    /// Different and known to be; the reason.
    Listed(String),
    /// Different; how.
    Different(String),
    /// Listed as different, and equal.
    Unexpected,
}

/// The verdicts on one leg, and listed names that no record has.
#[derive(Debug)]
pub struct Report {
    /// Which way the records were sent.
    pub leg: Leg,
    /// Group, name and verdict in the order of the recording.
    pub verdicts: Vec<(String, String, Verdict)>,
    /// Names in the list of expected differences that no record has.
    pub unknown: Vec<String>,
}

/// Replays the corpus below `golden` on both legs. With `judge`, its records are merged in and
/// only they are counted.
///
/// # Errors
/// When a file can not be read or a server can not be started.
pub fn run(golden: &Path, judge: Option<&Path>) -> Result<Vec<Report>> {
    let mut corpus = Corpus::load(golden, judge)?;
    let counted: BTreeSet<u64> = match judge {
        Some(judge) => read(judge)?.into_keys().collect(),
        None => corpus.records.keys().copied().collect(),
    };
    omitted::restore(&mut corpus)?;
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/expected.toml");
    let expected = expected::read(&list)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut reports = Vec::new();
    for leg in [Leg::Direct, Leg::Gate] {
        let differences = runtime.block_on(replay(leg, &corpus))?;
        let names: BTreeSet<&str> = corpus.records.values().map(|one| one.id.as_str()).collect();
        let listed = expected.keys().filter(|(of, _)| *of == leg);
        let unknown =
            listed.filter(|(_, id)| !names.contains(id.as_str())).map(|(_, id)| id.clone());
        let unknown = unknown.collect();
        let verdict = |record: &Record| {
            let reason = expected.get(&(leg, record.id.clone())).map(|(_, reason)| reason);
            judge_one(differences.get(&record.seq), reason)
        };
        let records = corpus.records.values().filter(|record| counted.contains(&record.seq));
        let verdicts = records
            .map(|record| (record.group().to_owned(), record.id.clone(), verdict(record)))
            .collect();
        reports.push(Report { leg, verdicts, unknown });
    }
    Ok(reports)
}

/// What a record with this difference and this listed reason is.
fn judge_one(difference: Option<&String>, reason: Option<&String>) -> Verdict {
    match (difference, reason) {
        (None, None) => Verdict::Equal,
        (None, Some(_)) => Verdict::Unexpected,
        (Some(_), Some(reason)) => Verdict::Listed(reason.clone()),
        (Some(difference), None) => Verdict::Different(difference.clone()),
    }
}

impl Report {
    /// How many records are equal, listed, and neither.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |test: fn(&Verdict) -> bool| {
            self.verdicts.iter().filter(|(_, _, verdict)| test(verdict)).count()
        };
        (
            count(|verdict| *verdict == Verdict::Equal),
            count(|verdict| matches!(verdict, Verdict::Listed(_))),
            count(|verdict| matches!(verdict, Verdict::Different(_) | Verdict::Unexpected)),
        )
    }

    /// Whether every record is equal or listed, and every listed one exists and differs.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.unknown.is_empty() && self.counts().2 == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for id in &self.unknown {
            writeln!(f, "{id}: listed as different, but no record has this name")?;
        }
        for (group, id, verdict) in &self.verdicts {
            match verdict {
                Verdict::Different(how) => writeln!(f, "{id} [{group}]: {how}")?,
                Verdict::Unexpected => {
                    writeln!(f, "{id} [{group}]: equal now; take it off golden/expected.toml")?;
                }
                Verdict::Equal | Verdict::Listed(_) => {}
            }
        }
        let (equal, listed, different) = self.counts();
        let leg = if self.leg == Leg::Gate { "golden through the gate" } else { "golden" };
        write!(f, "{leg}: {equal} equal, {listed} listed, {different} different")
    }
}

/// The servers under test with the clock they share.
struct Target {
    mock: Mock,
    gate: Option<Gate>,
    clock: ManualClock,
    connector: tls::Connector,
}

impl Target {
    fn start(leg: Leg, corpus: &Corpus) -> Result<Self> {
        let (clock, hands) = Clock::manual(BEFORE);
        // Certificates are judged by the machine's clock, whatever the servers' clock says.
        let today = Clock::system().unix();
        let authority = tls::Authority::generate("golden corpus", today)?;
        let identity = authority.issue(&["127.0.0.1", "localhost"], today)?;
        let connector = tls::Connector::new(&tls::Trust::Authority(
            authority.certificate_pem().as_bytes().to_vec(),
        ))?;
        let fingerprint = identity.fingerprint();
        let mut config = Config::new(recorded_host(corpus));
        config.api = Api::V8;
        config.clock = clock.clone();
        config.time_scale = 0.0;
        config.identity = Some(identity);
        config.verify_keys = vec![corpus.public_key.clone()];
        config.csrf_secret = Some(SecretString::new(corpus.csrf_secret.clone()));
        config.idle = IDLE;
        let mock = Mock::start(config, TcpListener::bind("127.0.0.1:0")?)?;
        let gate = match leg {
            Leg::Direct => None,
            Leg::Gate => {
                let identity = authority.issue(&["127.0.0.1", "localhost"], today)?;
                Some(Gate::start(mock.local_addr(), fingerprint, identity, clock)?)
            }
        };
        Ok(Self { mock, gate, clock: hands, connector })
    }

    fn address(&self) -> SocketAddr {
        self.gate.as_ref().map_or_else(|| self.mock.local_addr(), Gate::local_addr)
    }

    /// Every record comes from an address of its own, so that no counter of failures adds up.
    async fn open(&self, record: &Record) -> Result<Connection> {
        let announce = match &self.gate {
            Some(gate) => gate.announce(record.seq),
            None => Vec::new(),
        };
        let tls = (record.transport == "tls").then_some(&self.connector);
        Connection::open(self.address(), &announce, tls).await
    }
}

/// Sends every record; returns the differences by `seq`.
async fn replay(leg: Leg, corpus: &Corpus) -> Result<BTreeMap<u64, String>> {
    let target = Target::start(leg, corpus)?;
    let mut shared: BTreeMap<String, Connection> = BTreeMap::new();
    let mut differences = BTreeMap::new();
    let mut substitutes = Substitutes::default();
    for record in corpus.records.values() {
        if let Some(time) = recorded_time(record) {
            target.clock.set(time);
        }
        let kept = record.connection.as_ref().and_then(|name| shared.remove(name));
        let mut connection = match kept {
            Some(connection) => connection,
            None => target.open(record).await.with_context(|| record.id.clone())?,
        };
        let exchanged = exchange(leg, &target, record, &mut connection, &mut substitutes).await?;
        if let Some(difference) = exchanged {
            differences.insert(record.seq, difference);
        }
        if let Some(name) = &record.connection {
            shared.insert(name.clone(), connection);
        }
    }
    Ok(differences)
}

async fn exchange(
    leg: Leg,
    target: &Target,
    record: &Record,
    connection: &mut Connection,
    substitutes: &mut Substitutes,
) -> Result<Option<String>> {
    let Some(bytes) = record.wire() else {
        return Ok(Some("the record does not hold its request".to_owned()));
    };
    let bytes = substitutes.apply(bytes);
    let slept = target.mock.deliberate_delay();
    connection.send(&bytes).await?;
    for recorded in record.answers() {
        let Some(answer) = connection.answer().await else {
            return Ok(Some("closed without an answer".to_owned()));
        };
        substitutes.learn(recorded, &answer);
        if let Some(difference) = compare::difference(leg, recorded, &answer) {
            return Ok(Some(difference));
        }
    }
    if record.answers().is_empty() && connection.answer().await.is_some() {
        return Ok(Some("an answer where the recorded server was silent".to_owned()));
    }
    if !record.frames.is_empty() {
        return frames(record, connection).await;
    }
    // The gate keeps its own connections open or closed by its own rules.
    if leg == Leg::Gate {
        return Ok(None);
    }
    let expected = match record.connection_after.as_deref() {
        Some("closed") => After::Closed,
        Some("data") => After::Data,
        _ => After::Open,
    };
    let after = connection.after(expected).await;
    if after != expected {
        return Ok(Some(format!("the connection is {after:?}, recorded {expected:?}")));
    }
    let delayed = target.mock.deliberate_delay() - slept >= Duration::from_secs(1);
    let recorded = record.elapsed_ms.is_some_and(|elapsed| elapsed >= DELAYED_MS);
    if delayed != recorded && !record.answers().is_empty() {
        return Ok(Some(format!("delayed is {delayed}, recorded {recorded}")));
    }
    Ok(None)
}

/// Sends and expects the recorded frames of a websocket.
async fn frames(record: &Record, connection: &mut Connection) -> Result<Option<String>> {
    for (at, (direction, recorded)) in record.frames.iter().enumerate() {
        match (direction.as_str(), recorded.as_deref()) {
            ("send", Some(frame)) => {
                let bytes =
                    bytes_of(frame).with_context(|| format!("{}: frame {at}", record.id))?;
                connection.send(&bytes).await?;
            }
            ("recv", recorded) => {
                let frame = connection.frame().await.map(|frame| hex_of(&frame));
                if frame.as_deref() != recorded {
                    return Ok(Some(format!("frame {at} is {frame:?}, recorded {recorded:?}")));
                }
            }
            ("after", Some("closed")) => {
                let after = connection.after(After::Closed).await;
                if after != After::Closed {
                    return Ok(Some(format!("the websocket is {after:?}, recorded Closed")));
                }
            }
            (other, _) => bail!("{}: frame {at} is of unknown kind {other:?}", record.id),
        }
    }
    Ok(None)
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = (0..hex.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The second of the recorded answer.
fn recorded_time(record: &Record) -> Option<Duration> {
    let answer = *record.answers().last()?;
    let date = match answer.get("head").and_then(serde_json::Value::as_str) {
        Some(head) => head.split("\r\n").find_map(|line| line.strip_prefix("Date: "))?.to_owned(),
        None => {
            let headers: Vec<(String, String)> =
                serde_json::from_value(answer.get("headers")?.clone()).ok()?;
            headers.into_iter().find(|(name, _)| name == "Date")?.1
        }
    };
    date.parse().ok().map(|HttpDate(unix)| Duration::from_secs(unix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict], unknown: &[&str]) -> Report {
        let rows = verdicts.iter().map(|one| ("http".to_owned(), "id".to_owned(), one.clone()));
        let unknown = unknown.iter().map(|id| (*id).to_owned()).collect();
        Report { leg: Leg::Direct, verdicts: rows.collect(), unknown }
    }

    #[test]
    fn a_listed_record_that_is_equal_fails_as_a_new_difference_does() {
        let (how, why) = ("how".to_owned(), "why".to_owned());
        let equal = judge_one(None, None);
        let listed = judge_one(Some(&how), Some(&why));
        assert!(report(&[equal.clone(), listed.clone()], &[]).passes());
        assert!(!report(&[equal.clone(), judge_one(None, Some(&why))], &[]).passes());
        assert!(!report(&[equal.clone(), judge_one(Some(&how), None)], &[]).passes());
        assert!(!report(std::slice::from_ref(&equal), &["gone"]).passes());
        assert!(
            report(&[equal, listed], &[])
                .to_string()
                .ends_with("golden: 1 equal, 1 listed, 0 different")
        );
    }
}
