//! The recorded exchanges as they stand in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use serde::Deserialize;
use serde_json::Value;

/// A record file and the keys that its tickets verify with.
pub struct Corpus {
    /// By `seq`.
    pub records: BTreeMap<u64, Record>,
    /// The recorded host's public key, SPKI PEM.
    pub public_key: String,
    /// The recorded host's CSRF secret.
    pub csrf_secret: String,
}

/// One exchange.
#[derive(Debug, Clone, Deserialize)]
pub struct Record {
    /// Position in the recording.
    pub seq: u64,
    /// Name.
    pub id: String,
    /// The first is the group.
    pub tags: Vec<String>,
    /// `tls` or `plain`.
    pub transport: String,
    /// What was sent.
    pub request: Request,
    /// One answer, a list of answers, or null when the server closed without a byte.
    pub response: Value,
    /// `open`, `closed`, `data` or `timeout`.
    #[serde(default)]
    pub connection_after: Option<String>,
    /// Milliseconds until the answer was complete.
    #[serde(default)]
    pub elapsed_ms: Option<f64>,
    /// What went over a websocket after the 101: `send`, `recv` with a whole frame in hex, or
    /// null for the end, and `after`.
    #[serde(default)]
    pub frames: Vec<(String, Option<String>)>,
    /// Records with the same name share a connection.
    #[serde(default)]
    pub connection: Option<String>,
}

/// A recorded request.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// Request line, or a description in parentheses.
    pub line: String,
    /// Names and values as sent.
    pub headers: Vec<(String, String)>,
    /// `{text}`, `{base64}` or, for long ones, `{sha256, length, prefix}`.
    #[serde(default)]
    pub body: Value,
}

impl Corpus {
    /// Reads the corpus below `directory` and merges the records of `judge`.
    ///
    /// # Errors
    /// When a file is missing or a line is not a record.
    pub fn load(directory: &Path, judge: Option<&Path>) -> Result<Self> {
        let vectors = directory.join("ticket-vectors.json");
        let text =
            std::fs::read_to_string(&vectors).with_context(|| vectors.display().to_string())?;
        let vectors: Value = serde_json::from_str(&text)?;
        let fact = |name: &str| {
            let text = vectors.get(name).and_then(Value::as_str);
            text.map(str::to_owned).with_context(|| format!("ticket-vectors.json has no {name}"))
        };
        let mut records = read(&directory.join("pve-transcripts.jsonl"))?;
        if let Some(judge) = judge {
            records.extend(read(judge)?);
        }
        Ok(Self {
            records,
            public_key: fact("authkey_pub_pem")?,
            csrf_secret: fact("csrf_secret")?,
        })
    }
}

/// Where the recorded exchanges are, if they are on this machine: `$PROXWARD_SHARED/golden` or
/// `golden` in a directory `shared` beside the checkout.
#[must_use]
pub fn locate() -> Option<PathBuf> {
    let beside = || {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        Some(workspace.parent()?.join("shared"))
    };
    let shared = std::env::var_os("PROXWARD_SHARED").map(PathBuf::from).or_else(beside)?;
    let golden = shared.join("golden");
    golden.join("pve-transcripts.jsonl").is_file().then_some(golden)
}

/// The records of one file, by `seq`.
pub(super) fn read(path: &Path) -> Result<BTreeMap<u64, Record>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut records = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let place = || format!("{}:{}", path.display(), at + 1);
        let record: Record = serde_json::from_str(line).with_context(place)?;
        if records.insert(record.seq, record).is_some() {
            bail!("{}: a record with this seq stands above", place());
        }
    }
    Ok(records)
}

impl Record {
    /// The group: the first tag.
    #[must_use]
    pub fn group(&self) -> &str {
        self.tags.first().map_or("", String::as_str)
    }

    /// The recorded answers, none when the server closed without a byte.
    #[must_use]
    pub fn answers(&self) -> Vec<&Value> {
        match &self.response {
            Value::Null => Vec::new(),
            Value::Array(list) => list.iter().collect(),
            one => vec![one],
        }
    }

    /// The bytes of the request; `None` when the record does not hold them all.
    #[must_use]
    pub fn wire(&self) -> Option<Vec<u8>> {
        if let Some(pipelined) = self.pipelined() {
            return Some(pipelined);
        }
        let mut bytes = self.head(&self.request.line).into_bytes();
        bytes.extend(self.body()?);
        Some(bytes)
    }

    /// A request line without a version is sent alone: the recorder's probe for nonsense.
    fn head(&self, line: &str) -> String {
        let mut head = line.to_owned() + "\r\n";
        for (name, value) in &self.request.headers {
            head += name;
            // A header recorded without a value was sent without a colon.
            if !value.is_empty() || !name.contains(' ') {
                head += ": ";
                head += value;
            }
            head += "\r\n";
        }
        head + "\r\n"
    }

    /// `(pipelined) GET version, GET access/domains`: all of them in one write.
    fn pipelined(&self) -> Option<Vec<u8>> {
        let calls = self.request.line.strip_prefix("(pipelined) ")?;
        let heads = calls.split(", ").filter_map(|call| {
            let (verb, path) = call.split_once(' ')?;
            Some(self.head(&format!("{verb} /api2/json/{path} HTTP/1.1")))
        });
        Some(heads.collect::<String>().into_bytes())
    }

    fn body(&self) -> Option<Vec<u8>> {
        let body = &self.request.body;
        if let Some(text) = body.get("text").and_then(Value::as_str) {
            return Some(text.as_bytes().to_vec());
        }
        if let Some(coded) = body.get("base64").and_then(Value::as_str) {
            return base64::engine::general_purpose::STANDARD.decode(coded).ok();
        }
        let (Some(prefix), Some(length)) = (
            body.get("prefix").and_then(Value::as_str),
            body.get("length")
                .and_then(Value::as_u64)
                .and_then(|length| usize::try_from(length).ok()),
        ) else {
            return Some(Vec::new());
        };
        // Long bodies were one repeated byte after their first parameter's name.
        let filler = prefix.bytes().last()?;
        let mut bytes = prefix.as_bytes().to_vec();
        bytes.resize(length, filler);
        Some(bytes)
    }
}
