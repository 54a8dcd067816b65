use std::fmt::Write as _;

use insta::assert_snapshot;
use proptest::prelude::*;
use settings::{Document, Origin};

use crate::{Cells, Format, Gate, text, variables};

fn shown(document: &Document) -> String {
    let mut out = String::new();
    for entry in document.entries() {
        writeln!(out, "{} = {}  # {}", entry.key, entry.value, entry.origin).unwrap();
    }
    out
}

#[test]
fn later_layers_win_value_by_value_and_say_so() {
    let layers =
        text("[gate]\nport = 1\nname = 'a'\nlisten = ['127.0.0.1:1', '127.0.0.1:2']\nratio = 1")
            .text("conf.d/10.toml", "[gate]\nport = 2\n[gate.tls]\ncert = 'c'")
            .text("conf.d/20.toml", "[gate.tls]\non = true\n[cells.\"a.b\"]\nmemory = '1M'")
            .flag("gate.listen", "--listen", ["[::1]:1", "[::1]:2"])
            .flag("gate.name", "--name", None::<String>);
    let layers = variables(
        layers,
        &[
            ("HOME", "/root"),
            ("PROXWARD_PASSWORD", "hunter2"),
            ("PROXWARD_GATE_LISTEN", "10.0.0.1:1"),
            ("PROXWARD_GATE_NAME", "8006"),
            ("PROXWARD_GATE_TLS__CERT", "d"),
        ],
    );
    let document = layers.load().unwrap();
    assert_snapshot!(shown(&document), @r#"
cells."a.b".memory = "1M"  # conf.d/20.toml:4
gate.listen = ["[::1]:1", "[::1]:2"]  # flag --listen
gate.name = 8006  # environment PROXWARD_GATE_NAME
gate.port = 2  # conf.d/10.toml:2
gate.ratio = 1  # proxward.toml:5
gate.tls.cert = "d"  # environment PROXWARD_GATE_TLS__CERT
gate.tls.on = true  # conf.d/20.toml:2
"#);
    let gate: Gate = document.section("gate").unwrap();
    assert_eq!((gate.port, gate.name.as_str(), gate.ratio), (2, "8006", 1.0));
    assert_eq!(gate.listen, ["[::1]:1".parse().unwrap(), "[::1]:2".parse().unwrap()]);
    let tls = gate.tls.unwrap();
    assert_eq!((tls.cert.as_str(), tls.on), ("d", true));
    assert_eq!(document.section::<Cells>("cells").unwrap().len(), 1);
    let line = |line| Origin::File { path: std::path::Path::new("conf.d/20.toml").into(), line };
    assert_eq!(document.origin("cells.\"a.b\".memory"), line(4));
    assert_eq!(document.origin("gate.tls.on"), line(2));
    assert_eq!(document.origin("gate.format"), Origin::Default);
}

#[test]
fn a_variable_is_what_the_type_asks_for() {
    let gate = |name, value| {
        let layers = variables(text(""), &[(name, value)]);
        layers.load().unwrap().section::<Gate>("gate")
    };
    let listen = |value| gate("PROXWARD_GATE_LISTEN", value).unwrap().listen;
    assert_eq!(listen("[::1]:8006"), ["[::1]:8006".parse().unwrap()]);
    assert_eq!(listen("['[::1]:8006', '127.0.0.1:1']").len(), 2);
    assert_eq!(listen("[]"), []);
    let name = |value| gate("PROXWARD_GATE_NAME", value).unwrap().name;
    for plain in ["true", "1.50", "2026-07-01", "", " a = b ", "[1]"] {
        assert_eq!(name(plain), plain);
    }
    assert_eq!(name(r#""quoted\u0021""#), "quoted!");
    assert_eq!(gate("PROXWARD_GATE_FORMAT", "json").unwrap().format, Format::Json);
    assert_eq!(gate("PROXWARD_GATE_PAIR", "[1, 2]").unwrap().pair, Some((1, 2)));
    let custom = gate("PROXWARD_GATE_FORMAT", "{ custom = { pattern = 'x' } }").unwrap().format;
    assert_eq!(custom, Format::Custom { pattern: "x".into() });
    assert!(gate("PROXWARD_GATE_PORT", "\"1\"").is_err(), "quoted means text");
}

#[test]
fn an_absent_section_is_its_defaults() {
    let document = text("").load().unwrap();
    assert_eq!(document.section::<Gate>("gate").unwrap(), Gate::default());
    assert_eq!(document.entries().count(), 0);
}

#[test]
fn secrets_do_not_show() {
    let document = text(
        "[gate]\npassword = 'hunter2'\nname = 'password=hunter2'\nlist = [{ token = 'hunter2' }]\notp = 271828\n[gate.passwords]\nroot = 'hunter2'\n[gate.x]\n\
         key_file = '/etc/key'",
    );
    let document = variables(document, &[("PROXWARD_GATE_SECRET", "hunter2")]).load().unwrap();
    let shown = shown(&document);
    assert!(!shown.contains("hunter2") && !shown.contains("271828"), "{shown}");
    assert!(shown.contains("gate.x.key_file = \"/etc/key\""), "{shown}");
}

proptest! {
    #[test]
    fn any_text_is_judged(toml in ".*|(\\[?[a-z.]{1,4}\\]?( = )?[0-9'\\[\\]{}\n]{0,4}){0,8}") {
        if let Ok(document) = text(&toml).load() {
            let _ = document.section::<Gate>("gate").map_err(|error| error.to_string());
            let _ = shown(&document);
        }
    }

    #[test]
    fn any_variable_reads_back_as_the_text_it_is(value in "[^\"'\0]*") {
        let document = variables(text(""), &[("PROXWARD_GATE_NAME", &value)]).load();
        if let Ok(gate) = document.unwrap().section::<Gate>("gate") {
            prop_assert_eq!(gate.name, value);
        } else {
            prop_assert!(value.trim_start().starts_with('{'), "only a table is not text");
        }
    }

    #[test]
    fn shown_values_are_toml_that_reads_back_the_same(
        name in ".{0,20}", ratio: f64, port: u16, key in "[a-z ._-]{0,6}",
    ) {
        let mut table = toml::Table::new();
        table.insert("name".into(), name.into());
        table.insert("ratio".into(), ratio.into());
        table.insert("port".into(), i64::from(port).into());
        let mut root = toml::Table::new();
        root.insert(key.clone(), table.into());
        let cells = toml::Table::from_iter([("cells".to_owned(), root.into())]);
        let first = shown_plain(&text(&cells.to_string()).load().unwrap());
        let again = shown_plain(&text(&first).load().unwrap());
        prop_assert_eq!(first, again);
    }
}

fn shown_plain(document: &Document) -> String {
    document.entries().map(|entry| format!("{} = {}\n", entry.key, entry.value)).collect()
}

#[test]
fn a_file_of_another_format_fills_what_is_not_set() {
    let toml = "[gate]\nlisten = ['127.0.0.1:1']\n[gate.tls]\nmin = '1.3'\n";
    let mut document = settings::Layers::new(&["gate"]).text("a.toml", toml).load().unwrap();
    let mut fill = |key: &str, raw: &str, line| {
        document.fill(key, raw, (std::path::Path::new("/etc/default/x"), line)).unwrap()
    };
    assert!(fill("gate.workers", "5", 3));
    assert!(fill("gate.tls.server_order", "true", 4));
    assert!(fill("gate.fresh.key", "x", 5));
    assert!(!fill("gate.workers", "6", 6));
    assert!(!fill("gate.tls.min", "1.2", 7));
    assert!(!fill("gate.listen.more", "1", 8));
    assert_eq!(document.origin("gate.workers").to_string(), "/etc/default/x:3");
    assert_eq!(document.origin("gate.tls.min").to_string(), "a.toml:4");
    assert_eq!(document.text("gate.tls.min"), Some("1.3"));
    assert_eq!(document.text("gate.workers"), Some("5"));
    assert_eq!(document.text("gate.listen"), None);
    assert_eq!(document.text("gate.listen.more"), None);
}

#[test]
fn what_has_changed_whatever_its_place() {
    let load = |text: &str, environment: &[(&str, &str)]| {
        let variables = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let layers = settings::Layers::new(&["gate"]).text("a.toml", text);
        layers.environment(variables, &[]).load().unwrap()
    };
    let former = load("[gate]\na = 1\nb = ['x', 'y']\nc = {d = 'z'}\ne = 2\n", &[]);
    let next = load(
        "# moved\n[gate]\nb = ['x', 'w']\nc = {d = 'z', f = true}\n",
        &[("PROXWARD_GATE_A", "1")],
    );
    assert_eq!(next.changed(&former), ["gate.b", "gate.c.f", "gate.e"]);
    assert!(former.changed(&former).is_empty());
}
