//! Sessions: what a client holds, what Proxmox VE sees, and what ends them.

use gate::Policy;

use crate::client::{Answer, Client};
use crate::gate::Gate;
use crate::pve::{Pve, Seen, Then, ok};

/// A genuine ticket as the scripted peer hands it out.
const TICKET: &str =
    "PVE:root@pam:6B00CE46::JOxkx+DqOfuSHjN7nfLMlmStVUfGN/DYg+Y213uJnG1iKC4A8Cdi==";
const TOKEN: &str = "6B00CE46:X9QWCK7VU8UUrK1c2M4ywi1vqHfjQOP0n/7QiT7e+rE";

fn granted(user: &str) -> String {
    let ticket = TICKET.replace("root@pam", user);
    format!(
        "{{\"data\":{{\"username\":\"{user}\",\"CSRFPreventionToken\":\"{TOKEN}\",\
         \"ticket\":\"{ticket}\",\"cap\":{{}}}},\"success\":1}}"
    )
}

const REFUSED: &str = "HTTP/1.1 401 authentication failure\r\n\
    Connection: close\r\n\
    Content-Length: 50\r\n\
    Content-Type: application/json;charset=UTF-8\r\n\
    \r\n\
    {\"data\":null,\"message\":\"authentication failure\\n\"}";

const PAGE: &str = "HTTP/1.1 200 OK\r\n\
    Content-Length: 66\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    \r\n\
    <p>token: '6B00CE46:X9QWCK7VU8UUrK1c2M4ywi1vqHfjQOP0n/7QiT7e+rE'</p>";

fn pve() -> Pve {
    let entities = granted("root@pam").replace('"', "&quot;");
    let htmljs = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/html;charset=UTF-8\r\n\r\n{entities}",
        entities.len()
    );
    let challenge = r#"{"data":{"username":"root@pam","NeedTFA":1,"ticket":"PVE:!tfa!{\"totp\"%3Atrue}:6B00CE46::AAAA"}}"#;
    Pve::start(&[
        (
            "/",
            &PAGE.replace("66", &(PAGE.len() - PAGE.find("<p>").unwrap()).to_string()),
            Then::Stay,
        ),
        ("/api2/json/access/ticket", &ok(&granted("root@pam")), Then::Stay),
        ("/api2/json/access/ticket/", &ok(&granted("root@pam")), Then::Stay),
        ("/api2/extjs/access/ticket", &ok(&granted("root@pam")), Then::Stay),
        ("/api2/htmljs/access/ticket", &htmljs, Then::Stay),
        ("/api2/json/access/openid/login", &ok(&granted("guest@corp")), Then::Stay),
        ("/api2/json//access/ticket", REFUSED, Then::Close),
        ("/api2/extjs//access/ticket", &ok(challenge), Then::Stay),
        ("/api2/json/version", &ok("{\"data\":{}}"), Then::Stay),
        ("/api2/json/pools", &ok("{\"data\":null}"), Then::Stay),
        ("/api2/json/access/domains", &ok("{\"data\":[]}"), Then::Stay),
        ("/api2/json/nodes/a/storage/b/upload", &ok("{\"data\":null}"), Then::Stay),
    ])
}

/// What a login gave.
struct Held {
    /// The value of the session cookie, if one was set.
    cookie: Option<String>,
    ticket: String,
    token: String,
}

impl Held {
    fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status(), "200", "{answer:?}");
        assert!(!answer.body.contains("JOxkx"), "the genuine ticket: {answer:?}");
        assert!(!answer.body.contains(TOKEN), "the genuine token: {answer:?}");
        let body = answer.body.replace("&quot;", "\"");
        let data = serde_json::from_str::<serde_json::Value>(&body).unwrap()["data"].clone();
        let cookie = answer.header("set-cookie").map(|cookie| {
            let (value, attributes) = cookie.split_once(';').unwrap();
            assert_eq!(attributes, " Secure; HttpOnly; SameSite=Strict; Path=/");
            value.strip_prefix("__Host-proxward=").unwrap().to_owned()
        });
        let text = |name: &str| data[name].as_str().unwrap().to_owned();
        Self { cookie, ticket: text("ticket"), token: text("CSRFPreventionToken") }
    }

    /// The Cookie line of a browser: session and readable stand-in.
    fn cookies(&self) -> String {
        let dummy = self.ticket.replace(':', "%3A");
        format!(
            "Cookie: __Host-proxward={}; PVEAuthCookie={dummy}\r\n",
            self.cookie.as_deref().unwrap()
        )
    }
}

