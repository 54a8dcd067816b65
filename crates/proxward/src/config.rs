//! `proxward config`, and where configuration comes from.

mod defaults;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use ::gate::{Config as GateConfig, Settings};
use serde_json::json;
use settings::{Document, Layers, Origin, Presence};

use crate::cli::{Config, ConfigAction, ConfigFile, Format};
use crate::exit::{Exit, Stop};
use crate::output::{note, result};

const FILE: &str = "/etc/proxward/proxward.toml";
const DIRECTORY: &str = "/etc/proxward/conf.d";
const SECTIONS: &[&str] = &["gate", "broker"];
/// Variables with our prefix that are not configuration.
const NOT_CONFIGURATION: &[&str] = &[
    secrets::environ::MARKER,
    "PROXWARD_PASSWORD",
    "PROXWARD_TOKEN",
    "PROXWARD_SHARED",
    "PROXWARD_BIN",
];

pub(crate) fn run(arguments: &Config) -> Result<(), Stop> {
    match &arguments.action {
        ConfigAction::Check(file) => check(file),
        ConfigAction::Show(file) => show(file),
    }
}

/// The named file, or the system's file with what lies in its `conf.d`; then the environment.
pub(crate) fn layers(named: Option<&Path>) -> Layers {
    let layers = Layers::new(SECTIONS);
    let layers = match named {
        Some(path) => layers.file(path, Presence::Required),
        None => layers.file(Path::new(FILE), Presence::Optional).directory(Path::new(DIRECTORY)),
    };
    layers.environment(std::env::vars_os(), NOT_CONFIGURATION)
}

/// Reads all layers, and the settings of pveproxy where one of them names their file.
pub(crate) fn load(layers: Layers) -> Result<Document, Stop> {
    let mut document = layers.load().map_err(Stop::usage)?;
    defaults::fill(&mut document)?;
    Ok(document)
}

/// Where [`layers`] reads: the directories, as an editor puts a new file in the place of the old.
pub(crate) fn files(named: Option<&Path>) -> Vec<PathBuf> {
    let file = named.unwrap_or(Path::new(FILE));
    file.parent().map(Path::to_owned).into_iter().collect()
}

/// The section `[gate]`, checked. An error names the place its value was set at.
pub(crate) fn gate(document: &Document) -> Result<GateConfig, Stop> {
    let settings: Settings = document.section("gate").map_err(Stop::usage)?;
    let checked = settings.check();
    let config =
        checked.map_err(|error| Stop::say(Exit::Usage, placed(document, error.key(), &error)))?;
    for warning in &config.warnings {
        note(&format!("warning: {}", placed(document, warning.key(), warning)));
    }
    Ok(config)
}

/// A text about a key, with the place it was set at.
fn placed(document: &Document, key: &str, text: &dyn Display) -> String {
    match document.origin(key) {
        Origin::Default => text.to_string(),
        origin => format!("{origin}: {text}"),
    }
}

fn check(file: &ConfigFile) -> Result<(), Stop> {
    let document = load(layers(file.config.as_deref()))?;
    gate(&document)?;
    crate::broker::policy(file.config.as_deref())?;
    result(match file.format {
        Format::Text => "the configuration is valid",
        Format::Json => "{\"valid\":true}",
    });
    Ok(())
}

fn show(file: &ConfigFile) -> Result<(), Stop> {
    let document = load(layers(file.config.as_deref()))?;
    let entries: Vec<_> = document.entries().collect();
    match file.format {
        Format::Text => {
            for entry in entries {
                result(&format!("{} = {}  # {}", entry.key, entry.value, entry.origin));
            }
        }
        Format::Json => {
            let entries = entries.iter().map(|entry| {
                json!({
                    "key": entry.key,
                    "value": entry.value,
                    "origin": entry.origin.to_string(),
                })
            });
            result(&json!(entries.collect::<Vec<_>>()).to_string());
        }
    }
    Ok(())
}
