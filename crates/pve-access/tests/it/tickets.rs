use pve_access::csrf::{CsrfError, CsrfSecret};
use pve_access::ticket::{TicketError, verify_challenge, verify_user, verify_vnc};
use pve_access::{ClusterKeys, DatedKey, Keyring, SigningKey, VerifyKey};
use serde_json::Value;

use crate::shared::{golden_answer, json, string};

fn ring(fixture: &Value) -> Keyring {
    let recorded = VerifyKey::from_pem(string(fixture, "authkey_pub_pem")).unwrap();
    Keyring::new(SigningKey::generate().unwrap(), vec![recorded]).unwrap()
}

#[test]
fn tickets_of_the_recorded_server() {
    let Some(fixture) = json("golden/ticket-vectors.json") else {
        return;
    };
    let (ring, now) = (ring(&fixture), fixture["generated_at_epoch"].as_u64().unwrap());
    // Whether the account may be used is not the ticket's matter.
    let expected = [
        ("ok", Ok(("alice@pve", 0))),
        ("aged300", Ok(("alice@pve", 300))),
        ("future290", Ok(("alice@pve", -290))),
        ("deleted", Ok(("ghost@pve", 0))),
        ("disabled", Ok(("dave@pve", 0))),
        ("tampered", Err(TicketError::Signature)),
        ("expired", Err(TicketError::Expired(7300))),
        ("future400", Err(TicketError::Future(-400))),
    ];
    for (name, expected) in expected {
        let text = string(&fixture["vectors"], name);
        let got = verify_user(&ring, text, now).map(|(user, age)| (user.to_string(), age));
        assert_eq!(got, expected.map(|(user, age)| (user.to_owned(), age)), "{name}");
    }
}

#[test]
fn a_rotated_key_of_the_recorded_server_is_good_for_its_time() {
    let Some(fixture) = json("golden/ticket-vectors.json") else {
        return;
    };
    let (pem, now) = (string(&fixture, "authkey_pub_pem"), fixture["generated_at_epoch"].as_u64());
    let (recorded, now) = (VerifyKey::from_pem(pem).unwrap(), now.unwrap());
    let next = SigningKey::generate().unwrap().verify_key().unwrap();
    let dated = |key: &VerifyKey, changed| DatedKey { key: key.clone(), changed };
    // When the recorded key was replaced, what is asked, and whether its ticket is good then.
    let cases = [
        (now + 60, now + 60, "ok", true),
        (now + 60, now + 7199, "ok", true),
        (now - 299, now, "ok", true),
        (now - 300, now, "ok", false),
        (now - 300, now, "aged300", true),
        (now - 300, now, "tampered", false),
    ];
    for (replaced, at, name, good) in cases {
        let keys = ClusterKeys::new(dated(&next, replaced), Some(dated(&recorded, replaced)));
        let verified = verify_user(&keys, string(&fixture["vectors"], name), at);
        assert_eq!(verified.is_ok(), good, "{name} {verified:?}");
    }
}

#[test]
fn console_tickets_of_the_recorded_server() {
    let Some(fixture) = json("golden/ticket-vectors.json") else {
        return;
    };
    let (ring, now) = (ring(&fixture), fixture["generated_at_epoch"].as_u64().unwrap());
    for (name, user, path, port) in CONSOLES {
        let text = string(&fixture["vectors"], name);
        assert_eq!(verify_vnc(&ring, text, user, path, port, now), Ok(0), "{name}");
        let with_password = format!("12345678:{text}");
        assert_eq!(verify_vnc(&ring, &with_password, user, path, port, now), Ok(0), "{name}");
        let elsewhere = verify_vnc(&ring, text, user, "/vms/100", port, now);
        assert_eq!(elsewhere, Err(TicketError::Signature), "{name}");
    }
}

/// Vector, and the user, path and port it was made for.
const CONSOLES: [(&str, &str, &str, Option<u16>); 3] = [
    ("vnc_ok_port", "ops@pve", "/nodes/pve1", Some(5901)),
    ("vnc_noport", "ops@pve", "/nodes/pve1", None),
    ("vnc_other", "ops@pve", "/vms/999", Some(5901)),
];

#[test]
fn csrf_tokens_of_the_recorded_server() {
    let Some(fixture) = json("golden/ticket-vectors.json") else {
        return;
    };
    let now = fixture["generated_at_epoch"].as_u64().unwrap();
    let secret = CsrfSecret::from_text(string(&fixture, "csrf_secret").into());
    let cases = [
        ("csrf_ops", "ops@pve", Ok(())),
        ("csrf_ops", "alice@pve", Err(CsrfError::Mac)),
        ("csrf_other", "ops@pve", Err(CsrfError::Mac)),
        ("csrf_expired", "ops@pve", Err(CsrfError::Expired(7300))),
        ("csrf_expired_day", "ops@pve", Err(CsrfError::Expired(86_500))),
    ];
    for (name, user, expected) in cases {
        let token = string(&fixture["vectors"], name);
        assert_eq!(secret.verify(token, user, now), expected, "{name}");
    }
    let issued = secret.issue("ops@pve", now);
    assert_eq!(issued.expose(), string(&fixture["vectors"], "csrf_ops"));
}

#[test]
fn a_recorded_challenge_is_good_for_the_login_only() {
    let vectors = json("golden/ticket-vectors.json");
    let (Some(vectors), Some(answer)) = (vectors, golden_answer("tfa-login-challenge")) else {
        return;
    };
    let (ring, text) = (ring(&vectors), string(&answer["data"], "ticket"));
    // 6B00CF36, its time.
    let (now, user) = (1_795_215_158, "tina@pve".parse().unwrap());
    let challenge = verify_challenge(&ring, text, &user, now).unwrap();
    assert_eq!(challenge, r#"{"totp":true,"recovery":[0,1,2,3,4,5,6,7,8,9]}"#);
    assert_eq!(verify_user(&ring, text, now), Err(TicketError::Signature));
}
