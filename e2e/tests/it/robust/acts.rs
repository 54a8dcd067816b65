//! What the gate has to remember: a ban and a logout that somebody was told of.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::client::{Answer, Client};
use super::process::Files;

/// `ban` and the address, or `logout` and the value that stood for the session.
pub(super) type Act = (&'static str, String);

/// A user that can log in.
pub(super) fn user(address: &str, token: &str) -> Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(address)?;
    let body = "userid=k@pve&password=killed-not";
    write!(
        stream,
        "POST /api2/json/access/users HTTP/1.1\r\nConnection: close\r\n\
         Authorization: PVEAPIToken={token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.contains(" 200 OK"), "{answer}");
    Ok(())
}

/// Lets an address fail until it is banned, which with `ban_after = 1` is once.
pub(super) fn ban(files: &Files, client: &str) -> Result<Act> {
    let answer = login(files, &format!("X-Forwarded-For: {client}\r\n"), "wrong")?;
    ensure!(answer.status == 401, "{answer:?}");
    Ok(("ban", client.to_owned()))
}

/// A login that is ended.
pub(super) fn logout(files: &Files) -> Result<Act> {
    let (ticket, answer) = try_logout(files)?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(("logout", ticket))
}

/// A login and the answer to its end.
pub(super) fn try_logout(files: &Files) -> Result<(String, Answer)> {
    let answer = login(files, "", "killed-not")?;
    let body: Value = serde_json::from_str(&answer.body)?;
    let text = |key: &str| body["data"][key].as_str().map(str::to_owned).context("a login");
    let (ticket, csrf) = (text("ticket")?, text("CSRFPreventionToken")?);
    let request = format!(
        "POST /proxward/logout HTTP/1.1\r\nHost: a\r\nCookie: PVEAuthCookie={ticket}\r\n\
         CSRFPreventionToken: {csrf}\r\nContent-Length: 0\r\n\r\n"
    );
    Ok((ticket, Client::connect(files)?.ask(&request)?))
}

fn login(files: &Files, lines: &str, password: &str) -> Result<Answer> {
    let body = format!("username=k%40pve&password={password}");
    let length = body.len();
    Client::connect(files)?.ask(&format!(
        "POST /api2/json/access/ticket HTTP/1.1\r\nHost: a\r\n{lines}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

/// Whether what was acknowledged still holds.
pub(super) fn in_force(files: &Files, (kind, what): &Act) -> Result<()> {
    let (line, path) = match *kind {
        "ban" => (format!("X-Forwarded-For: {what}"), "/api2/json/access/domains"),
        _ => (format!("Cookie: PVEAuthCookie={what}"), "/api2/json/nodes"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
    let answer = Client::connect(files)?.ask(&request)?;
    ensure!(answer.status == 401, "{kind} {what} is not in force: {answer:?}");
    Ok(())
}