fn post(path: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: pve1:8006\r\n\
         Content-Type: application/x-www-form-urlencoded\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: pve1:8006\r\n{lines}\r\n")
}

const BROWSER: &str = "Origin: https://pve1:8006\r\nSec-Fetch-Site: same-origin\r\n";
const PASSWORD: &str = "username=root%40pam&password=secret";

fn browser(gate: &Gate) -> Held {
    Held::of(&Client::connect(gate).ask(post("/api2/extjs/access/ticket", BROWSER, PASSWORD)))
}

fn tool(gate: &Gate) -> Held {
    Held::of(&Client::connect(gate).ask(post("/api2/json/access/ticket", "", PASSWORD)))
}

fn ask(gate: &Gate, request: impl AsRef<[u8]>) -> Answer {
    Client::connect(gate).ask(request)
}

fn last(pve: &Pve) -> Seen {
    pve.seen().pop().unwrap()
}

#[test]
fn a_browser_holds_a_cookie_and_a_stand_in() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = browser(&gate);
    assert_eq!(held.ticket, "PVE:root@pam:6B00CE46::proxward");
    let answer = ask(&gate, get("/api2/json/version", &held.cookies()));
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    let seen = last(&pve);
    let expected = format!("PVEAuthCookie={TICKET}");
    assert_eq!(seen.header("cookie"), Some(expected.as_str()));
    assert_eq!(seen.header("csrfpreventiontoken"), None);
}

/// What a script on the page can read and send is worth nothing without the cookie it can not
/// read: neither as a cookie, nor as a header, nor as a password.
#[test]
fn the_stand_in_alone_is_refused() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = browser(&gate);
    let before = pve.seen().len();
    for line in [
        format!("Cookie: PVEAuthCookie={}\r\n", held.ticket),
        format!("Authorization: PVEAuthCookie={}\r\n", held.ticket),
    ] {
        let answer = ask(&gate, get("/api2/json/version", &line));
        assert_eq!(answer.line, "HTTP/1.1 401 Authentication failed!");
    }
    assert_eq!(pve.seen().len(), before);
    let body = format!("username=root%40pam&password={}", held.ticket.replace(':', "%3A"));
    ask(&gate, post("/api2/json/access/ticket", "", &body));
    let sent = String::from_utf8(last(&pve).body).unwrap();
    assert_eq!(sent, "username=root%40pam&password=PVE%3A-%3A00000000%3A%3Aproxward");
}

#[test]
fn every_format_that_gives_a_ticket_gives_a_stand_in() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    for format in ["json", "extjs", "htmljs"] {
        let path = format!("/api2/{format}/access/ticket");
        let held = Held::of(&ask(&gate, post(&path, BROWSER, PASSWORD)));
        assert_eq!(held.ticket, "PVE:root@pam:6B00CE46::proxward", "{format}");
        assert!(held.cookie.is_some());
    }
    let held =
        Held::of(&ask(&gate, post("/api2/json/access/openid/login", BROWSER, "code=c&state=s")));
    assert_eq!(held.ticket, "PVE:guest@corp:6B00CE46::proxward");
    // The API's pages for people: asked for as data, answered with cookies and the way on.
    let answer = ask(&gate, post("/api2/html/access/ticket", BROWSER, PASSWORD));
    assert_eq!(answer.line, "HTTP/1.1 303 See Other");
    assert!(answer.line.starts_with("HTTP/1.1 303") && answer.body.is_empty());
    let cookies: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
        .map(|(_, value)| value.as_str())
        .collect();
    assert!(cookies[0].starts_with("__Host-proxward=") && cookies[0].contains("HttpOnly"));
    assert!(cookies[1].starts_with("PVEAuthCookie=PVE%3Aroot@pam%3A6B00CE46%3A%3Aproxward;"));
    for format in ["spiceconfig", "png", "zz"] {
        let answer = ask(&gate, post(&format!("/api2/{format}/access/ticket"), "", PASSWORD));
        assert_eq!(answer.line, "HTTP/1.1 501 no login in this format");
    }
}

