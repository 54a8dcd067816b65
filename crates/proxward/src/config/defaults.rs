//! `/etc/default/pveproxy`, or the copy of it that the gate was given, as values of `[gate]`.

use std::path::PathBuf;

use ::gate::FromDefaults;
use pve_formats::proxy_defaults::ProxyDefaults;
use settings::Document;

use crate::exit::{Exit, Stop};
use crate::output::note;

/// Fills what is set nowhere from the file that `gate.pveproxy_defaults` names. What of it is not
/// taken as stock takes it is said on stderr.
pub(super) fn fill(document: &mut Document) -> Result<(), Stop> {
    let Some(path) = document.text("gate.pveproxy_defaults").map(PathBuf::from) else {
        return Ok(());
    };
    let text = settings::read(&path).map_err(Stop::usage)?;
    let at = |line: usize, what: &str| format!("{}:{line}: {what}", path.display());
    let refused = |line, what: &str| Stop::say(Exit::Usage, at(line, what));
    let file = ProxyDefaults::parse(text.as_bytes())
        .map_err(|error| refused(error.line(), &error.reason()))?;
    let read = FromDefaults::new(&file).map_err(|fault| refused(fault.line, &fault.to_string()))?;
    for value in &read.values {
        document.fill(value.key, &value.value, (&path, value.line)).map_err(Stop::usage)?;
    }
    for warning in &read.warnings {
        note(&format!("warning: {}", at(warning.line, &warning.to_string())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use settings::{Layers, Origin};

    fn load(directory: &Path, defaults: &str, toml: &str) -> Result<Document, String> {
        let path = directory.join("pveproxy");
        std::fs::write(&path, defaults).unwrap();
        let toml = format!("[gate]\npveproxy_defaults = {path:?}\n{toml}");
        let mut document = Layers::new(&["gate"]).text("proxward.toml", toml).load().unwrap();
        fill(&mut document).map(|()| document).map_err(|stop| format!("{stop:?}"))
    }

    #[test]
    fn the_file_fills_what_is_not_set_and_keeps_its_lines() {
        let directory = tempfile::tempdir().unwrap();
        let text = "# x\nALLOW_FROM=10.0.0.0/8\nPOLICY=deny\nMAX_WORKERS=5\n";
        let document = load(directory.path(), text, "policy = 'allow'\n").unwrap();
        let settings: ::gate::Settings = document.section("gate").unwrap();
        assert_eq!(settings.allow_from.as_deref(), Some("10.0.0.0/8"));
        assert_eq!(settings.address_policy, Some(::gate::AddressPolicy::Allow));
        assert_eq!(settings.workers, Some(5));
        let path = directory.path().join("pveproxy");
        let line = |line| Origin::File { path: path.clone().into(), line };
        assert_eq!(document.origin("gate.allow_from"), line(2));
        assert_eq!(document.origin("gate.workers"), line(4));
        assert_eq!(document.origin("gate.address_policy").to_string(), "proxward.toml:3");
    }

    #[test]
    fn faults_name_file_and_line() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["\nPOLICY=$X", "\nPOLICY=maybe", "\nALLOW_FROM=10.0.0.1/8"] {
            let fault = load(directory.path(), text, "").err().unwrap();
            assert!(fault.contains("pveproxy:2: "), "{fault}");
        }
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let toml = "[gate]\npveproxy_defaults = '/nonexistent/pveproxy'";
        let mut document = Layers::new(&["gate"]).text("x", toml).load().unwrap();
        assert!(fill(&mut document).is_err());
    }
}
