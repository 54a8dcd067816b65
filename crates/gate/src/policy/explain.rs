//! `proxward gate explain`: which rule decides about a call, without making it.

use std::cell::OnceCell;
use std::net::IpAddr;

use http::Method;
use pve_schema::Verb;
use serde::Serialize;

use super::accounts::Accounts;
use super::active::{InForce, PolicyError};
use super::pattern::Segments;
use super::profile::Row;
use super::rule::{Factors, Given, Question, Who};
use super::rules::{By, Decision, PolicyRules};
use crate::edge::decode_path;
use crate::login::{Kind, Params, Shape, encode};
use crate::route::Route;

/// A call that somebody might make.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: String,
    /// Path as a client writes it, or below the format: `/nodes/pve1/qemu/100`.
    pub path: String,
    /// `name@realm`; None asks for somebody who has not logged in.
    pub user: Option<String>,
    /// Groups to count the user to, besides those of `user.cfg`.
    pub groups: Vec<String>,
    /// `name@realm!token`.
    pub token: Option<String>,
    /// The client.
    pub client: IpAddr,
    /// In seconds since 1970.
    pub now: u64,
    /// Whether the login has passed a second factor.
    pub second_factor: bool,
    /// Whether a code was just shown to the gate.
    pub stepped_up: bool,
    /// Names and values.
    pub params: Vec<(String, String)>,
}

/// What the policy says.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the call would be passed on. Proxmox VE judges it then.
    pub allowed: bool,
    /// `rule`, `profile`, `execute`, `tfa`, `step_up` or `default`.
    pub by: &'static str,
    /// The rule's or the profile's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The row of a profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// Why the row is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Method and path as the rules saw them.
    pub call: String,
}

impl PolicyRules {
    /// Judges a call that nobody makes. Groups and roles are read as a running gate reads them.
    ///
    /// # Errors
    /// One line: what of the question makes no sense, or a file that can not be read.
    pub fn explain(&self, asked: &Asked) -> Result<Verdict, String> {
        let method =
            Verb::from_http(&asked.method).ok_or("the method is GET, POST, PUT or DELETE")?;
        let path = decode_path(&asked.path).map_err(|_| "the path holds what no path may")?;
        let (below, opens) = match Route::of(&path) {
            route @ Route::Api(_, below) => {
                let method = Method::from_bytes(asked.method.as_bytes()).unwrap_or_default();
                (below, route.is_open(&method))
            }
            Route::Own(_) => (&*path, false),
            Route::Page(path) => {
                let api = format!("/api2/json{path}");
                let method = Method::from_bytes(asked.method.as_bytes()).unwrap_or_default();
                (path, Route::of(&api).is_open(&method))
            }
        };
        let segments = Segments::of(below).ok_or("the path has more segments than any call")?;
        let accounts = self.accounts_for(asked).map_err(|error| error.to_string())?;
        let user = match (&asked.user, &asked.token) {
            (Some(user), _) => Some(user.as_str()),
            (None, Some(token)) => token.rsplit_once('!').map(|(user, _)| user),
            (None, None) => None,
        };
        let params = form(&asked.params)?;
        let question = Question {
            method,
            path: &segments,
            who: user.map(|user| Who { user, token: asked.token.as_deref() }),
            client: asked.client,
            now: asked.now,
            accounts: &accounts,
            params: Given::All(&params),
            factors: Factors {
                second: asked.second_factor,
                stepped_up: asked.stepped_up.then_some(asked.now),
            },
            found: OnceCell::new(),
        };
        let call = format!("{} {}", asked.method, segments.path());
        match self.decide(&question, opens) {
            Decision::Allow(by) => Ok(verdict(true, by, call)),
            Decision::Deny(by) => Ok(verdict(false, by, call)),
            Decision::SecondFactor(name) => Ok(demand("tfa", name, call)),
            Decision::StepUp(name) => Ok(demand("step_up", name, call)),
            Decision::NeedsParameters => Err("the parameters are missing".to_owned()),
        }
    }

    /// The file is not needed where every group is given and no rule asks for roles.
    fn accounts_for(&self, asked: &Asked) -> Result<Accounts, PolicyError> {
        let read = InForce::read(self.clone()).map(|now| Accounts::clone(&now.accounts));
        let mut accounts = match read {
            Err(_) if !asked.groups.is_empty() => Accounts::default(),
            read => read?,
        };
        for group in &asked.groups {
            accounts.join(asked.user.as_deref().unwrap_or_default(), group);
        }
        Ok(accounts)
    }
}

fn verdict(allowed: bool, by: By<'_>, call: String) -> Verdict {
    let (word, name, row) = match by {
        By::Rule(name) => ("rule", Some(name.to_owned()), None),
        By::Profile(name, row) => ("profile", Some(name.to_owned()), Some(row)),
        By::Execute => ("execute", None, None),
        By::Default => ("default", None, None),
    };
    let reason = row.map(|row| row.reason);
    Verdict { allowed, by: word, name, row: row.map(Row::text), reason, call }
}

fn demand(by: &'static str, name: &str, call: String) -> Verdict {
    let name = Some(name.to_owned());
    Verdict { allowed: false, by, name, row: None, reason: None, call }
}

/// As a client would send them, read as a gate reads them.
fn form(params: &[(String, String)]) -> Result<Params, String> {
    let mut body = Vec::new();
    for (name, value) in params {
        encode(&mut body, name.as_bytes());
        body.push(b'=');
        encode(&mut body, value.as_bytes());
        body.push(b'&');
    }
    let read = Params::read((Kind::Form, Shape::CALL), &body, None);
    read.map_err(|_| "more parameters than any call".to_owned())
}