#[test]
fn a_tools_value_works_alone_and_not_from_a_browser() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = tool(&gate);
    assert_eq!(held.cookie, None);
    assert!(held.ticket.starts_with("PVE:root@pam:6B00CE46::proxward") && held.ticket.len() == 95);
    for line in [
        format!("Cookie: PVEAuthCookie={}\r\n", held.ticket),
        format!("Authorization: PVEAuthCookie={}\r\n", held.ticket.replace(':', "%3A")),
    ] {
        assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "200");
        let seen = last(&pve);
        assert_eq!(seen.header("cookie").unwrap(), format!("PVEAuthCookie={TICKET}"));
        assert_eq!(seen.header("authorization"), None);
        let from_browser = format!("{line}Sec-Fetch-Mode: cors\r\n");
        assert_eq!(ask(&gate, get("/api2/json/version", &from_browser)).status(), "401");
    }
    // Neither is it a browser's cookie.
    let digits = &held.ticket[held.ticket.len() - 64..];
    let cookie = format!("Cookie: __Host-proxward={digits}\r\n");
    ask(&gate, get("/api2/json/version", &cookie));
    assert_eq!(last(&pve).header("cookie"), None);
}

#[test]
fn a_browsers_value_is_no_tools_value() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = browser(&gate);
    let stolen =
        format!("Cookie: PVEAuthCookie={}{}\r\n", held.ticket, held.cookie.as_deref().unwrap());
    assert_eq!(ask(&gate, get("/api2/json/version", &stolen)).status(), "401");
}

#[test]
fn the_name_before_a_tools_value_has_to_be_the_sessions() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = tool(&gate);
    let other = held.ticket.replace("root@pam", "bob@pve");
    let answer =
        ask(&gate, get("/api2/json/version", &format!("Cookie: PVEAuthCookie={other}\r\n")));
    assert_eq!(answer.status(), "401");
}

#[test]
fn csrf_matrix() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let (one, two, tool) = (browser(&gate), browser(&gate), tool(&gate));
    let refused = "HTTP/1.1 401 Permission denied - invalid csrf token";
    let line = |token: &str| format!("CSRFPreventionToken: {token}\r\n");
    let cookie = format!("Cookie: PVEAuthCookie={}\r\n", tool.ticket);
    let (before, end) = one.token.split_at(one.token.len() - 1);
    let changed = format!("{before}{}", if end == "a" { 'b' } else { 'a' });
    let cases = [
        (one.cookies(), line(&one.token), "HTTP/1.1 200 OK"),
        (one.cookies(), String::new(), refused),
        (one.cookies(), line(&two.token), refused),
        (one.cookies(), line(TOKEN), refused),
        (one.cookies(), line("x"), refused),
        (one.cookies(), line(&changed), refused),
        (cookie.clone(), line(&tool.token), "HTTP/1.1 200 OK"),
        (cookie.clone(), String::new(), refused),
        (cookie, line(&one.token), refused),
        // An API token beside a session does not do without.
        (one.cookies(), "Authorization: PVEAPIToken=root@pam!x=y\r\n".to_owned(), refused),
    ];
    for (cookies, token, expected) in cases {
        let before = pve.seen().len();
        let request = post("/api2/json/pools", &format!("{cookies}{token}"), "poolid=a");
        assert_eq!(ask(&gate, request).line, expected, "{token}");
        let passed = pve.seen().len() - before;
        assert_eq!(passed, usize::from(expected.ends_with("OK")));
        if passed == 1 {
            // Proxmox VE gets its own token, never the session's.
            assert_eq!(last(&pve).header("csrfpreventiontoken"), Some(TOKEN));
        }
    }
    // The interface's uploads carry none.
    let upload =
        post("/api2/json/nodes/a/storage/b/upload", &format!("{}{BROWSER}", one.cookies()), "x");
    assert_eq!(ask(&gate, upload).status(), "200");
}

#[test]
fn the_index_page_holds_the_sessions_own_token() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = browser(&gate);
    let page = ask(&gate, get("/", &format!("{}Accept-Encoding: gzip\r\n", held.cookies())));
    assert!(!page.body.contains(TOKEN), "{page:?}");
    assert_eq!(last(&pve).header("accept-encoding"), None);
    let token = page.body.split('\'').nth(1).unwrap();
    let lines = format!("{}CSRFPreventionToken: {token}\r\n", held.cookies());
    assert_eq!(ask(&gate, post("/api2/json/pools", &lines, "poolid=a")).status(), "200");
    // Nobody's page is not touched.
    assert!(ask(&gate, get("/", "")).body.contains(TOKEN));
}

