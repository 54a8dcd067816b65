//! Secrets are planted everywhere a client, a file or the environment can bring one in; none of
//! them may come out anywhere.

pub(crate) mod planted;

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::curl::Curl;
use crate::demo::{Demo, Ready};
use crate::home::{Home, below};
use crate::login::Login;
use crate::processes;
use crate::program::{END, Ended, Running, finish, until};
use planted::Planted;

#[test]
fn nothing_comes_out_of_a_demo_that_logs_text() -> Result<()> {
    demo_keeps_secrets("text")
}

#[test]
fn nothing_comes_out_of_a_demo_that_logs_json() -> Result<()> {
    demo_keeps_secrets("json")
}

/// A demo that logs all it can, asked by clients that put secrets in every place of a request.
fn demo_keeps_secrets(log_format: &str) -> Result<()> {
    let home = Home::new()?;
    let mut planted = Planted::default();
    let state = home.scratch("state");
    let environment = ["PROXWARD_PASSWORD", "PROXWARD_TOKEN"];
    let environment = environment.map(|name| (name, planted.one(name)));
    // What is no secret is found, or finding nothing would mean nothing.
    let (mut in_environment, mut in_log) = (Planted::default(), Planted::default());
    let visible = in_environment.one("a variable that stays");
    let demo = Demo::start_in(&home, state.clone(), |command| {
        command.args(["--log", "trace", "--log-format", log_format]);
        command.envs(environment).env("VISIBLE", visible);
    })?;
    let ready = demo.ready.clone();

    let login = lawful(&home, &ready, &mut planted)?;
    let requests = hostile(&ready, &login, &mut planted)?;
    let answered = at_once(&requests, |request| request.is_answered(&home))?;
    let answered = answered.into_iter().filter(|answered| *answered).count();
    let sent = requests.len();
    ensure!(answered > sent / 2, "only {answered} of {sent} requests were answered");

    let visible = format!("/api2/json/{}", in_log.one("a path"));
    Curl::new(&ready, &visible)?.send(&home)?;

    let shown = processes::shown_of_group(demo.group())?;
    planted.search("/proc", &shown)?;
    ensure!(in_environment.search("/proc", &shown).is_err(), "the environment is not seen");
    let ended = demo.end(&home, "INT")?;
    let access = std::fs::read_to_string(state.join("access.log"))?;
    let logged = access.lines().count();
    ensure!(logged >= answered, "{logged} lines for {answered} answers: the log was not on");
    ensure!(in_log.search("log", access.as_bytes()).is_err(), "the path is not logged");
    planted.search("access log of the demo", access.as_bytes())?;
    planted.search("stdout of the demo", ended.stdout.as_bytes())?;
    planted.search("stderr of the demo", ended.stderr.as_bytes())?;

    let audit = state.join("audit.jsonl");
    let mut verify = home.proxward(&["log", "verify"])?;
    finish(verify.arg(&audit), "")?.success()?;
    files(&state, &ready, &planted)
}

