//! A session as a browser has it: ticket and CSRF token, and what is made with them.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::curl::{Curl, Reply};
use crate::demo::Ready;
use crate::home::Home;

/// A login with the demo's password.
pub(crate) struct Login {
    pub(crate) ticket: String,
    pub(crate) csrf: String,
    user: String,
    /// The whole answer.
    pub(crate) reply: Reply,
}

impl Login {
    pub(crate) fn new(home: &Home, ready: &Ready) -> Result<Self> {
        let curl = Curl::new(ready, "/api2/json/access/ticket")?.http1();
        let password = ready.password()?;
        let reply = curl.field("username", &ready.user).field("password", &password).send(home)?;
        let answer: Value = reply.json()?;
        let text = |key: &str| {
            let text = answer["data"][key].as_str().map(str::to_owned);
            text.with_context(|| format!("no {key}\n{reply}"))
        };
        let (ticket, csrf) = (text("ticket")?, text("CSRFPreventionToken")?);
        Ok(Self { ticket, csrf, user: ready.user.clone(), reply })
    }

    /// `curl` with the headers that authenticate and allow changes.
    pub(crate) fn on(&self, curl: Curl) -> Curl {
        let curl = curl.with("header", &format!("Cookie: PVEAuthCookie={}", self.ticket));
        curl.with("header", &format!("CSRFPreventionToken: {}", self.csrf))
    }

    /// The secret of a new token `name` with all rights of its user.
    pub(crate) fn create_token(&self, home: &Home, ready: &Ready, name: &str) -> Result<String> {
        let path = format!("/api2/json/access/users/{}/token/{name}", self.user);
        let created = self.on(Curl::new(ready, &path)?).field("privsep", "0").send(home)?;
        let value = created.json()?["data"]["value"].as_str().map(str::to_owned);
        value.with_context(|| format!("no token\n{created}"))
    }
}
