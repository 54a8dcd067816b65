//! Two gates as they are installed, each with a user and a confinement of its own, and a server
//! that they reach over TLS with a password.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use telemetry::Clock;
use tls::Authority;

use crate::curl::{Curl, Reply};
use crate::front::free_port;
use crate::home::{Home, below};
use crate::program::{END, PATIENCE, Running, finish, skip, until};

/// Only files of the test hold it.
const STORE_PASSWORD: &str = "canary-of-the-store";
const PASSWORD: &str = "canary-of-root";

/// Everything but the gates.
struct Place {
    home: Home,
    mock: Running,
    mock_url: String,
    store: Running,
    store_port: u16,
    /// Of the store and of both gates.
    cert: PathBuf,
    key: PathBuf,
    fingerprint: String,
    ca: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        let home = Home::new()?;
        let password = home.private("password", PASSWORD)?;
        let mut command = home.proxward(&["mock", "--no-tls", "--time-scale", "0"])?;
        command.args(["--format", "json", "--password-file"]).arg(password);
        let mut mock = Running::start(&mut command)?;
        let line = mock.until("the mock's ready line", |mock| {
            mock.stdout().split_once('\n').map(|(line, _)| line.to_owned())
        })?;
        let ready: Value = serde_json::from_str(&line)?;
        let mock_url = ready["url"].as_str().context("no url")?.to_owned();
        let unix = Clock::system().unix();
        let authority = Authority::generate("e2e", unix)?;
        let identity = authority.issue(&["127.0.0.1"], unix)?;
        let (cert, key) = (home.scratch("cert.pem"), home.scratch("key.pem"));
        identity.write(&cert, &key)?;
        let ca = home.private("ca.pem", authority.certificate_pem())?;
        home.private("session.key", &format!("{}\n", "ab".repeat(32)))?;
        home.private("store.password", &format!("{STORE_PASSWORD}\n"))?;
        std::fs::create_dir(home.scratch("store"))?;
        let store_port = free_port()?;
        let store = store(&home, store_port, (&cert, &key))?;
        let fingerprint = identity.fingerprint().to_string();
        Ok(Self { home, mock, mock_url, store, store_port, cert, key, fingerprint, ca })
    }

    /// A gate's configuration.
    fn config(&self, name: &str, port: u16, trust: &str) -> Result<PathBuf> {
        let text = format!(
            "[gate]\nlisten = [\"127.0.0.1:{port}\"]\nupstream = \"{}\"\nworkers = 1\n\
             cert = \"{}\"\nkey = \"{}\"\nstate = \"rediss://127.0.0.1:{}/2\"\n\
             [gate.sessions]\nkey = \"{}\"\n[gate.store]\ndirectory = \"{}\"\n\
             password = \"{}\"\n{trust}\n",
            self.mock_url,
            self.cert.display(),
            self.key.display(),
            self.store_port,
            self.home.scratch("session.key").display(),
            self.home.scratch(&format!("gate-{name}")).display(),
            self.home.scratch("store.password").display(),
        );
        self.home.private(&format!("{name}.toml"), &text)
    }

    fn gate(&self, config: &Path) -> Result<Running> {
        let mut command = self.home.proxward(&["gate", "--config"])?;
        let mut gate = Running::start(command.arg(config))?;
        gate.until("the gate's ready line", |gate| {
            gate.stderr().contains("gate: ready on").then_some(())
        })?;
        Ok(gate)
    }

    fn curl(&self, port: u16, path: &str) -> Curl {
        let curl = Curl::plain(&format!("https://127.0.0.1:{port}{path}"));
        curl.with("cacert", &self.ca.to_string_lossy()).http1()
    }

    /// The lines that make a request one of a new session.
    fn login(&self, port: u16) -> Result<[String; 2]> {
        let curl = self.curl(port, "/api2/json/access/ticket");
        let reply = curl.field("username", "root@pam").field("password", PASSWORD);
        let reply = reply.send(&self.home)?;
        let answer = reply.json()?;
        let text = |key: &str| {
            let text = answer["data"][key].as_str();
            text.map(str::to_owned).with_context(|| format!("no {key}\n{reply}"))
        };
        Ok([
            format!("Cookie: PVEAuthCookie={}", text("ticket")?),
            format!("CSRFPreventionToken: {}", text("CSRFPreventionToken")?),
        ])
    }

    fn ask(&self, port: u16, path: &str, held: &[String; 2], method: &str) -> Result<Reply> {
        let curl = self.curl(port, path).with("request", method);
        let curl = held.iter().fold(curl, |curl, line| curl.with("header", line));
        curl.send(&self.home)
    }
}

