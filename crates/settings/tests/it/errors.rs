use insta::assert_snapshot;
use settings::{ErrorKind, Layers, SettingsError};

use crate::{Cells, Gate, SECTIONS, text, variables};

fn refused(layers: Layers) -> SettingsError {
    let document = match layers.load() {
        Ok(document) => document,
        Err(error) => return error,
    };
    let cells = document.section::<Cells>("cells");
    document.section::<Gate>("gate").err().or(cells.err()).unwrap()
}

fn error(toml: &str) -> String {
    refused(text(toml)).to_string()
}

fn set(name: &str, value: &str) -> String {
    refused(variables(text("[gate]\nport = 1"), &[(name, value)])).to_string()
}

#[test]
fn types_and_values() {
    assert_snapshot!(error("[gate]\n\nlisten = 8006"), @"proxward.toml:3: gate.listen: expected an array, found a whole number; put the value in [ ]");
    assert_snapshot!(error("[gate]\nlisten = [\n  '127.0.0.1:1',\n  7,\n]"), @"proxward.toml:4: gate.listen[1]: expected socket address, found a whole number; see `proxward config explain gate.listen`");
    assert_snapshot!(error("[gate]\nlisten = ['localhost']"), @"proxward.toml:2: gate.listen[0]: invalid socket address syntax; see `proxward config explain gate.listen`");
    assert_snapshot!(error("gate.port = 70000"), @"proxward.toml:1: gate.port: expected a whole number from 0 to 65535, found 70000; see `proxward config explain gate.port`");
    assert_snapshot!(error("gate.port = -1"), @"proxward.toml:1: gate.port: expected a whole number from 0 to 65535, found -1; see `proxward config explain gate.port`");
    assert_snapshot!(error("[gate]\nport = '8006'"), @"proxward.toml:2: gate.port: expected a whole number from 0 to 65535, found a string; see `proxward config explain gate.port`");
    assert_snapshot!(error("[gate]\nname = 8006"), @"proxward.toml:2: gate.name: expected a string, found a whole number; put the value in quotes");
    assert_snapshot!(error("[gate]\nratio = true"), @"proxward.toml:2: gate.ratio: expected a number, found true or false; see `proxward config explain gate.ratio`");
    assert_snapshot!(error("[gate]\npair = [1, 2, 3]"), @"proxward.toml:2: gate.pair: expected fewer elements, found 3; see `proxward config explain gate.pair`");
    assert_snapshot!(error("[gate]\npair = [1]"), @"proxward.toml:2: gate.pair: expected an array of 2 elements, found 1; see `proxward config explain gate.pair`");
    assert_snapshot!(error("[gate]\nport = 99999999999999999999"), @"proxward.toml:2: whole number out of range: 99999999999999999999; use one that fits 64 bits");
    assert_snapshot!(error("[gate]\ntls = ['cert', true]"), @"proxward.toml:2: gate.tls: expected a table, found an array; see `proxward config explain gate.tls`");
    assert_snapshot!(error("[gate]\ntls = 'yes'"), @"proxward.toml:2: gate.tls: expected a table, found a string; see `proxward config explain gate.tls`");
}

#[test]
fn words() {
    assert_snapshot!(error("[gate]\nformat = 'xml'"), @"proxward.toml:2: gate.format: expected one of text, json, custom, found another word; see `proxward config explain gate.format`");
    assert_snapshot!(error("[gate]\nformat = 1"), @"proxward.toml:2: gate.format: expected one of text, json, custom, found a whole number; see `proxward config explain gate.format`");
    assert_snapshot!(error("[gate]\nformat = 'custom'"), @"proxward.toml:2: gate.format: expected a table, found the word alone; see `proxward config explain gate.format`");
    assert_snapshot!(error("[gate]\nformat = { json = 1 }"), @"proxward.toml:2: gate.format.json: expected the word alone, found a whole number; see `proxward config explain gate.format.json`");
    assert_snapshot!(error("[gate.format.custom]\npattern = 1"), @"proxward.toml:2: gate.format.custom.pattern: expected a string, found a whole number; put the value in quotes");
    assert_snapshot!(error("[gate.format.custom]\npatern = ''"), @"proxward.toml:2: gate.format.custom.patern: unknown key; did you mean pattern?");
}

