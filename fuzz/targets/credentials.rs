//! Tickets, CSRF and API tokens: what verifies says what was issued, to whom it was issued.
//!
//! The text is a credential by itself and, behind the first bytes, a change to genuine ones: at
//! the place of the first two bytes, as many bytes as the third says are replaced by it.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pve_access::csrf::CsrfSecret;
use pve_access::token::ApiToken;
use pve_access::{Keyring, SigningKey, ticket, user_cfg};
use secrets::SecretString;

const NOW: u64 = 1_795_215_443;
const USER: &str = "alice@pve";
const PATH: &str = "/vms/100";
const PORT: u16 = 5900;

struct Genuine {
    keys: Keyring,
    csrf: CsrfSecret,
    login: SecretString,
    console: SecretString,
    token: SecretString,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let key = SigningKey::generate().expect("an RSA key");
    let keys = Keyring::new(key, Vec::new()).expect("a ring of one");
    let console = ticket::issue_vnc(keys.signing(), USER, PATH, Some(PORT), NOW);
    let csrf = CsrfSecret::from_key_file(b"content of a key file");
    Genuine {
        login: ticket::issue(keys.signing(), USER, None, NOW).expect("a ticket"),
        console: console.expect("a console ticket"),
        token: csrf.issue(USER, NOW),
        csrf,
        keys,
    }
});

fuzz_target!(|input: (u16, u8, &str)| {
    let (at, removed, text) = input;
    let genuine = &*GENUINE;
    check_login(genuine, text, false);
    check_console(genuine, text, USER, PATH, Some(PORT), false);
    let changed = |original: &SecretString| spliced(original.expose(), at, removed, text);
    check_login(genuine, &changed(&genuine.login), true);
    check_console(genuine, &changed(&genuine.console), USER, PATH, Some(PORT), true);

    let mut words = text.split('\n');
    let (user, path) = (words.next().unwrap_or(USER), words.next().unwrap_or(PATH));
    let port = words.next().map_or(Some(PORT), |word| word.parse().ok());
    check_console(genuine, genuine.console.expose(), user, path, port, true);
    let bound = ticket::verify(&genuine.keys, genuine.login.expose(), Some(text), NOW);
    assert!(bound.is_err(), "a login ticket verifies as one bound to {text:?}");

    let token = changed(&genuine.token);
    for (token, user) in [(token.as_str(), USER), (text, USER), (genuine.token.expose(), user)] {
        if genuine.csrf.verify(token, user, NOW).is_ok() {
            assert!(genuine.token.same_as(token) && user == USER);
        }
    }
    check_api_token(text);
});

fn check_login(genuine: &Genuine, text: &str, may_verify: bool) {
    if let Ok(verified) = ticket::verify(&genuine.keys, text, None, NOW) {
        assert!(may_verify, "forged: {text:?}");
        assert_eq!((verified.payload.as_str(), verified.issued), (USER, NOW), "{text:?}");
    }
}

fn check_console(
    genuine: &Genuine,
    text: &str,
    user: &str,
    path: &str,
    port: Option<u16>,
    may_verify: bool,
) {
    if ticket::verify_vnc(&genuine.keys, text, user, path, port, NOW).is_ok() {
        assert!(may_verify, "forged: {text:?}");
        let path = user_cfg::normalize_path(path);
        assert_eq!((user, path.as_deref(), port), (USER, Some(PATH), Some(PORT)), "{text:?}");
    }
}

fn check_api_token(text: &str) {
    let Ok(token) = ApiToken::parse(text) else {
        return;
    };
    let (id, secret) = text.rsplit_once('=').expect("a token without secret was accepted");
    assert_eq!(token.id().to_string(), id);
    assert_eq!(token.matches(&SecretString::new(secret.to_owned())), !secret.is_empty());
    assert!(!token.matches(&SecretString::new(format!("{secret}x"))));
}

fn spliced(original: &str, at: u16, removed: u8, text: &str) -> String {
    let at = usize::from(at) % (original.len() + 1);
    let after = (at + usize::from(removed)).min(original.len());
    format!("{}{text}{}", &original[..at], &original[after..])
}
