//! Configurations as administrators write them, right and wrong.
#![expect(clippy::unwrap_used, reason = "tests")]

mod errors;
mod files;
mod layers;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;
use settings::Layers;

const SECTIONS: &[&str] = &["gate", "cells", "ban"];

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct Gate {
    listen: Vec<SocketAddr>,
    port: u16,
    name: String,
    format: Format,
    tls: Option<Tls>,
    pair: Option<(u8, u8)>,
    ratio: f64,
    echo: Option<Echo>,
}

/// Repeats what it refuses, as many a parser does.
#[derive(Debug, PartialEq)]
struct Echo;

impl<'de> Deserialize<'de> for Echo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format!("can not use\n{text}")))
    }
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Text,
    Json,
    Custom {
        pattern: String,
    },
}

/// Says nothing about unknown keys: they are refused all the same.
#[derive(Debug, Deserialize, PartialEq)]
struct Tls {
    cert: String,
    #[serde(default, alias = "enabled")]
    on: bool,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Cell {
    memory: String,
}

type Cells = BTreeMap<String, Cell>;

fn text(toml: &str) -> Layers {
    Layers::new(SECTIONS).text("proxward.toml", toml)
}

fn variables(layers: Layers, variables: &[(&str, &str)]) -> Layers {
    let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
    layers.environment(variables, &["PROXWARD_PASSWORD"])
}
