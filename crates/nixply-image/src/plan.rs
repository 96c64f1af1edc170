//! The plan: what an image will be, before a byte of it is made.
//!
//! The JSON form is `nixply.plan/1`, a contract: readers refuse an unknown major schema and ignore unknown fields.
//! Store paths stand unescaped, so that Nix finds them and keeps the closure alive.

use crate::base::{BaseRecord, PlannedBaseLayer};
use crate::nix_database::database_contents;
use crate::{
    LayerFormatRecord, LayerReasonRecord, LinkedContent, PlannedDatabase, PlannedDatabaseError,
    PlannedPath, PlannedPermissions, PlannedTarPlacement, RootFileError, RootFileSpec,
    VolatilePath,
};
use nixply_layer::{
    Compression, FinishedTar, LayerContents, LayerFormat, LayerSpec, Nix2containerPath,
    Nix2containerTar, RootFile, check_root_files,
};
use nixply_oci::{DiffId, Digest, History, LayerKey, Platform, RuntimeConfig};
use nixply_store::{StoreDir, StorePath, StorePathError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The schema that this version writes.
const SCHEMA: &str = "nixply.plan/1";

/// An image that is decided and not yet made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// `nixply.plan/1`.
    pub schema: String,
    /// The store path of the tool that planned, so that garbage collection keeps it; else its name and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The image's name, with or without a registry's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The image's tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What the image runs on.
    pub platform: Platform,
    /// What decided the layers.
    pub packer: PackerRecord,
    /// How layers are compressed.
    #[serde(with = "text")]
    pub compression: Compression,
    /// How layers are written; absent means nixply's own format.
    #[serde(default, skip_serializing_if = "LayerFormatRecord::is_nixply")]
    pub layer_format: LayerFormatRecord,
    /// The closure's roots, as absolute paths.
    pub roots: Vec<String>,
    /// What was taken as new in every version of the image, in byte order of the paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volatile: Vec<VolatilePath>,
    /// The base image, whose layers are the lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseRecord>,
    /// The layers, bottom first.
    pub layers: Vec<PlannedLayer>,
    /// What a container runs.
    #[serde(default)]
    pub config: RuntimeConfig,
    /// The image's creation time, RFC 3339 in UTC; absent means one second after 1970 began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Annotations of the manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Which packer decided, and under what limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackerRecord {
    /// The packer's name.
    pub name: String,
    /// The packer's version: a changed plan for the same closure means a new one.
    pub version: u32,
    /// The most layers that the image may have, all kinds counted.
    pub max_layers: usize,
    /// The catalog that was packed by, as the hash of its JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<Digest>,
    /// The catalog's level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u32>,
    /// How many paths the catalog does not know, volatile ones left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_paths: Option<usize>,
    /// The layering pipeline that was carried out, as the hash of its JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<Digest>,
}

/// One layer of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PlannedLayer {
    /// Store paths.
    Store {
        /// What the layer is made from, as one hash.
        key: LayerKey,
        /// The NAR sizes of its paths, summed.
        nar_size_bytes: u64,
        /// Why the paths share the layer; absent where the packer gives no reasons.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<LayerReasonRecord>,
        /// The path that holds a group together, as an absolute path.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<String>,
        /// The package sets that hold every path of the layer, by name, where there are at most four.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sets: Vec<String>,
        /// How many package sets hold every path of the layer; absent without a catalog.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        set_count: Option<usize>,
        /// The paths.
        paths: Vec<PlannedPath>,
    },
    /// Root files.
    Root {
        /// What the layer is made from, as one hash.
        key: LayerKey,
        /// The files.
        files: Vec<RootFileSpec>,
        /// The links into store paths that the root was given as contents.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        contents: Vec<LinkedContent>,
    },
    /// A tar that exists already.
    Tar {
        /// The diff ID and the compression, as one hash.
        key: LayerKey,
        /// The hash of the tar as it stands in the layer.
        diff_id: DiffId,
        /// The tar, as an absolute path.
        path: PathBuf,
        /// The size of the tar as it stands in the layer.
        size_bytes: u64,
        /// What is changed in it, so that it damages nothing below it.
        #[serde(default, skip_serializing_if = "PlannedTarPlacement::is_empty")]
        placed: PlannedTarPlacement,
    },
    /// Nix's database of all store paths of the image.
    Database {
        /// What the layer is made from, as one hash.
        key: LayerKey,
        /// What the other layers do not say of it.
        #[serde(flatten)]
        database: PlannedDatabase,
    },
    /// A tar that nix2container wrote down how to make.
    Nix2container {
        /// The diff ID and the compression, as one hash.
        key: LayerKey,
        /// The hash of the tar.
        diff_id: DiffId,
        /// The size of the tar.
        size_bytes: u64,
        /// What the layer's history says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history: Option<History>,
        /// The store paths, in the words of nix2container.
        paths: Vec<Nix2containerPath>,
    },
    /// A finished layer of the base image.
    Base(PlannedBaseLayer),
}

