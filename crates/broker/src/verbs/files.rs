//! Placeholder until its own commit.
use crate::config::Settings;
use broker_api::Refusal;
use serde_json::{Map, Value};
pub(crate) struct Files;
impl Files {
    pub(crate) fn new(_: &Settings) -> Result<Self, String> {
        Ok(Self)
    }
    pub(crate) fn handle(&self, _: &str, _: &Map<String, Value>) -> Result<Value, Refusal> {
        Err(super::handler::not_mine())
    }
}
