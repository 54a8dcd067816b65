//! What of an API the mock models.

use pve_schema::{Schema, Verb};

use crate::api::unmodelled;
use crate::error::StartError;
use crate::shared::Api;

/// Methods that have no handler of their own, sorted by path: they answer from the schema, and
/// what is written to them is kept and shown again, but nothing else follows from it.
///
/// # Errors
/// When an imported document does not parse.
pub fn unmodelled(api: &Api) -> Result<Vec<(Verb, String)>, StartError> {
    match api {
        Api::V9 => Ok(unmodelled::list(Schema::v9())),
        Api::V8 => Ok(unmodelled::list(Schema::v8())),
        Api::Document(text) => Schema::from_apidoc(text)
            .map(|schema| unmodelled::list(&schema))
            .map_err(|error| StartError::Schema(error.to_string())),
    }
}