#[test]
fn keys() {
    assert_snapshot!(error("[gate]\nlisen = []"), @"proxward.toml:2: gate.lisen: unknown key; did you mean listen?");
    assert_snapshot!(error("[gate]\nworkers = 4"), @"proxward.toml:2: gate.workers: unknown key; remove it, or use one of: listen, port, name, format, tls, pair, ratio, echo");
    assert_snapshot!(error("[gate.tls]\ncert = ''\ncipher = ''"), @"proxward.toml:3: gate.tls.cipher: unknown key; remove it, or use one of: cert, enabled, on");
    assert_snapshot!(error("[gate]\nport = 1\n[gate.tls]\non = true"), @"proxward.toml:3: gate.tls.cert: required and not set; see `proxward config explain gate.tls.cert`");
    assert_snapshot!(error("[gate]\ntls = { cert = '', on = true, enabled = false }"), @"proxward.toml:2: gate.tls: given under two names as on; remove one of them");
    assert_snapshot!(error("[cells.\"a.b\"]\nmemory = 1"), @r#"proxward.toml:2: cells."a.b".memory: expected a string, found a whole number; put the value in quotes"#);
    assert_snapshot!(error("[cells.web]\nmemory = '1M'\ncpus = 2"), @"proxward.toml:3: cells.web.cpus: unknown key; remove it, or use one of: memory");
}

#[test]
fn sections() {
    assert_snapshot!(error("[gat]\nport = 1"), @"proxward.toml:1: gat: unknown section; did you mean [gate]?");
    assert_snapshot!(error("[monitoring]\nport = 1"), @"proxward.toml:1: monitoring: unknown section; remove it, or use one of: gate, cells, ban");
    assert_snapshot!(error("listen = 1"), @"proxward.toml:1: listen: a key outside any section; put it below the [section] it belongs to");
    assert_snapshot!(error("\ngate = 'on'"), @"proxward.toml:2: gate: expected a table, found a string; write [gate] and its keys below");
    assert_snapshot!(error("[[gate]]\nport = 1"), @"proxward.toml:1: gate: expected a table, found an array; write [gate] and its keys below");
}

#[test]
fn syntax() {
    assert_snapshot!(error("[gate]\nport = 1\nport = 2"), @"proxward.toml:3: not valid TOML: duplicate key; correct the line");
    assert_snapshot!(error("[gate]\n[ban]\n[gate]"), @"proxward.toml:3: not valid TOML: duplicate key; correct the line");
    assert_snapshot!(error("[gate]\nport = "), @"proxward.toml:2: not valid TOML: string values must be quoted, expected literal string; correct the line");
    assert_snapshot!(error("[gate\nport = 1"), @"proxward.toml:1: not valid TOML: unclosed table, expected `]`; correct the line");
    assert_snapshot!(error("[gate]\nname = 'a\nb'"), @"proxward.toml:3: not valid TOML: key with no value, expected `=`; correct the line");
    let deep = format!("gate.x = {}1{}", "[".repeat(30), "]".repeat(30));
    assert_snapshot!(error(&deep), @"proxward.toml:1: nested more than 16 levels deep; flatten it");
}

#[test]
fn environment() {
    assert_snapshot!(set("PROXWARD_GATE_PORT", "many"), @"environment PROXWARD_GATE_PORT: gate.port: expected a whole number from 0 to 65535, found a string; see `proxward config explain gate.port`");
    assert_snapshot!(set("PROXWARD_GATE_PORT", ""), @"environment PROXWARD_GATE_PORT: gate.port: expected a whole number from 0 to 65535, found a string; see `proxward config explain gate.port`");
    assert_snapshot!(set("PROXWARD_GATE_PROT", "1"), @"environment PROXWARD_GATE_PROT: gate.prot: unknown key; did you mean port?");
    assert_snapshot!(set("PROXWARD_GATE_LISTEN", "localhost"), @"environment PROXWARD_GATE_LISTEN: gate.listen[0]: invalid socket address syntax; see `proxward config explain gate.listen`");
    assert_snapshot!(set("PROXWARD_LISTEN", "1"), @"environment PROXWARD_LISTEN: stands for no key; unset it, or name it PROXWARD_SECTION_KEY with a section of GATE, CELLS, BAN and __ between nested keys");
    assert_snapshot!(set("PROXWARD_GATE_PORT__X", "1"), @"environment PROXWARD_GATE_PORT__X: gate.port: found a table, expected a whole number as in proxward.toml:2; make both the same kind of value");
    assert_snapshot!(set("PROXWARD_GATE_TLS__ON", "true"), @"environment PROXWARD_GATE_TLS__ON: gate.tls.cert: required and not set; see `proxward config explain gate.tls.cert`");
    let long = "x".repeat(settings::ENVIRONMENT_VALUE + 1);
    assert_snapshot!(set("PROXWARD_GATE_NAME", &long), @"environment PROXWARD_GATE_NAME: gate.name: longer than 65536 bytes; use a file");
}

#[test]
fn flags() {
    let flag = |key, flag, value: &str| refused(text("").flag(key, flag, [value])).to_string();
    assert_snapshot!(flag("gate.port", "--port", "http"), @"flag --port: gate.port: expected a whole number from 0 to 65535, found a string; see `proxward config explain gate.port`");
    assert_snapshot!(flag("gate.nope", "--nope", "1"), @"flag --nope: gate.nope: unknown key; did you mean name?");
    let layers = text("gate.tls.cert = ''").flag("gate.tls", "--tls", ["1"]);
    assert_snapshot!(refused(layers).to_string(), @"flag --tls: gate.tls: expected the table of proxward.toml:1, found a whole number; make both the same kind of value");
}

#[test]
fn an_undeclared_section_is_a_mistake_of_the_program() {
    let document = Layers::new(SECTIONS).load().unwrap();
    assert_snapshot!(document.section::<Gate>("gates").unwrap_err().to_string(), @"gates: the program does not declare this section; see `proxward config explain gates`");
}

#[test]
fn an_error_shows_no_secret_and_stays_one_line() {
    let shown = error("[gate]\necho = 'password=hunter2'\n");
    assert!(shown.starts_with("proxward.toml:2: gate.echo: can not use password="), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let shown = error("[cells.web]\ntoken = 'hunter2'\n");
    assert!(shown.contains("cells.web.token: unknown key; "), "{shown}");
    let shown = set("PROXWARD_GATE_FORMAT", "hunter2");
    assert!(!shown.contains("hunter2"), "{shown}");
    let shown = error("[gate]\n\"a\\nb\" = 1");
    assert!(!shown.contains('\n'), "{shown}");
}

#[test]
fn kinds_keys_and_places_are_there_for_programs() {
    let error = refused(text("[gate]\n\nport = 'x'"));
    assert_eq!((error.kind(), error.key()), (ErrorKind::Type, "gate.port"));
    assert_eq!(error.origin().to_string(), "proxward.toml:3");
}
