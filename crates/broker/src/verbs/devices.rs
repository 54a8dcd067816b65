//! Placeholder until its own commit.
use broker_api::Refusal;
use serde_json::Value;

pub(crate) struct Devices;
impl Devices {
    pub(crate) fn new(_: std::path::PathBuf) -> Self {
        Self
    }
    pub(crate) fn handle(&self, _: &str) -> Result<Value, Refusal> {
        Err(super::handler::not_mine())
    }
}