/// Secrets stand in the files meant for them, which nobody else may read, and in no other.
fn files(state: &Path, ready: &Ready, planted: &Planted) -> Result<()> {
    ensure!(mode(state)? == 0o700, "the state directory is open to others");
    let mut keys = 0;
    for path in below(state)?.iter().filter(|path| path.is_file()) {
        let bytes = std::fs::read(path)?;
        let key = path.extension().is_some_and(|extension| extension == "key");
        if key || *path == ready.password_file {
            ensure!(mode(path)? == 0o600, "{}: open to others", path.display());
            keys += usize::from(key);
            continue;
        }
        planted.search(&path.display().to_string(), &bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        ensure!(!text.contains("PRIVATE KEY"), "{}: a private key", path.display());
    }
    ensure!(keys > 0, "the key of the tickets is not kept in a .key file");
    Ok(())
}

/// Logs in and makes real secrets: password, ticket, CSRF token, API token, a new user.
fn lawful(home: &Home, ready: &Ready, planted: &mut Planted) -> Result<Login> {
    planted.known("password of the demo", &ready.password()?);
    let login = Login::new(home, ready)?;
    let signature = |text: &str| text.rsplit(':').next().map(str::to_owned).unwrap_or_default();
    planted.known("signature of the ticket", &signature(&login.ticket));
    planted.known("signature of the CSRF token", &signature(&login.csrf));

    let token = planted.known("token", &login.create_token(home, ready, "canary")?);
    let header = format!("Authorization: PVEAPIToken={}!canary={token}", ready.user);
    let used = Curl::new(ready, "/api2/json/nodes")?.with("header", &header).send(home)?;
    ensure!(used.line == "HTTP/2 200", "{used}");

    let user = login.on(Curl::new(ready, "/api2/json/access/users")?);
    let user = user.field("userid", "canary@pve").field("password", &planted.one("new user"));
    let user = user.send(home)?;
    ensure!(user.line == "HTTP/2 200", "{user}");
    Ok(login)
}

/// A place of a request where a secret can stand: as `SECRET`, or as `BASIC` in the form of
/// basic authentication.
struct Place {
    /// Sent with ticket and CSRF token, so that it gets as far as the API.
    session: bool,
    path: &'static str,
    /// Options of curl.
    options: &'static [(&'static str, &'static str)],
}

const JSON: (&str, &str) = ("header", "Content-Type: application/json");

#[rustfmt::skip]
const PLACES: &[Place] = &[
    // bodies
    Place { session: false, path: "/api2/json/access/ticket", options: &[("data", "username=root@pam&password=SECRET")] },
    Place { session: false, path: "/api2/json/access/ticket", options: &[("data", "username=root@pam&password=x&otp=SECRET")] },
    Place { session: false, path: "/api2/json/access/ticket",
        options: &[("data", "username=root@pam&tfa-challenge=PVE:!tfa!%7B%7D:6A0FA3B1::SECRET&password=totp:SECRET")] },
    Place { session: false, path: "/api2/json/access/ticket",
        options: &[JSON, ("data", "{\"username\":\"root@pam\",\"password\":\"SECRET\"}")] },
    Place { session: false, path: "/api2/json/access/ticket", options: &[JSON, ("data", "{\"password\":\"SECRET")] },
    Place { session: true, path: "/api2/json/access/password",
        options: &[("request", "PUT"), ("data", "userid=auditor@pve&password=SECRET&confirmation-password=SECRET")] },
    Place { session: true, path: "/api2/json/access/users", options: &[("data", "userid=nonsense&password=SECRET")] },
    // URLs
    Place { session: true, path: "/api2/json/nodes/pve1/qemu/100/vncwebsocket?port=5900&vncticket=PVEVNC:6A0FA3B1::SECRET",
        options: &[] },
    Place { session: true, path: "/api2/json/nodes/pve1/qemu/100/vncwebsocket?port=5900&vncticket=PVEVNC%3A6A0FA3B1%3A%3ASECRET",
        options: &[("header", "Upgrade: websocket"), ("header", "Connection: Upgrade")] },
    Place { session: false, path: "/api2/json/version?ticket=PVE:root@pam:6A0FA3B1::SECRET", options: &[] },
    Place { session: false, path: "/api2/json/access/ticket?username=root@pam&password=SECRET", options: &[("data", "")] },
    Place { session: false, path: "/api2/json/%ff%00?password=SECRET&a=b", options: &[] },
    Place { session: false, path: "/",
        options: &[("request-target", "https://root:SECRET@127.0.0.1/api2/json/version")] },
    // headers
    Place { session: false, path: "/api2/json/version", options: &[("header", "Cookie: PVEAuthCookie=PVE:root@pam:6A0FA3B1::SECRET")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Cookie: a=b;  session=xSECRET; c")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "aUtHoRiZaTiOn: PVEAPIToken=root@pam!ci=SECRET")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Authorization: PVEAuthCookie=SECRET")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Authorization: Bearer SECRET")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Authorization: Basic BASIC")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Proxy-Authorization: Basic BASIC")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "CSRFPreventionToken: 6A0FA3B1:SECRET")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "X-Auth-Token: \"a;SECRET\",b=\\c")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "X-Api-Key: \u{1}SECRET\u{7f}")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Authorization : Bearer SECRET")] },
    Place { session: false, path: "/api2/json/version", options: &[("header", "Transfer-Encoding: SECRET")] },
];