fn store(home: &Home, port: u16, (cert, key): (&Path, &Path)) -> Result<Running> {
    let text = format!(
        "port 0\ntls-port {port}\ntls-cert-file {}\ntls-key-file {}\ntls-auth-clients no\n\
         bind 127.0.0.1\nrequirepass {STORE_PASSWORD}\nappendonly yes\nappendfsync always\n\
         save \"\"\ndir {}\n",
        cert.display(),
        key.display(),
        home.scratch("store").display(),
    );
    let config = home.private("store.conf", &text)?;
    let mut store = Running::start(home.command("redis-server").arg(config))?;
    store.until("the server to listen", |_| {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    })?;
    Ok(store)
}

#[test]
fn gates_that_are_confined_share_a_server_over_tls_and_tell_it_no_secret() -> Result<()> {
    if std::process::Command::new("redis-server").arg("--version").output().is_err() {
        skip("redis-server is not installed");
        return Ok(());
    }
    let mut place = Place::new()?;
    let (one, other) = (free_port()?, free_port()?);
    let pinned = format!("fingerprint = \"{}\"", place.fingerprint);
    let signed = format!("ca = \"{}\"", place.ca.display());
    let config = place.config("one", one, &pinned)?;
    let first = place.gate(&config)?;
    let second = place.gate(&place.config("other", other, &signed)?)?;
    ensure!(!first.stderr().contains("may lose"), "{}", first.stderr());

    let (kept, ended) = (place.login(one)?, place.login(other)?);
    for port in [one, other] {
        for held in [&kept, &ended] {
            let reply = place.ask(port, "/api2/json/nodes", held, "GET")?;
            ensure!(reply.line == "HTTP/1.1 200 OK", "{reply}");
        }
    }
    first.signal("KILL")?;
    first.wait(END)?;
    let reply = place.ask(other, "/proxward/logout", &ended, "POST")?;
    ensure!(reply.line == "HTTP/1.1 200 OK", "{reply}");
    // The server goes and comes while one gate does not run and the other does.
    place.store.signal("KILL")?;
    let gone = || std::net::TcpStream::connect(("127.0.0.1", place.store_port)).err();
    until(PATIENCE, gone).context("the server does not end")?;
    let new = store(&place.home, place.store_port, (&place.cert, &place.key))?;
    std::mem::replace(&mut place.store, new).wait(END)?;
    let first = place.gate(&config)?;
    for port in [one, other] {
        let line = |held| place.ask(port, "/api2/json/nodes", held, "GET").map(|reply| reply.line);
        // Until the gate has found the server again it can not say.
        let known = || line(&kept).ok().filter(|line| line == "HTTP/1.1 200 OK");
        until(PATIENCE, known).context("the session is lost")?;
        let gone = || line(&ended).ok().filter(|line| line.starts_with("HTTP/1.1 401"));
        until(PATIENCE, gone).context("the session is back")?;
    }
    for file in below(&place.home.scratch("store"))?.iter().filter(|path| path.is_file()) {
        let bytes = std::fs::read(file)?;
        for secret in [PASSWORD, "PVE:", "root@pam"] {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            ensure!(!found, "{} shows {secret}", file.display());
        }
    }
    let other_pin = format!("fingerprint = \"{}\"", "ab".repeat(32));
    let mut stranger = place.home.proxward(&["gate", "--config"])?;
    stranger.arg(place.config("third", free_port()?, &other_pin)?);
    let refused = finish(&mut stranger, "")?;
    ensure!(refused.code == Some(4) && refused.stderr.contains("can not be reached"), "{refused}");

    for gate in [first, second] {
        gate.signal("TERM")?;
        let ended = gate.wait(END)?.success()?;
        ensure!(!ended.stderr.contains(STORE_PASSWORD), "{ended}");
    }
    for program in [place.mock, place.store] {
        program.signal("TERM")?;
        program.wait(END)?;
    }
    Ok(())
}
