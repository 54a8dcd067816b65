//! A tool's own ticket before a gate that can read the cluster's key, the mock behind it.

use anyhow::{Result, ensure};
use pve_access::SigningKey;
use pve_access::ticket::issue;
use serde_json::Value;
use telemetry::Clock;

use crate::front::{Front, is};
use crate::home::Home;
use crate::program::finish;

#[test]
fn a_tools_own_ticket_is_judged_before_it_goes_upstream() -> Result<()> {
    let home = Home::new()?;
    let (key, stranger) = (SigningKey::generate()?, SigningKey::generate()?);
    let file = home.scratch("authkey.pub");
    std::fs::write(&file, key.verify_key()?.to_pem())?;
    let known = file.display().to_string();
    let settings = format!(
        "delay_seconds = 0\n[gate.sessions]\ntickets = \"verify\"\nticket_key = \"{known}\"\n"
    );
    let mut front = Front::with_mock(&home, &["--verify-key", &known], &settings)?;
    front.start_gate(&home)?;
    let now = Clock::system().unix_secs();
    let ticket = |key: &SigningKey, user: &str, at| -> Result<String> {
        Ok(format!("Cookie: PVEAuthCookie={}", issue(key, user, None, at)?.expose()))
    };
    let version = |cookie: &str| {
        front.from("203.0.113.20", "/api2/json/version").with("header", cookie).send(&home)
    };
    is(&version(&ticket(&key, "root@pam", now)?)?, "HTTP/1.1 200 OK")?;
    // Signed, so that the mock says that there is no such user.
    is(&version(&ticket(&key, "ghost@pam", now)?)?, "HTTP/1.1 401 Authentication failed!")?;
    is(&version(&ticket(&key, "root@pam", now - 7200)?)?, "HTTP/1.1 401 Authentication failed!")?;
    is(&version(&ticket(&stranger, "root@pam", now)?)?, "HTTP/1.1 401 Authentication failed!")?;

    let text = std::fs::read_to_string(front.state.join("audit.jsonl"))?;
    let records = text.lines().map(serde_json::from_str);
    let records: Vec<Value> = records.collect::<Result<_, _>>()?;
    let failed = records.iter().filter(|record| record["kind"] == "login.failed");
    ensure!(failed.filter(|record| record["channel"] == "ticket").count() == 3, "{text}");

    let mut check = home.proxward(&["gate", "check", "--format", "json", "--state"])?;
    check.arg(&front.state);
    let report: Value = serde_json::from_str(&finish(&mut check, "")?.stdout)?;
    ensure!(report["gate"]["tickets"]["verified_by"] == "gate", "{report}");
    front.end()
}
