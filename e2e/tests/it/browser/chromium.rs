//! A headless Chromium of the test's own, that reaches nothing but loopback.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::devtools::{DevTools, Event};
use super::page::Page;
use crate::home::Home;
use crate::processes;
use crate::program::{END, PATIENCE, Running, skip, until};

/// Told to every start: nothing but the pages of the test, and no timers that slow down.
const OPTIONS: [&str; 21] = [
    "--headless",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--lang=en-US",
    "--window-size=1200,900",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-service-autorun",
    "--password-store=basic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-breakpad",
    "--disable-crash-reporter",
    "--disable-dev-shm-usage",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    // The browser would ask the user before another site's page reaches loopback. What is tested
    // is the gate, which may as well have a public address.
    "--disable-features=LocalNetworkAccessChecks,Translate,MediaRouter,OptimizationHints",
];

/// A browser that runs.
pub(super) struct Chromium {
    running: Running,
    devtools: Rc<RefCell<DevTools>>,
    profile: String,
}

/// Whether Chromium is there; says so when not.
pub(super) fn is_installed() -> bool {
    let found = Command::new("chromium").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        skip("Chromium is not there (Debian: apt install chromium)");
    }
    found
}

impl Chromium {
    /// It trusts the key with this SHA-256 in base64, whoever has signed for it, and no other.
    pub(super) fn start(home: &Home, trusted_key: &str) -> Result<Self> {
        let profile = home.scratch("chromium");
        fs::create_dir(&profile)?;
        let profile = profile.display().to_string();
        // Chromium wants its pipes as 3 and 4.
        let mut command = home.command("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >&2", "sh", "chromium"]);
        command.args(OPTIONS).arg(format!("--user-data-dir={profile}"));
        command.arg(format!("--ignore-certificate-errors-spki-list={trusted_key}"));
        if rustix::process::getuid().is_root() {
            // Its sandbox refuses root; containers have nobody else.
            command.arg("--no-sandbox");
        }
        let (running, to, from) = Running::start_talking(&mut command)?;
        let mut devtools = DevTools::new(to, from);
        let attach = json!({
            "autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true,
            "filter": [{ "type": "page" }],
        });
        let attached = devtools.call("", "Target.setAutoAttach", attach);
        attached.with_context(|| format!("chromium\n{}", running.stderr()))?;
        Ok(Self { running, devtools: Rc::new(RefCell::new(devtools)), profile })
    }

    /// An empty page in a profile of its own: no cookie of another.
    pub(super) fn page(&self) -> Result<Page> {
        let context = self.call("Target.createBrowserContext", json!({}))?;
        let context = context["browserContextId"].as_str().context("a context")?;
        let target = json!({ "url": "about:blank", "browserContextId": context });
        self.call("Target.createTarget", target)?;
        self.opened(context)
    }

    /// The page that another one opens.
    pub(super) fn opened_by(&self, page: &Page) -> Result<Page> {
        self.opened(page.context())
    }

    fn opened(&self, context: &str) -> Result<Page> {
        let fits = |event: &Event| {
            event.method == "Target.attachedToTarget"
                && event.params["targetInfo"]["browserContextId"] == context
        };
        let attached = self.devtools.borrow_mut().event("a new page", fits, PATIENCE)?;
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let info = &attached.params["targetInfo"];
        let (session, target) = (text(&attached.params["sessionId"]), text(&info["targetId"]));
        Page::begin(Rc::clone(&self.devtools), session, target, text(&info["browserContextId"]))
    }

    /// What of a context is downloaded lands in `folder`.
    pub(super) fn download_to(&self, page: &Page, folder: &Path) -> Result<()> {
        let behavior = json!({
            "behavior": "allow", "browserContextId": page.context(),
            "downloadPath": folder.display().to_string(),
        });
        self.call("Browser.setDownloadBehavior", behavior).map(drop)
    }

    /// Ends it; nothing of it is left.
    pub(super) fn end(self) -> Result<()> {
        self.call("Browser.close", json!({}))?;
        let Self { running, profile, .. } = self;
        let group = running.pid();
        running.wait(END)?;
        let gone = until(END, || {
            let left = processes::of_group(group).ok()?.is_empty();
            (left && processes::naming(&profile).ok()?.is_empty()).then_some(())
        });
        ensure!(gone.is_some(), "the browser left {:?}", processes::naming(&profile)?);
        Ok(())
    }

    fn call(&self, method: &str, params: serde_json::Value) -> Result<serde_json::Value> {
        self.devtools.borrow_mut().call("", method, params)
    }
}
