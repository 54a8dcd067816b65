//! Enrolling second factors and logging in with them.

use mock::Seed;
use secrets::SecretString;
use serde_json::{Value, json};

use crate::client::{Answer, Pve, entry};

const TFA: &str = "/access/tfa/tina@pve";
const PASSWORD: (&str, &str) = ("password", "tina-test-pw");
/// The secret of RFC 6238 appendix B, and its codes in the step of the start and the next two.
const URI: &str = "otpauth://totp/pve:tina?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
const CODES: [&str; 3] = ["527227", "216799", "244314"];

fn pve() -> Pve {
    let mut seed = Seed::empty();
    seed.user_cfg += "user:tina@pve:1:0::::::\nuser:bob@pve:1:0::::::\n";
    let users = [("tina@pve", "tina-test-pw"), ("bob@pve", "bob-test-pw")];
    seed.passwords.extend(users.map(|(id, text)| (id.to_owned(), SecretString::from(text))));
    Pve::instant(seed)
}

fn login(pve: &Pve, parameters: &[(&str, &str)]) -> Answer {
    let parameters = [&[("username", "tina@pve")], parameters].concat();
    pve.call_with("", "POST", "/access/ticket", &parameters)
}

/// The headers of a login.
fn session(answer: &Value) -> String {
    format!(
        "Authorization: PVEAuthCookie={}\r\nCSRFPreventionToken: {}\r\n",
        answer["ticket"].as_str().unwrap(),
        answer["CSRFPreventionToken"].as_str().unwrap()
    )
}

/// Adds a time-based entry and recovery keys; returns the headers of the session, the id of the
/// entry and the keys.
fn enrolled(pve: &Pve) -> (String, String, Vec<String>) {
    let session = session(&login(pve, &[PASSWORD]).data());
    let parameters =
        [("type", "totp"), ("description", "phone"), ("totp", URI), ("value", CODES[0]), PASSWORD];
    let totp = pve.call_with(&session, "POST", TFA, &parameters).data();
    let keys = pve.call_with(&session, "POST", TFA, &[("type", "recovery"), PASSWORD]).data();
    let keys = serde_json::from_value(keys["recovery"].clone()).unwrap();
    (session, totp["id"].as_str().unwrap().to_owned(), keys)
}

fn challenge(pve: &Pve) -> String {
    let answer = login(pve, &[PASSWORD]).data();
    assert_eq!((&answer["NeedTFA"], &answer["cap"]), (&json!(1), &Value::Null));
    answer["ticket"].as_str().unwrap().to_owned()
}

fn answers(pve: &Pve, challenge: &str, answer: &str) -> Answer {
    login(pve, &[("tfa-challenge", challenge), ("password", answer)])
}

