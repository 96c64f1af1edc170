//! The image specification as a file.
//!
//! It is a store path of its own so that Nix looks for references in it: every store path in any text of an image, be it an
//! environment variable or a line of `/etc/profile`, belongs to the image's closure.

use super::Derivation;
use crate::error::{CliError, ExitStatus};
use serde::Deserialize;
use serde_json::Value;

/// What the output wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    image: Value,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let mut json = serde_json::to_vec_pretty(&request.image).map_err(|error| {
        CliError::context(ExitStatus::Failed, "cannot write the specification", &error)
    })?;
    json.push(b'\n');
    derivation.write(&json)
}
