//! `proxward api` against a demo: answers on stdout, one line and the right code on failure.

use std::ffi::OsStr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use telemetry::Clock;
use tls::Authority;

use crate::demo::Demo;
use crate::failures::{one_line, unused_address};
use crate::home::Home;
use crate::program::{Ended, finish};

#[test]
fn answers_and_refusals() -> Result<()> {
    let home = Home::new()?;
    let demo = Demo::start(&home)?;
    let session = Session { home: &home, demo: &demo };
    tables_and_json(&session)?;
    tokens(&session)?;
    refusals(&session)?;
    demo.end(&home, "INT")?;
    Ok(())
}

/// Calls as `root@pam` by password.
struct Session<'t> {
    home: &'t Home,
    demo: &'t Demo,
}

impl Session<'_> {
    /// `api VERB PATH` with the demo's address, authority and password, then `more`.
    fn call(&self, words: &[&str]) -> Result<Ended> {
        let ready = &self.demo.ready;
        let mut command = self.at_demo(words)?;
        command.args(["--user", &ready.user, "--password-file"]).arg(&ready.password_file);
        finish(&mut command, "")
    }

    /// With a token in a file instead.
    fn call_by_token(&self, words: &[&str], token: &str) -> Result<Ended> {
        let file = self.home.private("token", &format!("{token}\n"))?;
        finish(self.at_demo(words)?.arg("--token-file").arg(file), "")
    }

    fn at_demo(&self, words: &[&str]) -> Result<std::process::Command> {
        let ready = &self.demo.ready;
        let mut command = self.home.proxward(&["api"])?;
        command.args(words).args(["--url", &ready.gate]).arg("--ca").arg(&ready.ca);
        Ok(command)
    }
}

fn tables_and_json(session: &Session<'_>) -> Result<()> {
    let nodes = session.call(&["get", "/nodes"])?.success()?;
    let first_words: Vec<_> =
        nodes.stdout.lines().map(|line| line.split_whitespace().next().unwrap_or("")).collect();
    ensure!(first_words == ["node", "pve1", "pve2", "pve3"], "not the table of the nodes\n{nodes}");
    ensure!(nodes.stderr.is_empty(), "{nodes}");

    let nodes = session.call(&["get", "/nodes", "--format", "json"])?.success()?;
    let data: Value = serde_json::from_str(&nodes.stdout).with_context(|| nodes.to_string())?;
    let rows = data.as_array().context("not a list")?;
    let mut names: Vec<_> = rows.iter().filter_map(|row| row["node"].as_str()).collect();
    names.sort_unstable();
    ensure!(names == ["pve1", "pve2", "pve3"], "{nodes}");

    // A parameter, and a leading slash that is not needed.
    let guests =
        session.call(&["get", "cluster/resources", "-d", "type=vm", "--format", "json"])?;
    let data: Value = serde_json::from_str(&guests.success()?.stdout)?;
    let kinds = data.as_array().context("not a list")?.iter().map(|row| row["type"].as_str());
    ensure!(kinds.clone().count() == 12, "not the guests of the cluster: {data}");
    ensure!(kinds.flatten().all(|kind| ["qemu", "lxc"].contains(&kind)), "{data}");

    let names = session.call(&["ls", "/nodes"])?.success()?;
    ensure!(names.stdout == "pve1\npve2\npve3\n", "{names}");

    let help = finish(&mut session.home.proxward(&["api", "get", "--help"])?, "")?.success()?;
    ensure!(help.stdout.contains("--password-file"), "{help}");
    Ok(())
}

/// Creating, using, changing and deleting through the four verbs; a token without rights of its
/// own is denied.
fn tokens(session: &Session<'_>) -> Result<()> {
    let path = format!("/access/users/{}/token/e2e", session.demo.ready.user);
    let created = session.call(&["create", &path, "-d", "privsep=1", "--format", "json"])?;
    let created: Value = serde_json::from_str(&created.success()?.stdout)?;
    let text = |key: &str| created[key].as_str().with_context(|| format!("no {key}"));
    let token = format!("{}={}", text("full-tokenid")?, text("value")?);

    session.call_by_token(&["get", "/version"], &token)?.success()?;
    let denied = session.call_by_token(&["get", "/nodes/pve1/status"], &token)?;
    one_line(&denied, 3, &["Permission check failed", "/nodes/pve1"])?;

    session.call(&["set", &path, "-d", "privsep=0"])?.success()?;
    session.call_by_token(&["get", "/nodes/pve1/status"], &token)?.success()?;
    session.call(&["delete", &path])?.success()?;
    let deleted = session.call_by_token(&["get", "/version"], &token)?;
    one_line(&deleted, 3, &["authentication refused"])
}

fn refusals(session: &Session<'_>) -> Result<()> {
    let home = session.home;
    let unknown = session.call(&["get", "/nope"])?;
    one_line(&unknown, 6, &["501", "Method 'GET /nope' not implemented"])?;
    let parameter = session.call(&["get", "/nodes/pve1/tasks", "-d", "limit=many"])?;
    one_line(&parameter, 6, &["400", "Parameter verification failed", "limit: "])?;

    let ready = &session.demo.ready;
    let wrong = home.private("wrong", "not the password\n")?;
    let call = |url: &str, ca: &OsStr, password_file: &OsStr| -> Result<Ended> {
        let mut command = home.proxward(&["api", "get", "/nodes", "--url", url, "--ca"])?;
        command.arg(ca).args(["--user", &ready.user, "--password-file"]).arg(password_file);
        finish(&mut command, "")
    };
    let (ca, password) = (ready.ca.as_os_str(), ready.password_file.as_os_str());
    one_line(&call(&ready.gate, ca, wrong.as_os_str())?, 3, &["authentication refused"])?;

    let foreign = Authority::generate("another", Clock::system().unix())?;
    let foreign = home.private("foreign.pem", foreign.certificate_pem())?;
    one_line(&call(&ready.gate, foreign.as_os_str(), password)?, 4, &["--ca FILE"])?;

    let nobody = format!("https://{}", unused_address()?);
    one_line(&call(&nobody, ca, password)?, 4, &["no connection", "--url"])
}