#[test]
fn renewal_with_what_the_client_holds() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let encoded = TICKET
        .replace('@', "%40")
        .replace(':', "%3A")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let expected = format!("username=root%40pam&password={encoded}");

    let held = browser(&gate);
    let body = format!("username=root%40pam&password={}", held.ticket.replace(':', "%3A"));
    let lines = format!("{}{BROWSER}", held.cookies());
    let answer = ask(&gate, post("/api2/json/access/ticket", &lines, &body));
    let renewed = Held::of(&answer);
    assert_eq!((renewed.ticket, renewed.cookie), (held.ticket.clone(), None));
    assert_eq!(String::from_utf8(last(&pve).body).unwrap(), expected);
    assert_eq!(ask(&gate, get("/api2/json/version", &held.cookies())).status(), "200");

    let held = tool(&gate);
    let json = format!("{{\"username\":\"root@pam\",\"password\":\"{}\"}}", held.ticket);
    let request = post("/api2/json/access/ticket", "", &json)
        .replace("application/x-www-form-urlencoded", "application/json");
    let renewed = Held::of(&ask(&gate, request));
    assert_eq!(renewed.ticket, held.ticket);
    // An object has no order; the form's is that of the names.
    let expected_of_json = format!("password={encoded}&username=root%40pam");
    assert_eq!(String::from_utf8(last(&pve).body).unwrap(), expected_of_json);

    // In the query, which overrides the body, as well.
    let path = format!("/api2/json/access/ticket?password={}", held.ticket.replace(':', "%3A"));
    Held::of(&ask(&gate, post(&path, "", "username=root%40pam&password=x")));
    assert_eq!(String::from_utf8(last(&pve).body).unwrap(), expected);
    assert_eq!(last(&pve).line, "POST /api2/json/access/ticket HTTP/1.1");
}

/// A session begins with a value nobody knew before, whatever was sent along.
#[test]
fn no_session_is_fixed_in_advance() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let planted = "a".repeat(64);
    let lines = format!("{BROWSER}Cookie: __Host-proxward={planted}\r\n");
    let held = Held::of(&ask(&gate, post("/api2/json/access/ticket", &lines, PASSWORD)));
    assert_ne!(held.cookie.as_deref(), Some(planted.as_str()));
    // A second login of the same browser ends its first session.
    let lines = format!("{BROWSER}{}", held.cookies());
    let again = Held::of(&ask(&gate, post("/api2/json/access/ticket", &lines, PASSWORD)));
    assert_ne!(again.cookie, held.cookie);
    assert_eq!(ask(&gate, get("/api2/json/version", &held.cookies())).status(), "401");
    assert_eq!(ask(&gate, get("/api2/json/version", &again.cookies())).status(), "200");
}

#[test]
fn a_challenge_passes_readable_and_opens_nothing() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let answer = ask(&gate, post("/api2/extjs//access/ticket", BROWSER, PASSWORD));
    assert_eq!(answer.header("set-cookie"), None);
    assert!(answer.body.contains(r#"PVE:!tfa!{\"totp\"%3Atrue}:6B00CE46::AAAA"#), "{answer:?}");
    let body = "username=root%40pam&password=totp%3A123456&tfa-challenge=PVE%3A%21tfa%21x";
    Held::of(&ask(&gate, post("/api2/extjs/access/ticket", BROWSER, body)));
    assert_eq!(String::from_utf8(last(&pve).body).unwrap(), body);
}

#[test]
fn a_refused_login_is_passed_on_to_the_letter() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let answer = ask(&gate, post("/api2/json//access/ticket", BROWSER, PASSWORD));
    assert_eq!(answer.line, "HTTP/1.1 401 authentication failure");
    assert_eq!(answer.body, "{\"data\":null,\"message\":\"authentication failure\\n\"}");
    assert_eq!(answer.header("set-cookie"), None);
}