impl PlannedLayer {
    /// What the layer is made from, as one hash; none for one that is taken as it is.
    #[must_use]
    pub fn key(&self) -> Option<LayerKey> {
        match self {
            Self::Store { key, .. }
            | Self::Root { key, .. }
            | Self::Tar { key, .. }
            | Self::Database { key, .. }
            | Self::Nix2container { key, .. } => Some(*key),
            Self::Base(base) => base.key,
        }
    }
}

/// Why a plan cannot be read or carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// It is not JSON of a plan's shape.
    #[error("the plan cannot be read")]
    Json(#[source] serde_json::Error),
    /// It has another schema.
    #[error("this plan has schema `{found}`, expected `{SCHEMA}`")]
    Schema {
        /// What was found.
        found: String,
    },
    /// A path lies in no store directory, or in another one than the others.
    #[error("layer {layer_idx}: `{path}` is not a path in one store directory with the others")]
    StoreDir {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// The path that was read.
        path: String,
    },
    /// A path is no store path.
    #[error("layer {layer_idx}: not a store path")]
    StorePath {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// Why.
        source: StorePathError,
    },
    /// A path stands twice, and the upper one changes nothing.
    #[error("`{path}` stands in two layers")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// The mode of a store path's entries is none.
    #[error("`{path}`: a mode of its entries is not 1 to 4 octal digits")]
    Mode {
        /// The store path.
        path: String,
    },
    /// A root file cannot be part of an image.
    #[error(transparent)]
    RootFile(#[from] RootFileError),
    /// Nix's database cannot be made.
    #[error(transparent)]
    Database(#[from] PlannedDatabaseError),
    /// Docker's manifest has gzip-compressed layers only.
    #[error(
        "layers compressed with {compression} cannot stand in a manifest of Docker's form: expected gzip"
    )]
    NotForDocker {
        /// The plan's compression.
        compression: Compression,
    },
    /// Docker's manifest has no media type for layers of the base image.
    #[error(
        "layers of the base image are compressed with zstd and cannot stand in a manifest of Docker's form: expected gzip"
    )]
    BaseNotForDocker,
    /// A base layer does not say what it is.
    #[error("layer {layer_idx}: {problem}")]
    BaseLayer {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// The history of the base image does not fit its layers.
    #[error("the plan has {layers} base layers, but the history of its base tells of {histories}")]
    BaseHistory {
        /// The base layers of the plan.
        layers: usize,
        /// The entries of the history that tell of a layer.
        histories: usize,
    },
    /// The key of a layer is not the hash of what the layer says it holds.
    #[error("layer {layer_idx}: its key is {found}, but its contents have the key {expected}")]
    Key {
        /// The layer, from the bottom, from 0.
        layer_idx: usize,
        /// The key of the contents.
        expected: LayerKey,
        /// The key that stands in the plan.
        found: LayerKey,
    },
}