/// [`PLACES`] by both versions of HTTP, each with a secret of its own.
fn hostile(ready: &Ready, login: &Login, planted: &mut Planted) -> Result<Vec<Curl>> {
    let mut requests = Vec::new();
    for version in ["HTTP/1.1", "HTTP/2"] {
        for place in PLACES {
            let what = format!("{version} {} {:?}", place.path, place.options);
            let secret = planted.one(&what);
            let basic = STANDARD.encode(format!("root:{secret}"));
            let fill = |text: &str| text.replace("SECRET", &secret).replace("BASIC", &basic);
            let mut curl = Curl::new(ready, &fill(place.path))?;
            if version == "HTTP/1.1" {
                curl = curl.http1();
            }
            if place.session {
                curl = login.on(curl);
            }
            let options = place.options.iter();
            requests.push(options.fold(curl, |curl, (name, value)| curl.with(name, &fill(value))));
        }
    }
    Ok(requests)
}

/// `proxward api` with wrong credentials.
struct Call {
    arguments: Vec<String>,
    variable: Option<(&'static str, String)>,
    stdin: String,
}

/// Calls with wrong credentials, from files, environment and stdin, and mistakes made with
/// secrets: the one line that says so says no secret.
#[test]
fn nothing_comes_out_of_a_refused_call() -> Result<()> {
    let home = Home::new()?;
    let demo = Demo::start(&home)?;
    let ready = demo.ready.clone();
    let mut planted = Planted::default();
    let file = |planted: &mut Planted, name: &str, before: &str| -> Result<String> {
        let secret = planted.one(name);
        let path = home.private(&name.replace(' ', "-"), &format!("{before}{secret}\n"))?;
        Ok(path.display().to_string())
    };
    let at = ["--url", &ready.gate];
    let by_password = [at[0], at[1], "--user", &ready.user];
    let call = |server: &[&str], option: &str, value: &str| {
        let options = [option, value].into_iter().filter(|word| !word.is_empty());
        Call {
            arguments: server.iter().copied().chain(options).map(str::to_owned).collect(),
            variable: None,
            stdin: String::new(),
        }
    };

    let mut calls = vec![
        call(&by_password, "--password-file", &file(&mut planted, "password file", "")?),
        call(&at, "--token-file", &file(&mut planted, "token file", "root@pam!ci=")?),
        call(&at, "--token-file", &file(&mut planted, "malformed token file", "root@pam x ")?),
        call(&["--url"], &format!("https://root:{}@127.0.0.1:1", planted.one("userinfo")), ""),
    ];
    let stdin = format!("{}\n", planted.one("password on stdin"));
    calls.push(Call { stdin, ..call(&by_password, "--password-file", "-") });
    let variables = [
        (&by_password[..], "PROXWARD_PASSWORD", planted.one("password in the environment")),
        (&at, "PROXWARD_TOKEN", format!("root@pam!ci={}", planted.one("token in the environment"))),
        (&at, "PROXWARD_TOKEN", planted.one("malformed token in the environment")),
    ];
    for (server, name, value) in variables {
        calls.push(Call { variable: Some((name, value)), ..call(server, "", "") });
    }

    // A secret in a configuration file, in a place where it does not belong.
    for (name, line) in [("unknown key", "password = \"@\""), ("open string", "password = \"@")] {
        let text = format!("[gate]\n{}\n", line.replace('@', &planted.one(name)));
        let path = home.private("gate.toml", &text)?.display().to_string();
        let refused = finish(&mut home.proxward(&["gate", "--config", &path])?, "")?;
        ensure!(refused.code == Some(2), "{refused}");
        quiet(&planted, name, &refused)?;
    }
    at_once(&calls, |Call { arguments, variable, stdin }| {
        let mut command = home.proxward(&["api", "get", "/nodes", "--ca", ready.ca_text()?])?;
        command.args(arguments).envs(variable.clone());
        let refused = finish(&mut command, stdin)?;
        ensure!(matches!(refused.code, Some(2 | 3)), "{arguments:?}: {refused}");
        quiet(&planted, &arguments.join(" "), &refused)
    })?;
    demo.end(&home, "INT")?;
    Ok(())
}

/// Credentials of a call that is under way are in nothing that `/proc` shows of it.
#[test]
fn nothing_is_seen_of_a_running_call() -> Result<()> {
    let home = Home::new()?;
    let mut planted = Planted::default();
    let cases = [
        ("PROXWARD_PASSWORD", vec!["--user", "root@pam"], planted.one("password")),
        ("PROXWARD_TOKEN", vec![], format!("root@pam!ci={}", planted.one("token"))),
    ];
    for (variable, arguments, value) in cases {
        // Takes the call and never answers: the client stands in the middle of its work.
        let silent = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", silent.local_addr()?);
        let mut command = home.proxward(&["api", "get", "/nodes", "--url", &url])?;
        let running = Running::start(command.args(arguments).env(variable, value))?;
        silent.set_nonblocking(true)?;
        let Some((mut connection, _)) = until(END, || silent.accept().ok()) else {
            bail!("the call did not come\n{}", running.stderr());
        };
        connection.set_nonblocking(true)?;
        // The credentials have got through, or their absence elsewhere would prove nothing.
        let mut request = Vec::new();
        let arrived = until(END, || {
            let mut piece = [0; 4096];
            let length = connection.read(&mut piece).unwrap_or(0);
            request.extend_from_slice(piece.get(..length).unwrap_or_default());
            planted.search("request", &request).is_err().then_some(())
        });
        ensure!(arrived.is_some(), "{variable} is not in the request");
        let shown = processes::shown_of_group(running.pid())?;
        ensure!(!shown.is_empty(), "the running call is not seen");
        planted.search("/proc", &shown)?;
    }
    Ok(())
}

/// The mock takes its secrets from files; its log, and `/proc`, show none.
#[test]
fn nothing_comes_out_of_a_mock() -> Result<()> {
    let home = Home::new()?;
    let mut planted = Planted::default();
    let password = planted.one("password file");
    let password_file = home.private("password", &format!("{password}\n"))?;
    let csrf = STANDARD.encode(planted.one("CSRF secret"));
    let csrf_file = home.private("csrf", &format!("{csrf}\n"))?;
    let mut command = home.proxward(&["mock", "--no-tls", "--log", "trace", "--format", "json"])?;
    command.arg("--password-file").arg(password_file).arg("--csrf-secret").arg(csrf_file);
    command.env("PROXWARD_PASSWORD", planted.one("environment"));
    let mut mock = Running::start(&mut command)?;
    let line =
        mock.until("its ready line", |mock| Some(mock.stdout().split_once('\n')?.0.to_owned()))?;
    let ready: Value = serde_json::from_str(&line)?;
    let url = ready["url"].as_str().context("no url")?;

    let login = |password: &str| {
        let curl = Curl::plain(&format!("{url}/api2/json/access/ticket"));
        curl.field("username", "root@pam").field("password", password).send(&home)
    };
    let accepted = login(&password)?;
    ensure!(accepted.line == "HTTP/1.1 200 OK", "{accepted}");
    let refused = login(&planted.one("wrong password"))?;
    ensure!(refused.line.starts_with("HTTP/1.1 401 "), "{refused}");
    planted.search("/proc", &processes::shown_of_group(mock.pid())?)?;
    mock.signal("TERM")?;
    let ended = mock.wait(END)?.success()?;
    quiet(&planted, "mock", &ended)?;
    ensure!(home.left()?.is_empty(), "the mock left behind: {:?}", home.left()?);
    Ok(())
}

/// Does all of it side by side, because refused logins are delayed by three seconds each.
fn at_once<W: Sync, T: Send>(work: &[W], one: impl Fn(&W) -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let threads: Vec<_> = work.iter().map(|piece| scope.spawn(|| one(piece))).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|result| result.unwrap_or_else(|_| bail!("a thread has panicked"))).collect()
    })
}

fn quiet(planted: &Planted, what: &str, ended: &Ended) -> Result<()> {
    planted.search(&format!("stdout of {what}"), ended.stdout.as_bytes())?;
    planted.search(&format!("stderr of {what}"), ended.stderr.as_bytes())
}

fn mode(path: &Path) -> Result<u32> {
    Ok(std::fs::symlink_metadata(path)?.permissions().mode() & 0o777)
}