#[test]
fn logout_revokes_at_once() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = browser(&gate);
    let token = format!("CSRFPreventionToken: {}\r\n", held.token);
    let refused = ask(&gate, post("/proxward/logout", &held.cookies(), ""));
    assert_eq!(refused.line, "HTTP/1.1 401 Permission denied - invalid csrf token");
    let answer = ask(&gate, post("/proxward/logout", &format!("{}{token}", held.cookies()), ""));
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    assert!(
        answer.headers.iter().any(
            |(_, value)| value.starts_with("__Host-proxward=;") && value.ends_with("Max-Age=0")
        )
    );
    assert_eq!(ask(&gate, get("/api2/json/version", &held.cookies())).status(), "401");

    let held = tool(&gate);
    let lines =
        format!("Cookie: PVEAuthCookie={}\r\nCSRFPreventionToken: {}\r\n", held.ticket, held.token);
    assert_eq!(ask(&gate, post("/proxward/logout", &lines, "")).status(), "200");
    assert_eq!(ask(&gate, get("/api2/json/version", &lines)).status(), "401");
    assert_eq!(ask(&gate, post("/proxward/logout", &lines, "")).status(), "401");
    assert_eq!(ask(&gate, get("/proxward/else", "")).line, "HTTP/1.1 404 no such path");
}

/// The stock interface logs out by deleting its own cookie and loading the page anew.
#[test]
fn the_stock_interfaces_logout_ends_the_session() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let held = browser(&gate);
    ask(&gate, get("/api2/json/version", &held.cookies()));
    let only_session = format!("Cookie: __Host-proxward={}\r\n", held.cookie.as_deref().unwrap());
    let page = ask(&gate, get("/", &only_session));
    assert_eq!(page.status(), "200");
    assert!(page.header("set-cookie").unwrap().starts_with("__Host-proxward=;"));
    assert_eq!(last(&pve).header("cookie"), None);
    assert_eq!(ask(&gate, get("/api2/json/version", &held.cookies())).status(), "401");
}

#[test]
fn a_session_decides_whatever_comes_along() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let (held, other) = (browser(&gate), tool(&gate));
    let own = held.cookie.as_deref().unwrap();
    for beside in [
        "; PVEAuthCookie=PVE:bob@pve:6B00CE46::AAAA".to_owned(),
        format!("; PVEAuthCookie={}", other.ticket),
        "; PVEAuthCookie=x\r\nAuthorization: PVEAPIToken=bob@pve!x=y".to_owned(),
    ] {
        let line = format!("Cookie: __Host-proxward={own}{beside}\r\n");
        assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "200");
        let seen = last(&pve);
        assert_eq!(seen.header("cookie").unwrap(), format!("PVEAuthCookie={TICKET}"));
        assert_eq!(seen.header("authorization"), None);
    }
    let two = format!("Cookie: __Host-proxward={own}; __Host-proxward={}\r\n", "b".repeat(64));
    assert_eq!(
        ask(&gate, get("/api2/json/version", &two)).line,
        "HTTP/1.1 400 more than one session cookie"
    );
}

#[test]
fn of_two_tickets_the_first_counts_and_the_second_never_arrives() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let line = "Cookie: a=1; PVEAuthCookie=PVE:a@pve:6B00CE46::AA; PVEAuthCookie=PVE:root@pam:6B00CE46::BB\r\n\
        Authorization: PVEAPIToken=root@pam!x=y\r\n";
    ask(&gate, get("/api2/json/version", line));
    let seen = last(&pve);
    assert_eq!(seen.header("cookie"), Some("PVEAuthCookie=PVE:a@pve:6B00CE46::AA"));
    assert_eq!(seen.header("authorization"), None);
    // A stand-in without its session is no reason to look further either.
    let held = browser(&gate);
    let line = format!(
        "Cookie: PVEAuthCookie={}; PVEAuthCookie=PVE:root@pam:6B00CE46::BB\r\n",
        held.ticket
    );
    let before = pve.seen().len();
    assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "401");
    assert_eq!(pve.seen().len(), before);
    // Pages and open calls are answered as to nobody.
    assert_eq!(ask(&gate, get("/api2/json/access/domains", &line)).status(), "200");
    assert_eq!(last(&pve).header("cookie"), None);
}

