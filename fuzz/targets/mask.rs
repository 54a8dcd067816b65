//! Masking: a planted secret never survives, whatever stands around it, and masking twice
//! changes nothing.
//!
//! The first two bytes choose name and form of the secret, the text is split at a NUL into what
//! stands before and behind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secrets::mask;
use serde_json::json;

const SECRET: &str = "CANARY";

const NAMES: [&str; 12] = [
    "password",
    "PASSWORD",
    "new-password",
    "secret",
    "otp",
    "vncticket",
    "ticket",
    "token",
    "api_key",
    "CSRFPreventionToken",
    "tfa-challenge",
    "PVEAuthCookie",
];

const HEADERS: [&str; 6] =
    ["Authorization", "Cookie", "Set-Cookie", "CSRFPreventionToken", "Referer", "Host"];

fuzz_target!(|input: (u8, u8, &str)| {
    let (name, form, text) = input;
    let name = NAMES[usize::from(name) % NAMES.len()];
    if text.contains(SECRET) {
        return;
    }
    let (before, after) = text.split_once('\0').unwrap_or((text, ""));

    let line = format!("{before}\n{}\n{after}", planted(name, form));
    let masked = mask::text(&line);
    assert!(!masked.contains(SECRET), "{line:?} -> {masked:?}");

    // As a body: what a client wrote into other members can not uncover this one.
    let mut value = json!({"a": before, name: SECRET, "z": after});
    let line = value.to_string();
    let masked = mask::text(&line);
    assert!(!masked.contains(SECRET), "{line} -> {masked}");
    mask::json(&mut value);
    assert!(!value.to_string().contains(SECRET), "{line} -> {value}");
    let once = value.clone();
    mask::json(&mut value);
    assert_eq!(value, once);

    for hide in [mask::text, mask::url] {
        let once = hide(text).into_owned();
        assert_eq!(hide(&once), once, "{text:?}");
    }
    let header = HEADERS[usize::from(form) % HEADERS.len()];
    let once = mask::header(header, text).into_owned();
    assert_eq!(mask::header(header, &once), once, "{header}: {text:?}");
});

/// A secret in one of the forms that logs have.
fn planted(name: &str, form: u8) -> String {
    match form % 12 {
        0 => format!("{name}={SECRET}"),
        1 => format!("{name}: {SECRET}"),
        2 => format!("{name}=\"two words {SECRET}\""),
        3 => format!("username=root%40pam&{name}={SECRET}&realm=pam"),
        4 => format!("pvesh set /x --{name} {SECRET} --force 1"),
        5 => format!("Authorization: Bearer {SECRET}"),
        6 => format!("Cookie: a=b; {name}={SECRET}; c=d"),
        7 => format!("got PVE:root@pam:65A1B2C3::{SECRET}+/="),
        8 => format!("as root@pam!ci={SECRET}"),
        9 => format!("from https://root:{SECRET}@pve1:8006/"),
        10 => format!("'{name}': '{SECRET}'"),
        _ => format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"),
    }
}
