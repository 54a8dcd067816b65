//! The six ways to fail a login, behind a real nginx: each is counted with the true address,
//! read by fail2ban, banned, and the bans outlast a kill.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::curl::{Curl, Reply};
use crate::front::{Front, is};
use crate::home::Home;
use crate::program::finish;

/// What each channel is called in the audit log, and the address that fails in it.
const CHANNELS: [(&str, &str); 6] = [
    ("json", "203.0.113.11"),
    ("extjs", "203.0.113.12"),
    ("tfa", "203.0.113.13"),
    ("openid", "203.0.113.14"),
    ("api_token", "203.0.113.15"),
    ("ticket", "2001:db8:7::1"),
];

/// Filters as they are in use, from the one that fail2ban ships to the one of old guides that
/// the account in a line could deceive.
const FILTERS: [&str; 3] = [
    r"^\s*\S+ pvedaemon\[\d+\]: authentication failure; rhost=<ADDR> user=\S+ msg=.*$",
    r"pvedaemon\[\d+\]: authentication failure; rhost=<HOST> user=.*",
    r"pvedaemon\[.*authentication failure; rhost=<HOST> user=.* msg=.*",
];

#[test]
fn six_of_six_channels_with_the_true_address() -> Result<()> {
    let home = Home::new()?;
    let log = home.scratch("auth.log");
    let login = "delay_seconds = 0\nlock_after = 1\nban_after = 1\nfailure_log = ";
    let mut front = Front::start(&home, &format!("{login}\"{}\"", log.display()))?;

    // Who has done nothing gets in.
    is(&front.from("203.0.113.9", "/api2/json/access/domains").send(&home)?, "HTTP/1.1 200 OK")?;
    for (channel, client) in CHANNELS {
        fail(&front, &home, channel, client)?;
    }
    // An account that would like to be a line of its own.
    let forged = "authentication failure; rhost=198.51.100.7 user=x msg=y";
    let request = front.from("203.0.113.17", "/api2/json/access/ticket");
    let answer = request.field("username", forged).field("password", "x").send(&home)?;
    is(&answer, "HTTP/1.1 401 authentication failure")?;

    let banned = banned(&front, &home)?;
    for (channel, client) in CHANNELS {
        let shown = if client.contains(':') { "2001:db8:7::/64" } else { client };
        ensure!(banned.iter().any(|address| address == shown), "{channel}: {banned:?}");
    }
    ensure!(banned.len() == 7, "nobody else is banned: {banned:?}");
    // Whoever is banned is refused like somebody with a ticket that is not valid.
    let refused = front.from(CHANNELS[0].1, "/api2/json/version").send(&home)?;
    is(&refused, "HTTP/1.1 401 Authentication failed!")?;

    // Acknowledged, so on the disk: a kill loses nothing.
    front.end_gate("KILL")?;
    front.start_gate(&home)?;
    let refused = front.from(CHANNELS[0].1, "/api2/json/access/domains").send(&home)?;
    is(&refused, "HTTP/1.1 401 Authentication failed!")?;
    ensure!(front.bans(&home, &["remove", CHANNELS[0].1])?.code == Some(0));
    ensure!(front.bans(&home, &["remove", CHANNELS[0].1])?.code == Some(1));
    let served = front.from(CHANNELS[0].1, "/api2/json/access/domains").send(&home)?;
    is(&served, "HTTP/1.1 200 OK")?;

    recorded(&front)?;
    for (number, filter) in FILTERS.iter().enumerate() {
        let found = fail2ban(&home, &log, number, filter)?;
        let mut expected: Vec<&str> = CHANNELS.iter().map(|(_, client)| *client).collect();
        expected.push("203.0.113.17");
        ensure!(found == expected, "filter {filter}: {found:?}");
    }
    front.end()?;
    println!("login-failure channels counted with the true address: 6/6");
    Ok(())
}