#[test]
fn own_tickets_and_tokens_by_policy() {
    let pve = pve();
    let ticket = format!("Cookie: PVEAuthCookie={TICKET}\r\n");
    let token = "Authorization: PVEAPIToken=a@pve!x=y\r\n";
    let gate = Gate::start(pve.address);
    assert_eq!(ask(&gate, get("/api2/json/version", &ticket)).status(), "200");
    assert_eq!(ask(&gate, get("/api2/json/version", token)).status(), "200");
    assert_eq!(last(&pve).header("authorization"), Some("PVEAPIToken=a@pve!x=y"));

    let gate = Gate::with(pve.address, |config| {
        config.sessions.foreign_tickets = Policy::Refuse;
        config.sessions.api_tokens = Policy::Refuse;
    });
    let before = pve.seen().len();
    assert_eq!(ask(&gate, get("/api2/json/version", &ticket)).status(), "401");
    assert_eq!(
        ask(&gate, get("/api2/json/version", token)).line,
        "HTTP/1.1 403 API tokens are refused here"
    );
    let renewal = format!("username=root%40pam&password={}", TICKET.replace('+', "%2B"));
    assert_eq!(ask(&gate, post("/api2/json/access/ticket", "", &renewal)).status(), "401");
    assert_eq!(pve.seen().len(), before);
    // What it hands out itself is taken.
    let held = tool(&gate);
    let line = format!("Cookie: PVEAuthCookie={}\r\n", held.ticket);
    assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "200");
}

#[test]
fn sessions_can_be_switched_off() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| config.sessions.enabled = false);
    let answer = ask(&gate, post("/api2/json/access/ticket", BROWSER, PASSWORD));
    assert!(answer.body.contains(TICKET) && answer.header("set-cookie").is_none());
}

#[test]
fn what_no_login_has_is_refused() {
    let pve = pve();
    let gate = Gate::start(pve.address);
    let many = "a=1&".repeat(70) + PASSWORD;
    let answer = ask(&gate, post("/api2/json/access/ticket", "", &many));
    assert_eq!(answer.line, "HTTP/1.1 400 the parameters of the login can not be read");
    let json = post("/api2/json/access/ticket", "", "{\"username\":{}}")
        .replace("application/x-www-form-urlencoded", "application/json");
    assert_eq!(ask(&gate, json).status(), "400");
    let xml = post("/api2/json/access/ticket", "", "x")
        .replace("application/x-www-form-urlencoded", "text/xml");
    assert_eq!(ask(&gate, xml).status(), "506");
    assert_eq!(pve.seen(), []);
}

#[test]
fn the_origin_of_every_change_is_judged() {
    let pve = pve();
    let gate = Gate::with(pve.address, |config| {
        config.sessions.origins = vec!["https://portal.example".to_owned()];
    });
    let refused = "HTTP/1.1 403 another site's page has sent this request";
    let held = browser(&gate);
    let own = format!("{}CSRFPreventionToken: {}\r\n", held.cookies(), held.token);
    let before = pve.seen().len();
    for signal in [
        "Origin: https://evil.example\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        for path in [
            "/api2/json/pools",
            "/api2/json/access/ticket",
            "/api2/json/nodes/a/storage/b/upload",
            "/proxward/logout",
        ] {
            let answer = ask(&gate, post(path, &format!("{own}{signal}"), "poolid=a"));
            assert_eq!(answer.line, refused, "{path} {signal}");
        }
        let websocket = get(
            "/api2/json/nodes/a/vncwebsocket?vncticket=x",
            &format!("{}{signal}Connection: Upgrade\r\nUpgrade: websocket\r\n", held.cookies()),
        );
        assert_eq!(ask(&gate, websocket).line, refused, "{signal}");
        // Reading changes nothing, and the cookie is not sent from elsewhere anyway.
    }
    assert_eq!(pve.seen().len(), before);
    for signal in [BROWSER, "Origin: https://portal.example\r\nSec-Fetch-Site: cross-site\r\n", ""]
    {
        let answer = ask(&gate, post("/api2/json/pools", &format!("{own}{signal}"), "poolid=a"));
        assert_eq!(answer.status(), "200", "{signal}");
    }
    gate.counts("proxward_gate_refusals_total{rule=\"cross-site\"}", 20);
}

