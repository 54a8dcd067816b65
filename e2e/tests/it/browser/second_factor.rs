//! Logging in with a code, and showing one to the gate before a call that asks for it.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::chromium::{Chromium, is_installed};
use super::interface::{is_in, log_in};
use super::page::Page;
use super::stand::Stand;
use crate::home::Home;
use crate::program::finish;

const USER: &str = "tina@pve";
const PASSWORD: &str = "seven-small-stones";
/// The secret of RFC 6238 appendix B.
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const STEP_UP: &str =
    "[[gate.policy.step_up]]\nmethods = [\"POST\"]\npath = \"/nodes/*/qemu/*/status/shutdown\"\n";
/// RFC 6238 by somebody else: arguments are the secret, and how many steps later.
const CODE: &str = "import base64, hmac, struct, sys, time\n\
    count = int(time.time()) // 30 + int(sys.argv[2])\n\
    mac = hmac.new(base64.b32decode(sys.argv[1]), struct.pack('>Q', count), 'sha1').digest()\n\
    at = mac[-1] & 15\n\
    print('%06d' % ((struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 10 ** 6))\n";

fn code(home: &Home, secret: &str, later: &str) -> Result<String> {
    let ended = finish(home.command("python3").args(["-", secret, later]), CODE)?.success()?;
    Ok(ended.stdout.trim().to_owned())
}

#[test]
fn a_code_is_asked_for_at_the_login_and_before_named_calls() -> Result<()> {
    if !is_installed() {
        return Ok(());
    }
    let stand = Stand::start("", STEP_UP)?;
    stand.api("POST", "/access/users", &[("userid", USER), ("password", PASSWORD)])?;
    stand.api(
        "PUT",
        "/access/acl",
        &[("path", "/"), ("roles", "Administrator"), ("users", USER)],
    )?;
    let chromium = Chromium::start(&stand.home, &stand.keys)?;
    let page = chromium.page()?;
    page.open(&stand.url)?;
    log_in(&page, USER, "wrong")?;
    let told = "document.querySelector('#login [role=alert]').textContent.includes('failure')";
    page.until("the refusal", told)?;
    log_in(&page, USER, PASSWORD)?;
    is_in(&page, USER)?;
    enroll(&stand.home, &page)?;
    page.click("#logout")?;

    log_in(&page, USER, PASSWORD)?;
    answer(&page, "000000")?;
    page.until("the refusal", told)?;
    log_in(&page, USER, PASSWORD)?;
    // The one of the enrolment was used.
    answer(&page, &code(&stand.home, SECRET, "1")?)?;
    is_in(&page, USER)?;
    // A wrong password and a wrong code; stock's own 401s.
    page.nothing_wrong_but(&["401"])?;
    a_code_is_shown_to_the_gate(&stand, &page)?;
    page.nothing_wrong_but(&["403"])?;
    chromium.end()?;
    stand.end()
}

/// Adds an app, as the interface's own dialog does.
fn enroll(home: &Home, page: &Page) -> Result<()> {
    let parameters = json!({
        "type": "totp", "description": "app", "password": PASSWORD, "value": code(home, SECRET, "0")?,
        "totp": format!("otpauth://totp/pve:tina?secret={SECRET}"),
    });
    let call = format!(
        "fetch('/api2/json/access/tfa/{USER}', {{ method: 'POST', \
         headers: {{ CSRFPreventionToken: Proxmox.CSRFPreventionToken }}, \
         body: new URLSearchParams({parameters}) }}).then(({{ status }}) => status)"
    );
    let status = page.js(&call)?;
    ensure!(status == 200, "the code is not taken: {status}");
    Ok(())
}

fn answer(page: &Page, code: &str) -> Result<()> {
    page.fill("#second-factor input", code)?;
    page.click("#second-factor button")
}

fn a_code_is_shown_to_the_gate(stand: &Stand, page: &Page) -> Result<()> {
    let address = stand.operate(&["step-up", "enroll", USER])?;
    let secret = address.split("secret=").nth(1).context("a secret")?;
    let end = secret.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(secret.len());
    let secret = secret.get(..end).unwrap_or_default();

    let guest = "[id='qemu/100']";
    page.click(&format!("{guest} button"))?;
    let told = "document.querySelector('#message').textContent.includes('/proxward/api/step-up')";
    page.until("the gate's question", told)?;
    let show = |otp: &str| {
        page.js(&format!(
            "fetch('/proxward/api/step-up', {{ method: 'POST', body: JSON.stringify({{ otp: '{otp}' }}), \
             headers: {{ 'Content-Type': 'application/json', \
             CSRFPreventionToken: Proxmox.CSRFPreventionToken }} }}).then(({{ status }}) => status)"
        ))
    };
    ensure!(show("000000")? == 403, "a wrong code is taken");
    let status = show(&code(&stand.home, secret, "0")?)?;
    ensure!(status == 200, "the code is not taken: {status}");
    page.click(&format!("{guest} button"))?;
    page.until("its end", &format!("document.querySelector(\"{guest} .stopped\")")).map(drop)
}
