//! Which certificate is shown, for whom, and until when.

use std::time::Duration;

use ::gate::{Config, certificate_shown};
use serde_json::Value;
use telemetry::Rfc3339;

use super::{Finding, Verdict, finding};

const DAY: u64 = 24 * 3600;
/// From when on its end is warned of: an ACME certificate should have been renewed by now.
const SOON: u64 = 30 * DAY;
/// From when on it is urgent: Proxmox VE renews its own two weeks before the end.
const URGENT: u64 = 7 * DAY;

/// What the gate that runs says it shows, and what is wrong with the files it would show next.
pub(super) fn running(status: &Value, now: u64) -> Vec<Finding> {
    let text = |pointer: &str| status.pointer(pointer).and_then(Value::as_str);
    let mut findings = vec![shown(status.get("certificate").unwrap_or(&Value::Null), now)];
    if let Some(why) = text("/files/refused") {
        let text = format!("the files hold what can not be used, the former is shown: {why}");
        findings.push(finding("certificate_files", Verdict::Fail, text));
    }
    if let Some(file) = text("/files/out_of_reach") {
        let text = format!(
            "{file} is out of the gate's reach, as after a mount: systemctl reload proxward-gate"
        );
        findings.push(finding("reach", Verdict::Fail, text));
    }
    findings
}

/// What a gate with this configuration would show.
pub(super) fn configured(config: &Config, now: u64) -> Finding {
    shown(&certificate_shown(config), now)
}

/// Reads `{"names","file","not_before","not_after"}`.
fn shown(certificate: &Value, now: u64) -> Finding {
    let number = |key: &str| certificate.get(key).and_then(Value::as_u64);
    let (Some(from), Some(end)) = (number("not_before"), number("not_after")) else {
        return finding("certificate", Verdict::Unknown, "its dates can not be read");
    };
    let names = certificate.get("names").and_then(Value::as_array);
    let names: Vec<&str> = names.into_iter().flatten().filter_map(Value::as_str).collect();
    let file = certificate.get("file").and_then(Value::as_str).unwrap_or("no file");
    let at = |seconds| Rfc3339(Duration::from_secs(seconds)).to_string();
    let days = end.saturating_sub(now) / DAY;
    let (verdict, when) = match () {
        () if now > end => (Verdict::Fail, format!("expired at {}: renew it", at(end))),
        () if now < from => (Verdict::Fail, format!("not valid before {}", at(from))),
        () if end - now <= URGENT => {
            (Verdict::Warn, format!("ends in {days} days, at {}: renew it now", at(end)))
        }
        () if end - now <= SOON => (Verdict::Warn, format!("ends in {days} days, at {}", at(end))),
        () => (Verdict::Ok, format!("until {}, {days} days", at(end))),
    };
    finding("certificate", verdict, format!("{file} for {}: {when}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_is_told_from_30_days_before_and_is_a_finding_when_it_has_come() {
        let end = 1_795_000_000;
        let at = |now: u64| {
            let names = ["pve1", "192.0.2.10"];
            let certificate =
                json!({"names": names, "file": "/x.pem", "not_before": DAY, "not_after": end});
            let found = shown(&certificate, now);
            assert!(found.text.starts_with("/x.pem for pve1, 192.0.2.10: "), "{}", found.text);
            (found.verdict, found.text)
        };
        assert_eq!(at(end - 31 * DAY).0, Verdict::Ok);
        assert_eq!(at(end - 30 * DAY).0, Verdict::Warn);
        assert!(at(end - 8 * DAY).1.contains("ends in 8 days, at 2026-11-18T"));
        assert!(at(end - 7 * DAY).1.ends_with(": renew it now"));
        assert_eq!(at(end), (Verdict::Warn, at(end).1));
        assert_eq!(at(end + 1).0, Verdict::Fail);
        assert_eq!(at(DAY - 1).0, Verdict::Fail);
        assert_eq!(shown(&Value::Null, end).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_the_gate_can_not_use_or_reach_is_a_finding() {
        let ids = |files: Value| -> Vec<&'static str> {
            let findings = running(&json!({ "files": files }), 0);
            findings.iter().skip(1).map(|one| one.id).collect()
        };
        assert!(ids(json!({"refused": null, "out_of_reach": null})).is_empty());
        assert_eq!(
            ids(json!({"refused": "x", "out_of_reach": "/etc/pve/.version"})),
            ["certificate_files", "reach"]
        );
    }
}