#[test]
fn a_code_answers_a_challenge_once() {
    let pve = pve();
    enrolled(&pve);
    let challenge = challenge(&pve);
    assert!(
        challenge.starts_with(r#"PVE:!tfa!{"totp"%3Atrue,"recovery"%3A[0,1,2,3"#),
        "{challenge}"
    );
    let code = format!("totp:{}", CODES[1]);
    let answer = answers(&pve, &challenge, &code).data();
    assert!(answer["ticket"].as_str().unwrap().starts_with("PVE:tina@pve:"));
    assert!(answer["cap"].is_object() && answer.get("NeedTFA").is_none());
    for wrong in [code.as_str(), CODES[1], "totp:", "tina-test-pw"] {
        let refused = answers(&pve, &challenge, wrong);
        assert_eq!((refused.status, refused.reason.as_str()), (401, "authentication failure"));
    }
}

#[test]
fn a_challenge_is_no_ticket_and_lives_as_long_as_one() {
    let pve = pve();
    let (_, _, keys) = enrolled(&pve);
    let challenge = challenge(&pve);
    let cookie = format!("Authorization: PVEAuthCookie={challenge}\r\n");
    assert_eq!(pve.call_with(&cookie, "GET", "/version", &[]).status, 401);
    assert_eq!(login(&pve, &[("password", &challenge)]).status, 401);
    let recovery = |key: &str| format!("recovery:{key}");
    let key = recovery(&keys[0]);
    let of_bob =
        [("username", "bob@pve"), ("tfa-challenge", challenge.as_str()), ("password", &key)];
    assert_eq!(pve.call_with("", "POST", "/access/ticket", &of_bob).status, 401);
    pve.advance(7199);
    assert_eq!(answers(&pve, &challenge, &key).status, 200);
    pve.advance(1);
    assert_eq!(answers(&pve, &challenge, &recovery(&keys[1])).status, 401);
}

#[test]
fn a_code_beside_the_password_needs_no_challenge() {
    let pve = pve();
    // Without factors it is not looked at.
    assert_eq!(login(&pve, &[PASSWORD, ("otp", "1")]).status, 200);
    enrolled(&pve);
    assert_eq!(login(&pve, &[PASSWORD, ("otp", CODES[1])]).status, 401);
    let code = format!("totp:{}", CODES[1]);
    assert_eq!(login(&pve, &[("password", "other"), ("otp", &code)]).status, 401);
    let answer = login(&pve, &[PASSWORD, ("otp", &code)]).data();
    assert!(answer["cap"].is_object());
    let (challenge, code) = (challenge(&pve), format!("totp:{}", CODES[2]));
    pve.advance(60);
    let both = [("tfa-challenge", challenge.as_str()), ("password", &code), ("otp", &code)];
    assert_eq!(login(&pve, &both).status, 401);
    assert_eq!(login(&pve, &both[..2]).status, 200);
}

#[test]
fn an_older_session_renews_its_ticket_without_a_factor() {
    let pve = pve();
    let before = login(&pve, &[PASSWORD]).data();
    enrolled(&pve);
    let renewed = login(&pve, &[("password", before["ticket"].as_str().unwrap())]).data();
    assert!(renewed["cap"].is_object());
}

#[test]
fn locked_codes_show_in_both_lists_until_an_administrator_unlocks_them() {
    let pve = pve();
    enrolled(&pve);
    let challenge = challenge(&pve);
    for _ in 0..8 {
        assert_eq!(answers(&pve, &challenge, "totp:000000").status, 401);
    }
    for list in ["/access/users", "/access/users?full=1", "/access/tfa"] {
        let list = pve.get(list).data();
        assert_eq!(entry(&list, "userid", "tina@pve")["totp-locked"], json!(1), "{list}");
    }
    let unlock = || pve.put("/access/users/tina@pve/unlock-tfa", &[]);
    assert_eq!((unlock().data(), unlock().data()), (json!(1), json!(0)));
    assert_eq!(answers(&pve, &challenge, &format!("totp:{}", CODES[1])).status, 200);
    assert_eq!(pve.put("/access/users/bob@pve/unlock-tfa", &[]).died(), "no such challenge");
}

#[test]
fn changes_take_the_password_and_no_token() {
    let pve = pve();
    let (session, id, _) = enrolled(&pve);
    let path = format!("{TFA}/{id}");
    let change = |parameters: &[(&str, &str)]| pve.call_with(&session, "PUT", &path, parameters);
    assert_eq!(change(&[]).wrong("password"), "password is required to modify user");
    assert_eq!(change(&[("password", "wrong")]).died(), "invalid credentials");
    assert_eq!(change(&[PASSWORD, ("enable", "0"), ("description", "old")]).status, 200);
    let entry = pve.get(&path).data();
    assert_eq!((&entry["enable"], &entry["description"]), (&json!(0), &json!("old")));
    assert_eq!(pve.put(&path, &[PASSWORD]).status, 403);
    let other = pve.call_with(&session, "PUT", "/access/tfa/root@pam/x", &[PASSWORD]);
    assert_eq!(other.status, 403);
    let missing = pve.get(&format!("{TFA}/x"));
    assert_eq!((missing.status, missing.reason.as_str()), (404, "No such tfa entry 'x'"));
}

#[test]
fn refused_entries_leave_no_factor() {
    let pve = pve();
    let session = session(&login(&pve, &[PASSWORD]).data());
    let add = |parameters: &[(&str, &str)]| {
        pve.call_with(&session, "POST", TFA, &[&[PASSWORD], parameters].concat()).died()
    };
    let table = [
        (&[("type", "totp")][..], "'description' is required for new entries"),
        (
            &[("type", "totp"), ("description", "a"), ("totp", URI)],
            "'totp' type requires both 'totp' and 'value' parameters",
        ),
        (
            &[("type", "totp"), ("description", "a"), ("totp", URI), ("value", "000000")],
            "failed to verify TOTP challenge",
        ),
        (
            &[("type", "recovery"), ("value", "1")],
            "generating recovery tokens does not allow additional parameters",
        ),
        (&[("type", "webauthn"), ("description", "a")], "no webauthn configuration available"),
        (&[("type", "yubico")], "no yubico otp configuration available for realm pve"),
    ];
    for (parameters, text) in table {
        assert_eq!(add(parameters), text);
    }
    assert_eq!(pve.get("/access/tfa").data(), json!([]));
    assert!(login(&pve, &[PASSWORD]).data()["cap"].is_object());
}

#[test]
fn the_last_entry_and_the_user_take_the_question_with_them() {
    let pve = pve();
    let (session, id, _) = enrolled(&pve);
    let password = "password=tina-test-pw";
    assert_eq!(pve.get("/access/users/tina@pve").data()["keys"], json!("x"));
    for id in [id.as_str(), "recovery"] {
        let path = format!("{TFA}/{id}?{password}");
        assert_eq!(pve.call_with(&session, "DELETE", &path, &[]).status, 200);
        let again = pve.call_with(&session, "DELETE", &path, &[]);
        assert_eq!(again.died(), "no such entry");
    }
    assert_eq!(pve.get("/access/users/tina@pve").data()["keys"], Value::Null);
    assert!(login(&pve, &[PASSWORD]).data()["cap"].is_object());
    enrolled(&pve);
    assert_eq!(pve.delete("/access/users/tina@pve").status, 200);
    assert_eq!(pve.get("/access/tfa").data(), json!([]));
}
