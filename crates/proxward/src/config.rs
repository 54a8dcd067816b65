//! `proxward config`, and where configuration comes from.

use std::fmt::Display;
use std::path::Path;

use ::gate::{Config as GateConfig, Settings};
use serde_json::json;
use settings::{Document, Layers, Presence};

use crate::cli::{Config, ConfigAction, ConfigFile, Format};
use crate::exit::{Exit, Stop};
use crate::output::result;

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

/// The section `[gate]`, checked. An error names the place its value was set at.
pub(crate) fn gate(document: &Document) -> Result<GateConfig, Stop> {
    let settings: Settings = document.section("gate").map_err(Stop::usage)?;
    settings.check().map_err(|error| placed(document, error.key(), &error))
}

/// A refused value with the place it was set at; of one within a list, the place of the list.
pub(crate) fn placed(document: &Document, key: &str, error: &dyn Display) -> Stop {
    let list = key.split('[').next().unwrap_or(key);
    let origins = [key, list].map(|key| document.origin(key));
    let origin = origins.into_iter().find(|origin| *origin != settings::Origin::Default);
    let place = origin.map(|origin| format!("{origin}: ")).unwrap_or_default();
    Stop::say(Exit::Usage, format!("{place}{error}"))
}

fn check(file: &ConfigFile) -> Result<(), Stop> {
    let document = layers(file.config.as_deref()).load().map_err(Stop::usage)?;
    gate(&document)?;
    crate::broker::policy(file.config.as_deref())?;
    result(match file.format {
        Format::Text => "the configuration is valid",
        Format::Json => "{\"valid\":true}",
    });
    Ok(())
}

fn show(file: &ConfigFile) -> Result<(), Stop> {
    let document = layers(file.config.as_deref()).load().map_err(Stop::usage)?;
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
