//! Placeholder until its own commit.
use crate::config::Settings;
use broker_api::Refusal;
use serde_json::{Map, Value};
pub(crate) struct Commands;
impl Commands {
    pub(crate) fn new(_: &Settings) -> Self {
        Self
    }
    pub(crate) fn handle(&self, _: &str, _: &Map<String, Value>) -> Result<Value, Refusal> {
        Err(super::handler::not_mine())
    }
}
