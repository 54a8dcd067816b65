//! `GET /`: a page of our own with the variables that scripts read out of the genuine one
//! (`get_index`): node, language, and with a valid cookie the user and a fresh CSRF token.

use crate::auth;
use crate::shared::Shared;
use crate::wire::{Head, Payload, Response};

/// The page; `{…}` are replaced once each.
const PAGE: &str = r#"<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{node} - Proxmox Virtual Environment (mock)</title>
<link rel="icon" href="/favicon.ico">
<script>
Proxmox = {
    Setup: { auth_cookie_name: 'PVEAuthCookie' },
    defaultLang: '{lang}',
    NodeName: '{node}',
    UserName: '{user}',
    CSRFPreventionToken: '{token}',
};
</script>
</head>
<body>
<h1>{node}</h1>
<p>This is a mock of Proxmox VE for development and tests. It answers the whole API; the web
interface belongs to Proxmox VE and is not shipped.</p>
<p id="who">Not logged in.</p>
<form id="login">
<label>User <input name="username" value="root@pam" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button>Log in</button>
</form>
<p><a href="/api2/html/">Browse the API</a></p>
<script>
if (Proxmox.UserName) { document.getElementById('who').textContent = 'Logged in as ' + Proxmox.UserName; }
document.getElementById('login').addEventListener('submit', async function (event) {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(event.target));
    const response = await fetch('/api2/json/access/ticket', { method: 'POST', body });
    if (!response.ok) { document.getElementById('who').textContent = response.statusText; return; }
    const ticket = encodeURIComponent((await response.json()).data.ticket);
    document.cookie = 'PVEAuthCookie=' + ticket + '; path=/; secure; SameSite=Lax';
    location.reload();
});
</script>
</body>
</html>
"#;

pub(super) async fn index(shared: &Shared, head: &Head) -> Response {
    let user = auth::cookie_user(shared, head).await;
    let now = shared.clock.unix_secs();
    let token = match &user {
        Some(user) => shared.csrf.issue(user, now).expose().clone(),
        None => "null".to_owned(),
    };
    let cookies = head.header("Cookie").unwrap_or_default();
    let language = language(&cookies).unwrap_or("en");
    let node = shared.state().local.clone();
    let values = [
        ("lang", language),
        ("node", &node),
        ("user", user.as_deref().unwrap_or_default()),
        ("token", &token),
    ];
    let body = fill(PAGE, &values).into_bytes();
    Response::with(200, "OK", Payload { content_type: "text/html; charset=utf-8", body })
}

/// The language cookie, when it is a language and perhaps a country.
fn language(cookies: &str) -> Option<&str> {
    let value = cookies.match_indices("PVELangCookie=").find_map(|(at, name)| {
        let before = cookies.get(..at)?.chars().next_back();
        let after = cookies.get(at + name.len()..)?.split(';').next()?;
        before.is_none_or(char::is_whitespace).then_some(after)
    })?;
    let (language, country) = value.split_once('_').map_or((value, None), |(l, c)| (l, Some(c)));
    let word = |text: &str, is: fn(&u8) -> bool| {
        (2..=3).contains(&text.len()) && text.bytes().all(|byte| is(&byte))
    };
    let valid = word(language, u8::is_ascii_lowercase)
        && country.is_none_or(|country| word(country, u8::is_ascii_uppercase));
    valid.then_some(value)
}

/// Replaces each `{name}`, every value made harmless in HTML and in a script's text alike.
fn fill(page: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(page.to_owned(), |page, (name, value)| {
        page.replace(&format!("{{{name}}}"), &harmless(value))
    })
}

/// Only characters that end neither a text nor a tag stay as they are.
fn harmless(value: &str) -> String {
    value.chars().filter(|c| !c.is_control() && !"'\"<>&\\{}`".contains(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn languages_are_checked() {
        assert_eq!(language("PVELangCookie=de"), Some("de"));
        assert_eq!(language("a=b; PVELangCookie=zh_CN; c"), Some("zh_CN"));
        for cookies in
            ["", "PVELangCookie=", "PVELangCookie='x", "xPVELangCookie=de", "PVELangCookie=de_de"]
        {
            assert_eq!(language(cookies), None, "{cookies}");
        }
    }

    #[test]
    fn the_page_is_long_enough_to_be_compressed_and_has_its_variables() {
        let values = [("lang", "en"), ("node", "pve1"), ("user", ""), ("token", "null")];
        let page = fill(PAGE, &values);
        assert!(page.len() > crate::limits::COMPRESS_ABOVE);
        for line in ["NodeName: 'pve1',", "UserName: '',", "CSRFPreventionToken: 'null',"] {
            assert!(page.contains(line), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_value_leaves_its_place(value in "\\PC{0,40}") {
            let filled = fill("<a>'{user}'</a>", &[("user", &value)]);
            prop_assert_eq!(filled.matches('\'').count(), 2);
            prop_assert_eq!(filled.matches('<').count(), 2);
        }
    }
}