#[test]
fn the_operator_lists_and_revokes() {
    use gate::control::{CallError, Request, SOCKET, call};
    let pve = pve();
    let place = tempfile::tempdir().unwrap();
    let gate = Gate::with(pve.address, |config| config.state = Some(place.path().join("s")));
    let order = |request: &Request| call(&place.path().join("s").join(SOCKET), request);
    let (one, two) = (browser(&gate), tool(&gate));
    let listed = order(&Request::SessionList { user: None }).unwrap();
    let rows = listed["sessions"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for secret in [one.cookie.as_deref().unwrap(), &two.ticket, "JOxkx"] {
        assert!(!listed.to_string().contains(secret));
    }
    assert_eq!((&rows[0]["user"], &rows[0]["client"]), (&"root@pam".into(), &"127.0.0.1".into()));
    let nobody = order(&Request::SessionList { user: Some("bob@pve".into()) }).unwrap();
    assert_eq!(nobody["sessions"].as_array().unwrap().len(), 0);

    let browsers = rows.iter().find(|row| row["kind"] == "browser").unwrap();
    let by_id = |id: &str| Request::SessionRevoke { id: Some(id.into()), user: None, all: false };
    assert!(matches!(order(&by_id("")), Err(CallError::Refused(_))));
    assert!(matches!(order(&by_id("0000000000000000")), Err(CallError::NotFound(_))));
    let revoked = order(&by_id(browsers["id"].as_str().unwrap())).unwrap();
    assert_eq!(revoked["revoked"], 1);
    assert_eq!(ask(&gate, get("/api2/json/version", &one.cookies())).status(), "401");
    let line = format!("Cookie: PVEAuthCookie={}\r\n", two.ticket);
    assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "200");
    let all = Request::SessionRevoke { id: None, user: Some("root@pam".into()), all: false };
    assert_eq!(order(&all).unwrap()["revoked"], 1);
    assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "401");
}

/// A user that is gone: the session is not asked about again.
#[test]
fn a_session_whose_ticket_is_refused_ends() {
    let refused = "HTTP/1.1 401 Authentication failed!\r\nConnection: close\r\n\r\n";
    let pve = Pve::start(&[
        ("/api2/json/access/ticket", &ok(&granted("root@pam")), Then::Stay),
        ("/api2/json/version", refused, Then::Close),
    ]);
    let gate = Gate::start(pve.address);
    let line = format!("Cookie: PVEAuthCookie={}\r\n", tool(&gate).ticket);
    for _ in 0..2 {
        let answer = ask(&gate, get("/api2/json/version", &line));
        assert_eq!(answer.line, "HTTP/1.1 401 Authentication failed!");
    }
    assert_eq!(pve.seen().len(), 2);
}

/// Logins of a moment before are written before the state changes hands, and nothing is refused.
#[test]
fn sessions_go_over_to_a_process_that_takes_over() {
    let pve = pve();
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let old = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let kept = browser(&old);
    let new = Gate::successor(pve.address, &state);
    assert_eq!(ask(&new, get("/api2/json/version", &kept.cookies())).status(), "200");
    assert!(old.ends());
    // And on to the next, who finds the audit log of both in one chain.
    let next = Gate::successor(pve.address, &state);
    assert_eq!(ask(&next, get("/api2/json/version", &kept.cookies())).status(), "200");
}

/// A successor that goes before it has asked for the state changes nothing.
#[test]
fn a_successor_that_gives_up_in_time_changes_nothing() {
    let pve = pve();
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let gate = Gate::with(pve.address, |config| config.state = Some(state.clone()));
    let kept = browser(&gate);
    drop(gate::Takeover::begin(&state).unwrap());
    assert_eq!(ask(&gate, get("/api2/json/version", &kept.cookies())).status(), "200");
}

/// The process ends, and the next one knows the sessions; the file does not tell
/// their tickets; what was revoked stays so.
#[test]
fn sessions_outlast_the_process() {
    let pve = pve();
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    let stored = |config: &mut gate::Config| config.state = Some(state.clone());
    let (kept, ended) = {
        let gate = Gate::with(pve.address, stored);
        let (kept, ended) = (browser(&gate), tool(&gate));
        let lines = format!(
            "Cookie: PVEAuthCookie={}\r\nCSRFPreventionToken: {}\r\n",
            ended.ticket, ended.token
        );
        assert_eq!(ask(&gate, post("/proxward/logout", &lines, "")).status(), "200");
        (kept, ended)
    };
    for entry in std::fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The audit log says who has logged in, and nothing that would let another do so.
        let name = if path.ends_with("audit.jsonl") { "JOxkx" } else { "root@pam" };
        for secret in ["JOxkx", TOKEN, kept.cookie.as_deref().unwrap(), name] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "{secret}");
        }
    }
    let gate = Gate::with(pve.address, stored);
    assert_eq!(ask(&gate, get("/api2/json/version", &kept.cookies())).status(), "200");
    assert_eq!(last(&pve).header("cookie").unwrap(), format!("PVEAuthCookie={TICKET}"));
    let line = format!("Cookie: PVEAuthCookie={}\r\n", ended.ticket);
    assert_eq!(ask(&gate, get("/api2/json/version", &line)).status(), "401");
}
