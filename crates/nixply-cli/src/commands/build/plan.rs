//! The plan of an image, from its specification and the closure of that specification.

use super::Derivation;
use crate::error::{CliError, ExitStatus};
use crate::image::{self, Request as ImageRequest};
use crate::input::read_file;
use crate::options::{ImageOptions, StoreOptions};
use crate::registries::RegistryOptions;
use nixply_image::{
    ImageSpec, ReferencesError, image_paths, in_dockertools_order, wants_dockertools_order,
};
use nixply_layer::Compression;
use nixply_store::{Closure, StorePath};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What the output wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    spec: PathBuf,
    /// Whether store paths are in the image; dockerTools has images without.
    #[serde(default = "yes")]
    include_store_paths: bool,
}

fn yes() -> bool {
    true
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
    let order = wants_dockertools_order(&spec).then(|| exact_order(&bytes, &exported));
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
    let mut plan = image::plan_spec(
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
    if let Some(order) = order {
        let (in_config, tars) = order.map_err(|error| cannot_use(&error))?;
        let spec_path = exported.store_dir().parse(&name).ok();
        if let Some(spec_path) = spec_path {
            plan = in_dockertools_order(plan, &exported, &spec_path, &in_config, &tars)
                .map_err(|error| cannot_use(&error))?;
        }
    }
    if !request.include_store_paths {
        plan = plan.without_store_layers();
    }
    image::warn_of_many_layers(&plan);
    image::warn_of_doubts(&plan);
    let json = plan
        .to_json()
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    derivation.write(json.as_bytes())
}

/// The store paths that the config of a specification names, and those that hold its layer tars: the two nodes by which
/// dockerTools reaches an image's store paths.
fn exact_order(
    spec: &[u8],
    exported: &Closure,
) -> Result<(Vec<StorePath>, Vec<StorePath>), ReferencesError> {
    let spec: Value = serde_json::from_slice(spec).map_err(ReferencesError::Json)?;
    let search = |field: &str| {
        let part = json!({ "config": spec[field] });
        image_paths(part.to_string().as_bytes(), exported)
    };
    Ok((search("config")?, search("layer_tars")?))
}