/// Serde for types that have a text form.
pub(crate) mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use std::fmt::Display;
    use std::str::FromStr;

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(d: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

impl Plan {
    /// Starts a plan without layers.
    #[must_use]
    pub(crate) fn empty(
        platform: Platform,
        packer: PackerRecord,
        compression: Compression,
    ) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            tool: None,
            name: None,
            tag: None,
            platform,
            packer,
            compression,
            layer_format: LayerFormatRecord::Nixply,
            roots: Vec::new(),
            volatile: Vec::new(),
            base: None,
            layers: Vec::new(),
            config: RuntimeConfig::default(),
            created: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a plan and checks it: the schema, each store path, that none stands twice to no purpose, and each layer's key.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Schema {
            #[serde(default)]
            schema: String,
        }
        let Schema { schema } = serde_json::from_slice(bytes).map_err(PlanError::Json)?;
        if schema != SCHEMA {
            return Err(PlanError::Schema { found: schema });
        }
        let plan: Self = serde_json::from_slice(bytes).map_err(PlanError::Json)?;
        plan.layer_specs()?;
        Ok(plan)
    }

    /// True where bytes are JSON that says it is a plan, of whatever version.
    #[must_use]
    pub fn is_plan(bytes: &[u8]) -> bool {
        crate::spec::schema_of(bytes).is_some_and(|schema| schema.starts_with("nixply.plan/"))
    }

    /// Writes the plan as indented JSON with a final newline.
    pub fn to_json(&self) -> Result<String, PlanError> {
        let mut text = serde_json::to_string_pretty(self).map_err(PlanError::Json)?;
        text.push('\n');
        Ok(text)
    }

    /// What each layer is made from, bottom first, with its key checked; none for base layers, which are finished.
    pub fn layer_specs(&self) -> Result<Vec<Option<LayerSpec>>, PlanError> {
        crate::base::check_layers(self)?;
        let store_dir = self.store_dir();
        let mut seen: BTreeMap<&str, &[PlannedPermissions]> = BTreeMap::new();
        let mut specs = Vec::with_capacity(self.layers.len());
        for (layer_idx, layer) in self.layers.iter().enumerate() {
            let (contents, found) = match layer {
                PlannedLayer::Store { key, paths, .. } => {
                    let mut contents = Vec::with_capacity(paths.len());
                    for planned in paths {
                        // Above a base that holds the path, it may have other owners and modes.
                        let below = seen.insert(&planned.path, &planned.permissions);
                        if below == Some(&planned.permissions) {
                            return Err(PlanError::Duplicate {
                                path: planned.path.clone(),
                            });
                        }
                        let path = parse_path(store_dir.as_ref(), &planned.path, layer_idx)?;
                        let content = planned.content(path).ok_or_else(|| PlanError::Mode {
                            path: planned.path.clone(),
                        })?;
                        contents.push(content);
                    }
                    let store_dir = store_dir.clone().unwrap_or_default();
                    (
                        LayerContents::Store {
                            store_dir,
                            paths: contents,
                        },
                        *key,
                    )
                }
                PlannedLayer::Root {
                    key,
                    files,
                    contents,
                } => {
                    let files = self.root_files(files, contents)?;
                    (LayerContents::Root { files }, *key)
                }
                PlannedLayer::Tar {
                    key,
                    diff_id,
                    path,
                    size_bytes,
                    placed,
                } => {
                    let placement = placed.to_layer();
                    let placement = placement.map_err(|path| PlanError::Mode { path })?;
                    let tar = FinishedTar {
                        path: path.clone(),
                        diff_id: *diff_id,
                        size_bytes: *size_bytes,
                        placement,
                    };
                    (LayerContents::Tar(tar), *key)
                }
                PlannedLayer::Database { key, database } => {
                    (database_contents(self, database)?, *key)
                }
                PlannedLayer::Nix2container {
                    key,
                    diff_id,
                    size_bytes,
                    paths,
                    ..
                } => {
                    let tar = Nix2containerTar {
                        paths: paths.clone(),
                        diff_id: *diff_id,
                        size_bytes: *size_bytes,
                    };
                    (LayerContents::Nix2container(tar), *key)
                }
                PlannedLayer::Base(_) => {
                    specs.push(None);
                    continue;
                }
            };
            let spec = self.layer_spec(contents);
            let expected = spec.key();
            if expected != found {
                return Err(PlanError::Key {
                    layer_idx,
                    expected,
                    found,
                });
            }
            specs.push(Some(spec));
        }
        Ok(specs)
    }

    /// Root files as a layer takes them, checked against each other and the store directory.
    pub(crate) fn root_files(
        &self,
        files: &[RootFileSpec],
        contents: &[LinkedContent],
    ) -> Result<Vec<RootFile>, RootFileError> {
        let mut files: Vec<RootFile> = files
            .iter()
            .map(RootFileSpec::to_layer)
            .collect::<Result<_, _>>()?;
        files.extend(contents.iter().flat_map(LinkedContent::root_files));
        check_root_files(&files, &self.store_dir().unwrap_or_default())?;
        Ok(files)
    }

    /// The same plan with another compression, and so with other layer keys.
    pub fn with_compression(mut self, compression: Compression) -> Result<Self, PlanError> {
        let specs = self.layer_specs()?;
        self.compression = compression;
        for (layer, spec) in self.layers.iter_mut().zip(specs) {
            let recompressed = spec.map(|spec| LayerSpec {
                compression,
                ..spec
            });
            match (layer, recompressed) {
                (
                    PlannedLayer::Store { key: old, .. }
                    | PlannedLayer::Root { key: old, .. }
                    | PlannedLayer::Tar { key: old, .. }
                    | PlannedLayer::Database { key: old, .. }
                    | PlannedLayer::Nix2container { key: old, .. },
                    Some(spec),
                ) => *old = spec.key(),
                (PlannedLayer::Base(base), _) => base.compress(compression),
                // Only base layers have no spec.
                (_, None) => {}
            }
        }
        Ok(self)
    }

    pub(crate) fn layer_spec(&self, contents: LayerContents) -> LayerSpec {
        let format = match contents {
            LayerContents::Store { .. } => self.layer_format.to_layer_format(),
            // dockerTools makes its layer of root files with another program; nixply has one way.
            LayerContents::Root { .. }
            | LayerContents::Tar(_)
            | LayerContents::Nix2container(_) => LayerFormat::Nixply,
        };
        LayerSpec {
            contents,
            format,
            compression: self.compression,
        }
    }

    /// The store directory of the plan's paths; none where it has no path, or its first path has no parent.
    #[must_use]
    pub fn store_dir(&self) -> Option<StoreDir> {
        let first = self.layers.iter().find_map(|layer| match layer {
            PlannedLayer::Store { paths, .. } => paths.first(),
            _ => None,
        })?;
        StoreDir::new(first.path.rsplit_once('/')?.0).ok()
    }

    /// `NAME:TAG`, where the plan has a name; the tag is `latest` where it has none.
    #[must_use]
    pub fn image_name(&self) -> Option<String> {
        let name = self.name.as_ref()?;
        Some(format!(
            "{name}:{}",
            self.tag.as_deref().unwrap_or("latest")
        ))
    }
}

fn parse_path(
    store_dir: Option<&StoreDir>,
    path: &str,
    layer_idx: usize,
) -> Result<StorePath, PlanError> {
    let store_dir = store_dir.ok_or_else(|| PlanError::StoreDir {
        layer_idx,
        path: path.to_owned(),
    })?;
    store_dir.parse(path).map_err(|source| match source {
        StorePathError::NotInStore { .. } => PlanError::StoreDir {
            layer_idx,
            path: path.to_owned(),
        },
        source => PlanError::StorePath { layer_idx, source },
    })
}
