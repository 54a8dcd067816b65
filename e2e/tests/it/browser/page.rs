//! A page of the browser: looked at by its own scripts, used by mouse and keyboard.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::devtools::{DevTools, Event};
use crate::program::{PATIENCE, until};

/// Tells the test of everything that a Content-Security-Policy has refused.
const WATCH: &str = "addEventListener('securitypolicyviolation', (event) => \
    violated(`${event.effectiveDirective} ${event.blockedURI}`));";

/// Variable with a directory for pictures.
const PICTURES: &str = "PROXWARD_PICTURES";

/// Events that say that something is wrong with a page.
const FAULTS: [&str; 3] = ["Runtime.exceptionThrown", "Runtime.bindingCalled", "Log.entryAdded"];

/// One page. Left open, it ends with the browser.
pub(super) struct Page {
    devtools: Rc<RefCell<DevTools>>,
    session: String,
    target: String,
    context: String,
}

impl Page {
    /// Takes over a page that waits for it.
    pub(super) fn begin(
        devtools: Rc<RefCell<DevTools>>,
        session: String,
        target: String,
        context: String,
    ) -> Result<Self> {
        let page = Self { devtools, session, target, context };
        // A page that another one opens answers nothing before the last of these.
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.order(&format!("{domain}.enable"), json!({}))?;
        }
        page.order("Runtime.addBinding", json!({ "name": "violated" }))?;
        page.order("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH }))?;
        page.call("Runtime.runIfWaitingForDebugger", json!({}))?;
        Ok(page)
    }

    /// The profile it belongs to.
    pub(super) fn context(&self) -> &str {
        &self.context
    }

    /// Loads an address, to its end.
    pub(super) fn open(&self, url: &str) -> Result<()> {
        let navigated = self.call("Page.navigate", json!({ "url": url }))?;
        ensure!(navigated.get("errorText").is_none(), "{url}: {}", navigated["errorText"]);
        self.until("the page to load", "document.readyState === 'complete'").map(drop)
    }

    /// The same address once more; `mark` is gone when it is the new page that answers.
    pub(super) fn reload(&self) -> Result<()> {
        self.js("globalThis.old = true")?;
        self.call("Page.reload", json!({}))?;
        self.until_new()
    }

    /// Waits for the page that takes the place of the one in which `old` was set.
    pub(super) fn until_new(&self) -> Result<()> {
        self.until("the next page", "!globalThis.old && document.readyState === 'complete'")
            .map(drop)
    }

