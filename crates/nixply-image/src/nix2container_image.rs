//! `image.json`: the image that nix2container's `buildImage` and `pullImage` write down.
//!
//! It names the layers with the hashes that their tars had when they were built, so a plan follows from it without
//! packing and without asking Nix. The layers are made again in nix2container's own bytes, so their diff IDs are those
//! that stand in the file. `docs/migrating-from-nix2container.md` says what is the same.

use crate::{PackerRecord, Plan, PlannedLayer};
use nixply_layer::{Compression, FinishedTar, Nix2containerPath, TarPlacement};
use nixply_oci::{DiffId, History, Platform, RuntimeConfig};
use serde::Deserialize;
use std::path::PathBuf;

/// The one version of the file there is.
const VERSION: u64 = 1;

/// What the plan names as its packer: whoever made the file decided the layers.
const PACKER_NAME: &str = "nix2container-image";

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Nix2containerImage {
    version: u64,
    #[serde(rename = "image-config")]
    config: RuntimeConfig,
    layers: Vec<Layer>,
    /// Go's name of the architecture.
    arch: String,
    /// RFC 3339.
    pub created: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Layer {
    #[serde(default)]
    size: u64,
    diff_ids: DiffId,
    #[serde(default)]
    paths: Vec<Nix2containerPath>,
    /// A finished layer, compressed or not.
    #[serde(rename = "layer-path")]
    file: Option<PathBuf>,
    #[serde(rename = "History", default)]
    history: Option<History>,
}

/// Why an `image.json` cannot become a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Nix2containerError {
    /// It is not JSON of the shape that nix2container writes.
    #[error("nix2container's image.json cannot be read")]
    Json(#[source] serde_json::Error),
    /// It has another version.
    #[error("this image.json has version {found}, expected {VERSION}")]
    Version {
        /// What was found.
        found: u64,
    },
    /// A finished layer is not there.
    #[error("layer {layer_idx}: `{}` cannot be read", .path.display())]
    LayerFile {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Nix2containerImage {
    /// True where bytes are a JSON object with the fields that only such a file has.
    #[must_use]
    pub fn is_image(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Telling {
            #[serde(rename = "version")]
            _version: u64,
            #[serde(rename = "image-config")]
            _config: serde::de::IgnoredAny,
            #[serde(rename = "layers")]
            _layers: serde::de::IgnoredAny,
        }
        bytes.trim_ascii_start().first() == Some(&b'{')
            && serde_json::from_slice::<Telling>(bytes).is_ok()
    }

    /// Reads an `image.json`.
    ///
    /// # Errors
    /// [`Nix2containerError`] where a field is missing or has another type, or the version is another one.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Nix2containerError> {
        let image: Self = serde_json::from_slice(bytes).map_err(Nix2containerError::Json)?;
        if image.version != VERSION {
            return Err(Nix2containerError::Version {
                found: image.version,
            });
        }
        Ok(image)
    }

    /// The plan that the file is. `created` is its creation time, RFC 3339 in UTC.
    ///
    /// # Errors
    /// [`Nix2containerError`] for the first layer that cannot be carried over.
    pub fn plan(
        &self,
        created: Option<String>,
        compression: Compression,
    ) -> Result<Plan, Nix2containerError> {
        let packer = PackerRecord {
            name: PACKER_NAME.to_owned(),
            version: 1,
            max_layers: self.layers.len(),
            catalog: None,
            level: None,
            unknown_paths: None,
            pipeline: None,
        };
        let mut plan = Plan::empty(Platform::linux(&self.arch), packer, compression);
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            let planned = layer.planned(&plan, layer_idx)?;
            plan.layers.push(planned);
        }
        plan.config = self.config.clone();
        plan.created = created;
        Ok(plan)
    }
}

impl Layer {
    fn planned(&self, plan: &Plan, layer_idx: usize) -> Result<PlannedLayer, Nix2containerError> {
        let Some(path) = &self.file else {
            return Ok(plan.nix2container_layer(
                self.paths.clone(),
                self.diff_ids,
                self.size,
                self.history.clone(),
            ));
        };
        let metadata = path
            .metadata()
            .map_err(|source| Nix2containerError::LayerFile {
                layer_idx,
                path: path.clone(),
                source,
            })?;
        Ok(plan.tar_layer(FinishedTar {
            path: path.clone(),
            diff_id: self.diff_ids,
            size_bytes: metadata.len(),
            placement: TarPlacement::default(),
        }))
    }
}
