//! The plan of an image, from its specification and the closure of that specification.

use super::Derivation;
use crate::error::{CliError, ExitStatus};
use crate::image::{self, Request as ImageRequest};
use crate::input::read_file;
use crate::options::{ImageOptions, StoreOptions};
use crate::registries::RegistryOptions;
use nixply_image::{ImageSpec, image_paths};
use nixply_layer::Compression;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// What the output wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    spec: PathBuf,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let name = request.spec.display().to_string();
    let bytes = read_file(&request.spec)?;
    let cannot_use = |error: &(dyn std::error::Error + 'static)| {
        CliError::context(ExitStatus::Input, format!("cannot use `{name}`"), error)
    };
    let spec = ImageSpec::from_json(&bytes).map_err(|error| cannot_use(&error))?;
    let exported = derivation.closure()?;
    let paths = image_paths(&bytes, &exported).map_err(|error| cannot_use(&error))?;
    let closure = match paths.as_slice() {
        [] => None,
        paths => Some(
            exported
                .restrict(paths)
                .map_err(|error| cannot_use(&error))?,
        ),
    };
    let registries = RegistryOptions::default().registries(&[])?;
    let base = request.spec.parent().unwrap_or(Path::new("/"));
    let plan = image::plan_spec(
        closure,
        spec,
        base,
        &ImageRequest {
            image: &name,
            options: &ImageOptions::default(),
            name: None,
            default_compression: Compression::default(),
            registries: &registries,
            store: &StoreOptions::default(),
        },
    )?
    .0;
    image::warn_of_many_layers(&plan);
    let json = plan
        .to_json()
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    derivation.write(json.as_bytes())
}