/// One failure in a channel.
fn fail(front: &Front, home: &Home, channel: &str, client: &str) -> Result<()> {
    let version = || front.from(client, "/api2/json/version");
    let wrong = |curl: Curl| curl.field("username", "root@pam").field("password", "wrong");
    let (request, line) = match channel {
        "json" => (
            wrong(front.from(client, "/api2/json/access/ticket")),
            "HTTP/1.1 401 authentication failure",
        ),
        "extjs" => (wrong(front.from(client, "/api2/extjs/access/ticket")), "HTTP/1.1 200 OK"),
        "tfa" => (second_step(front, home, client)?, "HTTP/1.1 401 authentication failure"),
        "openid" => (
            front
                .from(client, "/api2/json/access/openid/login")
                .field("state", "s")
                .field("code", "c")
                .field("redirect-url", "https://pve1:8006"),
            "HTTP/1.1 401 authentication failure",
        ),
        "api_token" => {
            let (id, _) = front.token.split_once('=').context("the token")?;
            let header = format!("Authorization: PVEAPIToken={id}={}", uuid());
            (version().with("header", &header), "HTTP/1.1 401 Authentication failed!")
        }
        _ => {
            let header = "Cookie: PVEAuthCookie=PVE:root@pam:6B00CE44::AAAA";
            (version().with("header", header), "HTTP/1.1 401 Authentication failed!")
        }
    };
    let answer = request.send(home)?;
    is(&answer, line).with_context(|| channel.to_owned())?;
    if channel == "extjs" {
        ensure!(answer.json()?["success"] == 0, "{answer}");
    }
    Ok(())
}

fn uuid() -> &'static str {
    "00000000-0000-4000-8000-000000000000"
}

/// The wrong answer to a challenge that a right password has led to.
fn second_step(front: &Front, home: &Home, client: &str) -> Result<Curl> {
    let token = format!("Authorization: PVEAPIToken={}", front.token);
    let user = front.direct("/api2/json/access/users").with("header", &token);
    let user = user.field("userid", "tina@pve").field("password", "tina-test-pw");
    is(&user.send(home)?, "HTTP/1.1 200 OK")?;
    let login = |curl: Curl| -> Result<Value> {
        let answer = curl.field("username", "tina@pve").field("password", "tina-test-pw");
        let answer: Reply = answer.send(home)?;
        is(&answer, "HTTP/1.1 200 OK")?;
        Ok(answer.json()?["data"].take())
    };
    let session = login(front.direct("/api2/json/access/ticket"))?;
    let text = |value: &Value, key: &str| value[key].as_str().map(str::to_owned).context("login");
    let enrol = front
        .direct("/api2/json/access/tfa/tina@pve")
        .with("header", &format!("Authorization: PVEAuthCookie={}", text(&session, "ticket")?))
        .with("header", &format!("CSRFPreventionToken: {}", text(&session, "CSRFPreventionToken")?))
        .field("type", "recovery")
        .field("password", "tina-test-pw");
    is(&enrol.send(home)?, "HTTP/1.1 200 OK")?;
    let challenge = login(front.from(client, "/api2/json/access/ticket"))?;
    ensure!(challenge["NeedTFA"] == 1, "{challenge}");
    Ok(front
        .from(client, "/api2/json/access/ticket")
        .field("username", "tina@pve")
        .field("tfa-challenge", &text(&challenge, "ticket")?)
        .field("password", "recovery:0000-0000-0000-0000"))
}

/// The addresses that the gate says are banned.
fn banned(front: &Front, home: &Home) -> Result<Vec<String>> {
    let ended = front.bans(home, &["list", "--format", "json"])?.success()?;
    let list: Value = serde_json::from_str(&ended.stdout)?;
    let bans = list["bans"].as_array().context("no bans")?;
    Ok(bans.iter().filter_map(|ban| ban["address"].as_str()).map(str::to_owned).collect())
}

/// Each failure, ban and its removal stands in the audit log, with its channel and address.
fn recorded(front: &Front) -> Result<()> {
    let text = std::fs::read_to_string(front.state.join("audit.jsonl"))?;
    let records: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    for (channel, client) in CHANNELS {
        for kind in ["login.failed", "ban.added"] {
            let found = records.iter().any(|record| {
                record["kind"] == kind && record["channel"] == channel && record["client"] == client
            });
            ensure!(found, "no {kind} of {channel}:\n{text}");
        }
    }
    let removed = records.iter().any(|r| r["kind"] == "ban.removed" && r["of"] == CHANNELS[0].1);
    ensure!(removed, "no removal:\n{text}");
    Ok(())
}

/// The addresses that fail2ban would ban, in the order of the lines.
fn fail2ban(home: &Home, log: &Path, number: usize, filter: &str) -> Result<Vec<String>> {
    let text = format!("[Definition]\nfailregex = {filter}\n");
    let file = home.private(&format!("filter{number}.conf"), &text)?;
    let mut command = home.command("fail2ban-regex");
    command.args(["-o", "ip"]).arg(log).arg(file);
    let ended = finish(&mut command, "")?.success()?;
    Ok(ended.stdout.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect())
}
