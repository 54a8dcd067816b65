//! `proxward gate explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use ::gate::{PolicyQuestion, PolicyVerdict, Settings};
use clap::Args;
use telemetry::Clock;

use crate::cli::Format;
use crate::config;
use crate::exit::{Exit, Stop};
use crate::output::result;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  proxward gate explain DELETE /nodes/pve1/qemu/100 \
    --user alice@pve --from 192.0.2.7\n\n\
    Exit codes: 0 the call would be passed on, 1 it would be refused. Nothing is asked of a gate \
    that runs, and Proxmox VE judges what is passed on.")]
pub(crate) struct Explain {
    /// GET, POST, PUT or DELETE
    pub(crate) method: String,
    /// Path as a client writes it, or below /api2/json
    pub(crate) path: String,
    /// Who asks, name@realm or name@realm!token; without it, somebody who has not logged in
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// A group of that user, besides those in user.cfg
    #[arg(long, value_name = "GROUP", requires = "user")]
    pub(crate) group: Vec<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) from: IpAddr,
    /// When, in seconds since 1970 or as RFC 3339; without it, now
    #[arg(long, value_name = "TIME", value_parser = crate::mock::time)]
    pub(crate) at: Option<std::time::Duration>,
    /// As if the login had passed a second factor
    #[arg(long)]
    pub(crate) tfa: bool,
    /// As if a code had just been shown to the gate
    #[arg(long)]
    pub(crate) step_up: bool,
    /// Parameter
    #[arg(short = 'd', long = "data", value_name = "KEY=VALUE")]
    pub(crate) data: Vec<String>,
    /// Configuration instead of /etc/proxward/proxward.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
}

pub(crate) fn run(arguments: &Explain) -> Result<(), Stop> {
    let document = config::layers(arguments.config.as_deref()).load().map_err(Stop::usage)?;
    let settings: Settings = document.section("gate").map_err(Stop::usage)?;
    let rules = settings
        .policy
        .check()
        .map_err(|(key, what)| Stop::say(Exit::Usage, format!("gate.policy.{key}: {what}")))?;
    let params = arguments.data.iter().map(|pair| {
        let split = pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        split.ok_or_else(|| Stop::say(Exit::Usage, format!("-d {pair}: write KEY=VALUE")))
    });
    let token = arguments.user.clone().filter(|user| user.contains('!'));
    let user =
        arguments.user.as_deref().map(|user| user.rsplit_once('!').map_or(user, |(user, _)| user));
    let question = PolicyQuestion {
        method: arguments.method.to_uppercase(),
        path: arguments.path.clone(),
        user: user.map(str::to_owned),
        groups: arguments.group.clone(),
        token,
        client: arguments.from,
        now: arguments.at.map_or_else(|| Clock::system().unix_secs(), |at| at.as_secs()),
        second_factor: arguments.tfa,
        stepped_up: arguments.step_up,
        params: params.collect::<Result<_, _>>()?,
    };
    let verdict = rules.explain(&question).map_err(|what| Stop::say(Exit::Usage, what))?;
    result(&match arguments.format {
        Format::Text => text(&verdict),
        Format::Json => serde_json::to_string(&verdict).map_err(Stop::usage)?,
    });
    if verdict.allowed { Ok(()) } else { Err(Stop::status(Exit::No as u8)) }
}

/// The verdict in the first line, then why.
fn text(verdict: &PolicyVerdict) -> String {
    let word = if verdict.allowed { "passed on" } else { "refused" };
    let by = match (verdict.by, &verdict.name) {
        ("default", _) => "no rule is about it; the default decides".to_owned(),
        ("execute", _) => "it runs calls that no rule sees (allow_execute is not set)".to_owned(),
        ("tfa", Some(name)) => format!("tfa '{name}' asks for a second factor at the login"),
        ("step_up", Some(name)) => format!("step_up '{name}' asks for a code first"),
        (by, name) => format!("{by} '{}' decides", name.as_deref().unwrap_or_default()),
    };
    let mut text = format!("{word}: {}\n{by}", verdict.call);
    if let (Some(row), Some(reason)) = (&verdict.row, verdict.reason) {
        text.push_str(&format!("\n  {row}: {reason}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::gate::PolicySettings;

    const POLICY: &str = r#"{"profiles":["no-shell"],"rule":[
        {"name":"keep prod","effect":"deny","methods":["DELETE"],
         "path":"/nodes/*/qemu/{vmid}/**","params":{"vmid":"100-199"},"except_users":["root@pam"]}]}"#;

    fn explained(method: &str, path: &str, user: Option<&str>) -> PolicyVerdict {
        let settings: PolicySettings = serde_json::from_str(POLICY).unwrap();
        let question = PolicyQuestion {
            method: method.to_owned(),
            path: path.to_owned(),
            user: user.map(str::to_owned),
            groups: Vec::new(),
            token: None,
            client: "192.0.2.1".parse().unwrap(),
            now: 0,
            second_factor: false,
            stepped_up: false,
            params: Vec::new(),
        };
        settings.check().unwrap().explain(&question).unwrap()
    }

    #[test]
    fn verdicts_say_which_rule_decides() {
        let calls = [
            ("DELETE", "/nodes/pve1/qemu/150", Some("alice@pve")),
            ("DELETE", "/api2/extjs/nodes/pve1//qemu/%31%350/", Some("alice@pve")),
            ("DELETE", "/nodes/pve1/qemu/150", Some("root@pam")),
            ("POST", "/nodes/pve1/termproxy", Some("root@pam")),
            ("POST", "/nodes/pve1/execute", Some("root@pam")),
            ("POST", "/access/ticket", None),
        ];
        let mut shown = String::new();
        for (method, path, user) in calls {
            let verdict = explained(method, path, user);
            let json = serde_json::to_string(&verdict).unwrap();
            shown.push_str(&format!("$ {method} {path} {user:?}\n{}\n{json}\n\n", text(&verdict)));
        }
        insta::assert_snapshot!(shown);
    }
}