    /// The value of an expression in the page, of its promise if it is one. What the page's policy
    /// forbids to scripts is forbidden to it too.
    pub(super) fn js(&self, expression: &str) -> Result<Value> {
        let evaluate = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
            "userGesture": true, "allowUnsafeEvalBlockedByCSP": false,
        });
        let mut answer = self
            .call("Runtime.evaluate", evaluate)
            .with_context(|| format!("while the page looks at: {expression}"))?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            bail!("{expression}: {}", thrown["exception"]["description"]);
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true, and returns it.
    pub(super) fn until(&self, what: &str, expression: &str) -> Result<Value> {
        let mut last = None;
        let found = until(PATIENCE, || match self.js(expression) {
            Ok(Value::Null | Value::Bool(false)) => None,
            Ok(value) => Some(value),
            // Between two pages there is none to ask.
            Err(error) => {
                last = Some(error);
                None
            }
        });
        found.with_context(|| {
            let shown = self.js("`${location} ${document.body?.innerText}`").unwrap_or_default();
            format!("the page does not come to: {what}; {last:?}\n{shown}")
        })
    }

    /// Clicks with the mouse on what a selector finds, once it is there.
    pub(super) fn click(&self, selector: &str) -> Result<()> {
        let middle = format!(
            "(() => {{ const element = document.querySelector({selector}); \
             if (!element || element.disabled) return null; \
             element.scrollIntoView({{ block: 'center' }}); \
             const box = element.getBoundingClientRect(); \
             const [x, y] = [box.x + box.width / 2, box.y + box.height / 2]; \
             return element.contains(document.elementFromPoint(x, y)) ? {{ x, y }} : null; }})()",
            selector = json!(selector),
        );
        let at = self.until(&format!("{selector} to click on"), &middle)?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// Replaces what a field holds.
    pub(super) fn fill(&self, selector: &str, text: &str) -> Result<()> {
        self.click(selector)?;
        self.js(&format!("document.querySelector({}).select()", json!(selector)))?;
        self.call("Input.insertText", json!({ "text": text })).map(drop)
    }

    /// Presses keys one after the other.
    pub(super) fn keys(&self, keys: &[&str]) -> Result<()> {
        for key in keys {
            let text = if *key == "Enter" { "\r" } else { key };
            let down = json!({ "type": "keyDown", "key": key, "text": text });
            self.call("Input.dispatchKeyEvent", down)?;
            self.call("Input.dispatchKeyEvent", json!({ "type": "keyUp", "key": key }))?;
        }
        Ok(())
    }

    /// Chooses from a list.
    pub(super) fn choose(&self, selector: &str, value: &str) -> Result<()> {
        let (selector, value) = (json!(selector), json!(value));
        self.js(&format!(
            "(() => {{ const list = document.querySelector({selector}); list.value = {value}; \
             list.dispatchEvent(new Event('change')); }})()"
        ))
        .map(drop)
    }

    /// Names the file of a field.
    pub(super) fn choose_file(&self, selector: &str, file: &Path) -> Result<()> {
        let expression = format!("document.querySelector({})", json!(selector));
        let found = self.call("Runtime.evaluate", json!({ "expression": expression }))?;
        let files = json!({ "files": [file], "objectId": found["result"]["objectId"] });
        self.call("DOM.setFileInputFiles", files).map(drop)
    }

    /// Another browser by name.
    pub(super) fn pretend(&self, user_agent: &str) -> Result<()> {
        self.call("Emulation.setUserAgentOverride", json!({ "userAgent": user_agent })).map(drop)
    }

    /// All cookies for the page, those that its scripts can not read among them.
    pub(super) fn cookies(&self) -> Result<Vec<Value>> {
        let cookies = self.call("Network.getCookies", json!({}))?;
        cookies["cookies"].as_array().cloned().context("cookies")
    }

    /// Answers requests that match with a page, in the place of any server.
    pub(super) fn serve(&self, pattern: &str, html: &str) -> Result<()> {
        self.devtools.borrow_mut().serve(&self.session, pattern, html)
    }

    /// Everything wrong since this was last asked: what scripts threw, what a policy refused, and
    /// what the browser logged.
    pub(super) fn faults(&self) -> Result<Vec<String>> {
        let fits = |event: &Event| {
            event.session == self.session && FAULTS.contains(&event.method.as_str())
        };
        let events = self.devtools.borrow_mut().take(fits)?;
        let shown = events.iter().map(|event| match event.method.as_str() {
            "Runtime.bindingCalled" => format!("refused: {}", event.params["payload"]),
            "Runtime.exceptionThrown" => {
                format!("thrown: {}", event.params["exceptionDetails"]["exception"]["description"])
            }
            _ => format!(
                "logged: {} {}",
                event.params["entry"]["text"], event.params["entry"]["url"]
            ),
        });
        Ok(shown.collect())
    }

    /// Nothing is wrong but what was expected: a word of it.
    pub(super) fn nothing_wrong_but(&self, expected: &[&str]) -> Result<()> {
        let faults = self.faults()?;
        let others =
            faults.iter().filter(|fault| !expected.iter().any(|word| fault.contains(word)));
        let others: Vec<&String> = others.collect();
        ensure!(others.is_empty(), "{others:#?}");
        Ok(())
    }

    /// Writes a picture of it into the directory that `PROXWARD_PICTURES` names, where somebody
    /// wants to look.
    pub(super) fn picture(&self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os(PICTURES) else { return Ok(()) };
        let picture = self.call("Page.captureScreenshot", json!({}))?;
        let bytes = STANDARD.decode(picture["data"].as_str().context("a picture")?)?;
        std::fs::write(Path::new(&folder).join(name).with_extension("png"), bytes)?;
        Ok(())
    }

    /// Closes it.
    pub(super) fn close(self) -> Result<()> {
        let close = json!({ "targetId": self.target });
        self.devtools.borrow_mut().call("", "Target.closeTarget", close).map(drop)
    }

    /// Calls a method whose answer comes late and does not matter.
    fn order(&self, method: &str, params: Value) -> Result<()> {
        self.devtools.borrow_mut().send(&self.session, method, params).map(drop)
    }

    /// Calls a method of the protocol for this page.
    fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.devtools.borrow_mut().call(&self.session, method, params)
    }
}
