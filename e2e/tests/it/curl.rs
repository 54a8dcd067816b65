//! curl, told everything on its stdin: nothing of a request stands in a command line.

use std::fmt;

use anyhow::{Context as _, Result};

use crate::demo::Ready;
use crate::home::Home;
use crate::program::{Ended, finish};

/// Longest transfer, in seconds: the server delays refused logins by three.
const MAX_TIME: &str = "30";

/// Exit codes of curl for a connection that ended without an answer, and for an HTTP/2 connection
/// or stream that was reset.
const CUT_OFF: [i32; 4] = [52, 56, 16, 92];

/// One request. Built up line by line in the syntax of curl's configuration files.
pub(crate) struct Curl {
    config: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status line as received, `HTTP/1.1 401 No ticket`.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Curl {
    /// A GET of `path` through the gate, its certificate verified; HTTP/2 when both sides can.
    pub(crate) fn new(ready: &Ready, path: &str) -> Result<Self> {
        let mut curl = Self::plain(&format!("{}{path}", ready.gate));
        curl.set("cacert", ready.ca_text()?);
        Ok(curl)
    }

    /// A GET of a URL.
    pub(crate) fn plain(url: &str) -> Self {
        let mut curl = Self { config: String::new() };
        for (option, value) in [("url", url), ("noproxy", "*"), ("max-time", MAX_TIME)] {
            curl.set(option, value);
        }
        for option in ["silent", "show-error", "include", "globoff", "path-as-is"] {
            curl.flag(option);
        }
        curl
    }

    /// HTTP/1.1, the only version with reason phrases.
    pub(crate) fn http1(mut self) -> Self {
        self.flag("http1.1");
        self
    }

    /// An option of curl with a value, for example `header`.
    pub(crate) fn with(mut self, option: &str, value: &str) -> Self {
        self.set(option, value);
        self
    }

    /// A form field, percent-encoded by curl; makes a POST of it.
    pub(crate) fn field(self, name: &str, value: &str) -> Self {
        self.with("data-urlencode", &format!("{name}={value}"))
    }

    /// Sends it and reads the answer.
    pub(crate) fn send(&self, home: &Home) -> Result<Reply> {
        let ended = self.run(home)?.success()?;
        Reply::parse(&ended.stdout).with_context(|| format!("not an HTTP answer\n{ended}"))
    }

    /// Sends it; tells whether it was answered, in one way or another, or cut off.
    pub(crate) fn is_answered(&self, home: &Home) -> Result<bool> {
        match self.run(home)? {
            ended if ended.code.is_some_and(|code| CUT_OFF.contains(&code)) => Ok(false),
            ended => ended.success().map(|_| true),
        }
    }

    fn run(&self, home: &Home) -> Result<Ended> {
        // -q: not the caller's own ~/.curlrc
        let mut command = home.command("curl");
        finish(command.args(["-q", "--config", "-"]), &self.config)
    }

    fn flag(&mut self, option: &str) {
        self.config.push_str(option);
        self.config.push('\n');
    }

    fn set(&mut self, option: &str, value: &str) {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        self.config.push_str(&format!("{option} = \"{value}\"\n"));
    }
}

impl Reply {
    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let line = lines.next()?.trim_end().to_owned();
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_lowercase(), value.trim().to_owned()))
        });
        Some(Self { line, headers: headers.collect(), body: body.to_owned() })
    }

    /// The first header of this lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("the body is not JSON\n{self}"))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.line)?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        write!(f, "\n{}", self.body)
    }
}
