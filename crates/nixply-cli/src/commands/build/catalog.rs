//! A fleet's catalog, from its package sets and the closure of them all.

use super::Derivation;
use crate::commands::catalog;
use crate::error::CliError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the output wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    sets: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    level: Option<u32>,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let closure = derivation.closure()?;
    let catalog = catalog::of_sets(&closure, &request.sets, request.level)?;
    derivation.write(catalog.as_bytes())
}
