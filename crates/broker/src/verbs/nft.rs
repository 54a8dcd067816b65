//! Placeholder until its own commit.
use broker_api::Refusal;
use serde_json::{Map, Value};

pub(crate) struct Nft;
impl Nft {
    pub(crate) fn open() -> Result<Self, String> {
        Ok(Self)
    }
    pub(crate) fn handle(&self, _: &str, _: &Map<String, Value>) -> Result<Value, Refusal> {
        Err(super::handler::not_mine())
    }
}
