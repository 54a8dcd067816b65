//! A mock, a gate with state, and a real nginx in front of both, each a process of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use telemetry::Clock;
use tls::Authority;

use crate::curl::{Curl, Reply};
use crate::home::Home;
use crate::program::{self, END, Ended, Running, finish};

/// The header by which a test tells nginx whom it stands for. nginx takes it for the address of
/// its peer, and tells the gate as it would tell it the true one.
const STANDS_FOR: &str = "X-Test-Client";

/// Everything that runs.
pub(crate) struct Front {
    gate: Option<Running>,
    nginx: Running,
    mock: Running,
    /// URL of the mock, without anything in front.
    pub(crate) mock_url: String,
    /// An API token of root@pam: `root@pam!ci=SECRET`.
    pub(crate) token: String,
    proxy: u16,
    config: PathBuf,
    /// Where the gate listens.
    pub(crate) listen: String,
    /// State directory of the gate.
    pub(crate) state: PathBuf,
}

impl Front {
    /// `login` are lines of the section `[gate.login]`.
    pub(crate) fn start(home: &Home, login: &str) -> Result<Self> {
        let mut front = Self::without_gate(home, login)?;
        front.start_gate(home)?;
        Ok(front)
    }

    /// As [`Front::start`], with the gate under strace, which writes to `trace`.
    pub(crate) fn start_traced(home: &Home, trace: &Path) -> Result<Self> {
        let mut front = Self::without_gate(home, "")?;
        let mut command = home.command("strace");
        command.args(["-f", "-qq", "-o"]).arg(trace).arg(program::proxward()?);
        command.args(["gate", "--config"]).arg(&front.config);
        // Everything it can do: follow addresses, tell a service manager and its watchdog.
        command.arg("--listen").arg(&front.listen).args(["--listen", "auto:18006"]);
        command.env("NOTIFY_SOCKET", home.scratch("notify")).env("WATCHDOG_USEC", "400000");
        front.gate = Some(ready(Running::start(&mut command)?)?);
        Ok(front)
    }

    fn without_gate(home: &Home, login: &str) -> Result<Self> {
        Self::with_mock(home, &[], login)
    }

    /// Everything but the gate, with more arguments for the mock.
    pub(crate) fn with_mock(home: &Home, arguments: &[&str], login: &str) -> Result<Self> {
        let always = ["mock", "--no-tls", "--time-scale", "0", "--format", "json"];
        let mut mock = Running::start(home.proxward(&always)?.args(arguments))?;
        let line = mock.until("the mock's ready line", |mock| {
            mock.stdout().split_once('\n').map(|(line, _)| line.to_owned())
        })?;
        let ready: Value = serde_json::from_str(&line)?;
        let text = |key: &str| ready[key].as_str().map(str::to_owned).context("the ready line");
        let (mock_url, token) = (text("url")?, text("token")?);

        let unix = Clock::system().unix();
        let identity = Authority::generate("e2e", unix)?.issue(&["127.0.0.1"], unix)?;
        let (cert, key) = (home.scratch("gate.pem"), home.scratch("gate.key"));
        identity.write(&cert, &key)?;
        let state = home.scratch("gate-state");
        let (listen, proxy) = (free_port()?, free_port()?);
        let config = format!(
            "[gate]\nlisten = [\"127.0.0.1:{listen}\"]\nupstream = \"{mock_url}\"\n\
             cert = \"{}\"\nkey = \"{}\"\nstate = \"{}\"\n\
             trusted_proxies = \"127.0.0.1\"\nworkers = 1\n[gate.login]\n{login}\n",
            cert.display(),
            key.display(),
            state.display(),
        );
        let config = home.private("gate.toml", &config)?;
        let nginx = nginx(home, proxy, listen)?;
        Ok(Self {
            gate: None,
            nginx,
            mock,
            mock_url,
            token,
            proxy,
            config,
            listen: format!("127.0.0.1:{listen}"),
            state,
        })
    }

    /// Starts the gate, which must not run.
    pub(crate) fn start_gate(&mut self, home: &Home) -> Result<()> {
        let mut command = home.proxward(&["gate", "--config"])?;
        command.arg(&self.config);
        self.gate = Some(ready(Running::start(&mut command)?)?);
        Ok(())
    }

