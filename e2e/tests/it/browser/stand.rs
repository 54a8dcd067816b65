//! A mock behind TLS, and a gate in front of it with every check on.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use telemetry::Clock;
use tls::Authority;

use crate::curl::{Curl, Reply};
use crate::home::Home;
use crate::program::{END, Running, finish};
use crate::robust::process::{Files, Process};

/// Password of `root@pam`.
pub(super) const PASSWORD: &str = "wrong-horse-battery";
/// Of the gate, unless a test has others: also what the schema does not know is refused.
const LINES: &str = "[gate.policy]\nschema = \"enforce\"\n";
/// Prints the SHA-256 of a certificate's key in base64.
const KEY_HASH: &str = "openssl x509 -in \"$1\" -noout -pubkey | openssl pkey -pubin -outform der \
    | openssl dgst -sha256 -binary | base64";

/// What a browser is tried on.
pub(super) struct Stand {
    pub(super) home: Home,
    mock: Running,
    gate: Process,
    authority: String,
    /// Of the gate.
    pub(super) url: String,
    /// Of the mock, with nothing in front.
    pub(super) mock_url: String,
    /// Hashes of the keys of both.
    pub(super) keys: String,
    /// The line of an API token of `root@pam`, for the mock.
    token: String,
}

impl Stand {
    /// `first` are lines of `[gate]`, `more` those of further sections.
    pub(super) fn start(first: &str, more: &str) -> Result<Self> {
        let home = Home::new()?;
        let unix = Clock::system().unix();
        let authority = Authority::generate("e2e mock", unix)?;
        let (cert, key) = (home.scratch("mock.pem"), home.scratch("mock.key"));
        authority.issue(&["127.0.0.1"], unix)?.write(&cert, &key)?;
        let password = home.private("password", PASSWORD)?;
        let words = ["mock", "--seed", "small", "--time-scale", "0", "--format", "json"];
        let mut command = home.proxward(&words)?;
        command.arg("--cert").arg(&cert).arg("--key").arg(key).arg("--password-file").arg(password);
        let mut mock = Running::start(&mut command)?;
        let line = mock.until("the mock's ready line", |mock| {
            mock.stdout().split_once('\n').map(|(line, _)| line.to_owned())
        })?;
        let ready: Value = serde_json::from_str(&line)?;
        let text = |key: &str| ready[key].as_str().map(str::to_owned).context("the ready line");
        let (mock_url, token) = (text("url")?, text("token")?);

        let ca = home.private("mock-ca.pem", authority.certificate_pem())?;
        let lines = format!("upstream_ca = \"{}\"\n{first}\n{LINES}{more}", ca.display());
        let files = Files::write(&home, &mock_url, &lines)?;
        let gate = files.start(&home)?;
        let mut keys = String::new();
        for cert in [home.scratch("gate.pem"), cert] {
            let mut hash = home.command("sh");
            hash.args(["-c", KEY_HASH, "sh"]).arg(cert);
            keys += finish(&mut hash, "")?.success()?.stdout.trim();
            keys.push(',');
        }
        let authority = files.authority;
        let url = format!("https://{}", files.address);
        Ok(Self { home, mock, gate, authority, url, mock_url, keys, token })
    }

    /// A request through the gate.
    pub(super) fn ask(&self, path: &str, headers: &[String]) -> Result<Reply> {
        let ca = self.home.private("gate-ca.pem", &self.authority)?;
        let curl = Curl::plain(&format!("{}{path}", self.url));
        let curl = curl.with("cacert", &ca.display().to_string());
        headers.iter().fold(curl, |curl, line| curl.with("header", line)).send(&self.home)
    }

    /// A call of the API as `root@pam`, past the gate; its `data`.
    pub(super) fn api(&self, verb: &str, path: &str, fields: &[(&str, &str)]) -> Result<Value> {
        let curl = Curl::plain(&format!("{}/api2/json{path}", self.mock_url));
        let curl = curl.with("cacert", &self.home.scratch("mock-ca.pem").display().to_string());
        let curl = curl.with("header", &format!("Authorization: PVEAPIToken={}", self.token));
        let curl = fields.iter().fold(curl, |curl, (name, value)| curl.field(name, value));
        let reply = curl.with("request", verb).send(&self.home)?;
        ensure!(reply.line.contains(" 200"), "{path}: {reply}");
        Ok(reply.json()?["data"].take())
    }

    /// A command of the operator about the gate; what it prints.
    pub(super) fn operate(&self, words: &[&str]) -> Result<String> {
        let mut command = self.home.proxward(words)?;
        command.arg("--state").arg(self.home.scratch("gate-state"));
        Ok(finish(&mut command, "")?.success()?.stdout)
    }

    /// Ends both.
    pub(super) fn end(self) -> Result<()> {
        self.gate.end("TERM")?.success()?;
        self.mock.signal("TERM")?;
        self.mock.wait(END)?.success().map(drop)
    }
}
