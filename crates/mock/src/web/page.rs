//! `GET /`: pages of our own with the variables that scripts read out of the genuine one
//! (`get_index`): node, language, and with a valid cookie the user and a fresh CSRF token.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::auth;
use crate::shared::Shared;
use crate::wire::{Head, Payload, Response, form};

/// How each page begins; `{…}` are replaced.
const HEAD: &str = include_str!("interface/head.html");
const DESKTOP: &str = include_str!("interface/desktop.html");
const MOBILE: &str = include_str!("interface/mobile.html");
const CONSOLE: &str = include_str!("interface/console.html");
/// The windows that ask for a password and a code.
const LOGIN: &str = include_str!("interface/login.html");
const END: &str = "</body>\n</html>\n";

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
    let query = form(head.path_and_query().1.unwrap_or_default().as_bytes());
    let agent = head.header("User-Agent").unwrap_or_default();
    let body = fill(&page(&query, &agent), &values).into_bytes();
    Response::with(200, "OK", Payload { content_type: "text/html; charset=utf-8", body })
}

/// The page that `get_index` would choose.
fn page(query: &BTreeMap<String, Value>, agent: &str) -> String {
    let has = |name| query.contains_key(name);
    if has("console") && (has("novnc") || has("xtermjs")) {
        return [HEAD, CONSOLE, END].concat();
    }
    let mobile = match query.get("mobile") {
        Some(value) => value != "0" && value != "",
        None => is_phone(agent),
    };
    [HEAD, if mobile { MOBILE } else { DESKTOP }, LOGIN, END].concat()
}

/// Tablets are none.
fn is_phone(agent: &str) -> bool {
    let has = |word| agent.contains(word);
    ["iPhone", "iPod", "Windows Phone"].into_iter().any(has) || has("Android") && has("Mobile")
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
        for query in ["", "mobile=1", "console=shell&xtermjs=1"] {
            let page = fill(&page(&form(query.as_bytes()), ""), &values);
            assert!(query.contains("console") || page.len() > crate::limits::COMPRESS_ABOVE);
            for line in ["NodeName: 'pve1',", "UserName: '',", "CSRFPreventionToken: 'null',"] {
                assert!(page.contains(line), "{line}");
            }
            assert!(!page.contains("{lang}") && page.ends_with(END), "{query}");
        }
    }

    #[test]
    fn the_page_is_chosen_by_the_query_and_the_browser() {
        let phone =
            "Mozilla/5.0 (Linux; Android 15; Pixel 9) Chrome/140.0.0.0 Mobile Safari/537.36";
        let desktop = "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0.0.0 Safari/537.36";
        for (query, agent, script) in [
            ("", desktop, "desktop"),
            ("", phone, "mobile"),
            ("mobile=0", phone, "desktop"),
            ("mobile=1", desktop, "mobile"),
            ("console=kvm&novnc=1", phone, "console"),
            ("console=kvm", desktop, "desktop"),
        ] {
            let page = page(&form(query.as_bytes()), agent);
            assert!(page.contains(&format!("stand-in-{script}.js")), "{query} {agent}");
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