    /// Starts another gate in the place of the one that runs, which is returned.
    pub(crate) fn take_over(&mut self, home: &Home) -> Result<Running> {
        let mut command = home.proxward(&["gate", "--takeover", "--config"])?;
        command.arg(&self.config);
        let new = ready(Running::start(&mut command)?)?;
        self.gate.replace(new).context("no gate ran")
    }

    /// The gate's configuration.
    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    /// The gate's process; under a tracer, that one's child.
    pub(crate) fn gate_pid(&self) -> Result<u32> {
        let pid = self.gate.as_ref().context("the gate does not run")?.pid();
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
        if comm.trim_end() != "strace" {
            return Ok(pid);
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
        Ok(children.trim().parse()?)
    }

    /// Ends the gate by a signal and returns how.
    pub(crate) fn end_gate(&mut self, signal: &str) -> Result<Ended> {
        let pid = self.gate_pid()?;
        let gate = self.gate.take().context("the gate does not run")?;
        program::send(signal, &pid.to_string())?;
        gate.wait(END)
    }

    /// A request through nginx and the gate, as if `client` had made it. It tries to pass for
    /// somebody else.
    pub(crate) fn from(&self, client: &str, path: &str) -> Curl {
        Curl::plain(&format!("http://127.0.0.1:{}{path}", self.proxy))
            .with("header", &format!("{STANDS_FOR}: {client}"))
            .with("header", "X-Forwarded-For: 198.51.100.66")
    }

    /// A request to the mock itself.
    pub(crate) fn direct(&self, path: &str) -> Curl {
        Curl::plain(&format!("{}{path}", self.mock_url))
    }

    /// An order to the gate.
    pub(crate) fn bans(&self, home: &Home, arguments: &[&str]) -> Result<Ended> {
        let mut command = home.proxward(&["gate", "bans"])?;
        command.args(arguments).arg("--state").arg(&self.state);
        finish(&mut command, "")
    }

    /// Ends what still runs, each with its own success.
    pub(crate) fn end(mut self) -> Result<()> {
        let ended = self.end_gate("TERM")?;
        ensure!(ended.code == Some(0), "the gate\n{ended}");
        self.nginx.signal("TERM")?;
        self.nginx.wait(END)?.success()?;
        self.mock.signal("TERM")?;
        self.mock.wait(END)?.success()?;
        Ok(())
    }
}

/// A gate that accepts connections.
fn ready(mut gate: Running) -> Result<Running> {
    gate.until("the gate's ready line", |gate| {
        gate.stderr().contains("gate: ready on").then_some(())
    })?;
    Ok(gate)
}

/// Whether an answer is of this status and reason.
pub(crate) fn is(reply: &Reply, line: &str) -> Result<()> {
    ensure!(reply.line == line, "expected {line}\n{reply}");
    Ok(())
}

/// A port that was free a moment ago: nginx and a gate that is started twice need to know theirs.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn nginx(home: &Home, listen: u16, gate: u16) -> Result<Running> {
    let place = home.scratch("nginx");
    std::fs::create_dir(&place)?;
    let shown = place.display();
    let config = format!(
        "daemon off;\nmaster_process off;\npid {shown}/pid;\nerror_log stderr;\n\
         events {{}}\nhttp {{\n  access_log off;\n  client_body_temp_path {shown}/body;\n  \
         proxy_temp_path {shown}/proxy;\n  fastcgi_temp_path {shown}/f;\n  \
         uwsgi_temp_path {shown}/u;\n  scgi_temp_path {shown}/s;\n  \
         set_real_ip_from 127.0.0.1;\n  real_ip_header {STANDS_FOR};\n  \
         server {{\n    listen 127.0.0.1:{listen};\n    location / {{\n      \
         proxy_pass https://127.0.0.1:{gate};\n      proxy_http_version 1.1;\n      \
         proxy_set_header Host $http_host;\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    }}\n  }}\n}}\n"
    );
    let config = home.private("nginx.conf", &config)?;
    let mut command = home.command("nginx");
    command.arg("-p").arg(&place).arg("-e").arg("stderr").arg("-c").arg(config);
    let mut nginx = Running::start(&mut command)?;
    nginx.until("nginx to listen", |_| {
        std::net::TcpStream::connect(("127.0.0.1", listen)).ok().map(drop)
    })?;
    Ok(nginx)
}
