//! The config and the manifest of an image, from its plan and from what its layers turned out to be.

use crate::nix_database::database_files;
use crate::{LinkedContent, Plan, PlannedLayer, PlannedPath, PlannedPermissions};
use nixply_oci::{
    ANNOTATION_LAYER_DIFF_ID, ANNOTATION_LAYER_KEY, Descriptor, FinishedImage, History,
    ImageConfig, ImageError, ImageManifest, LayerRecord, MediaType, RootFs, RootFsType,
    SCHEMA_VERSION, canonical_json,
};
use std::collections::BTreeMap;

/// An image's creation time where nobody says otherwise: Nix's file time, one second after 1970 began, as dockerTools has it.
pub const DEFAULT_CREATED: &str = "1970-01-01T00:00:01Z";

/// What a layer's history entry begins with; a JSON array of absolute paths follows.
const STORE_PATHS: &str = "store paths: ";
const ROOT_FILES: &str = "root files: ";
/// The tar's store path has a hash, which must not reach the config: the same layer, the same image.
const LAYER_TAR: &str = "layer tar: ";
/// Not as store paths: their bytes are not those of nixply's own layers, and some of them stand elsewhere.
const NIX2CONTAINER: &str = "nix2container: ";

/// What may follow: the store paths that the root has links into, a JSON array; owners and modes of entries of store paths,
/// a JSON object.
const CONTENTS: &str = "; contents: ";
const PERMISSIONS: &str = "; permissions: ";

/// The form of an image's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManifestFormat {
    /// An OCI image manifest (OCI image-spec v1.1.1, `manifest.md`).
    #[default]
    Oci,
    /// Docker's image manifest version 2, schema 2, for registries and daemons that know nothing else. Its layers are
    /// gzip-compressed, and it has no annotations of its own; those of the layers stay, for they tell what a layer is
    /// made from.
    Docker,
}

impl ManifestFormat {
    fn manifest_media_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciManifest,
            Self::Docker => MediaType::DockerManifest,
        }
    }

    fn config_media_type(self) -> MediaType {
        match self {
            Self::Oci => MediaType::OciConfig,
            Self::Docker => MediaType::DockerConfig,
        }
    }

    fn layer_media_type(self, made: &MediaType) -> MediaType {
        match (self, made) {
            (Self::Docker, MediaType::OciLayerTarGzip) => MediaType::DockerLayerTarGzip,
            (Self::Docker, MediaType::OciLayerTar) => MediaType::DockerLayerTar,
            (Self::Oci | Self::Docker, made) => made.clone(),
        }
    }
}

/// Makes the config and the manifest. `records` stand in the order of the plan's layers.
pub fn finish(
    plan: &Plan,
    records: &[LayerRecord],
    format: ManifestFormat,
) -> Result<FinishedImage, ImageError> {
    if records.len() != plan.layers.len() {
        return Err(ImageError::RecordCount {
            expected: plan.layers.len(),
            found: records.len(),
        });
    }
    let created = plan.created.as_deref().unwrap_or(DEFAULT_CREATED);
    let config = ImageConfig {
        created: Some(created.to_owned()),
        platform: plan.platform.clone(),
        config: Some(plan.config.clone()),
        rootfs: RootFs {
            kind: RootFsType::Layers,
            diff_ids: records.iter().map(|record| record.diff_id).collect(),
        },
        history: whole_history(plan, created),
    };
    let config = canonical_json(&config).map_err(|source| ImageError::Json {
        what: "config",
        source,
    })?;
    let config_descriptor = Descriptor::of(format.config_media_type(), &config);
    let manifest = ImageManifest {
        schema_version: SCHEMA_VERSION,
        media_type: Some(format.manifest_media_type()),
        config: config_descriptor.clone(),
        layers: plan
            .layers
            .iter()
            .zip(records)
            .map(|(layer, record)| descriptor(layer, record, format))
            .collect(),
        annotations: match format {
            ManifestFormat::Oci => plan.annotations.clone(),
            ManifestFormat::Docker => BTreeMap::new(),
        },
    };
    let manifest = canonical_json(&manifest).map_err(|source| ImageError::Json {
        what: "manifest",
        source,
    })?;
    let mut manifest_descriptor = Descriptor::of(format.manifest_media_type(), &manifest);
    manifest_descriptor.platform = Some(plan.platform.clone());
    Ok(FinishedImage {
        config,
        config_descriptor,
        manifest,
        manifest_descriptor,
    })
}

fn descriptor(layer: &PlannedLayer, record: &LayerRecord, format: ManifestFormat) -> Descriptor {
    let mut annotations = BTreeMap::new();
    // What others say of a layer that is taken over stays: some of it tells how to read the layer.
    if let PlannedLayer::Base(base) = layer
        && let Some(descriptor) = &base.descriptor
    {
        annotations.clone_from(&descriptor.annotations);
    }
    if let Some(key) = layer.key() {
        let diff_id = record.diff_id.to_string();
        annotations.insert(ANNOTATION_LAYER_DIFF_ID.to_owned(), diff_id);
        annotations.insert(ANNOTATION_LAYER_KEY.to_owned(), key.to_string());
    }
    Descriptor {
        media_type: format.layer_media_type(&record.media_type),
        digest: record.digest.into(),
        size_bytes: record.size_bytes,
        annotations,
        platform: None,
    }
}

/// The history of the base as it is, and an entry for each layer above it.
fn whole_history(plan: &Plan, created: &str) -> Vec<History> {
    let base = plan
        .base
        .iter()
        .flat_map(|base| base.history.iter().cloned());
    let own = plan
        .layers
        .iter()
        .filter_map(|layer| history(plan, layer, created));
    base.chain(own).collect()
}

/// What tells of a layer; none for a finished layer of the base, whose own history does.
fn history(plan: &Plan, layer: &PlannedLayer, created: &str) -> Option<History> {
    if let PlannedLayer::Nix2container {
        history: Some(given),
        ..
    } = layer
    {
        return Some(given.clone());
    }
    let tar_title;
    let database;
    let (label, names, more): (&str, Vec<&str>, String) = match layer {
        PlannedLayer::Store { paths, .. } => (
            STORE_PATHS,
            paths.iter().map(|path| path.path.as_str()).collect(),
            permissions_text(paths),
        ),
        PlannedLayer::Root {
            files, contents, ..
        } => (
            ROOT_FILES,
            files.iter().map(|file| file.path.as_str()).collect(),
            contents_text(contents),
        ),
        PlannedLayer::Tar { path, .. } => {
            tar_title = nixply_layer::tar_title(path);
            (LAYER_TAR, vec![tar_title.as_str()], String::new())
        }
        PlannedLayer::Database {
            database: planned, ..
        } => {
            database = database_files(plan, planned);
            let names = database.iter().map(String::as_str).collect();
            (ROOT_FILES, names, String::new())
        }
        PlannedLayer::Nix2container { paths, .. } => (
            NIX2CONTAINER,
            paths.iter().map(|path| path.path.as_str()).collect(),
            String::new(),
        ),
        PlannedLayer::Base(_) => return None,
    };
    // The version is left out on purpose: it would change the digest of an image whose bytes are the same.
    Some(History {
        created: Some(created.to_owned()),
        created_by: Some("nixply".to_owned()),
        comment: Some(format!("{label}{}{more}", serde_json::Value::from(names))),
        ..History::default()
    })
}

/// The contents by name: a config is pulled by every client, and their links can be ten thousand.
fn contents_text(contents: &[LinkedContent]) -> String {
    if contents.is_empty() {
        return String::new();
    }
    let paths: Vec<&str> = contents
        .iter()
        .map(|content| content.path.as_str())
        .collect();
    format!("{CONTENTS}{}", serde_json::Value::from(paths))
}

fn permissions_text(paths: &[PlannedPath]) -> String {
    let permissions: serde_json::Map<String, serde_json::Value> = paths
        .iter()
        .filter(|planned| !planned.permissions.is_empty())
        .map(|planned| (planned.path.clone(), serde_json::json!(planned.permissions)))
        .collect();
    if permissions.is_empty() {
        return String::new();
    }
    format!("{PERMISSIONS}{}", serde_json::Value::from(permissions))
}

/// A JSON array of texts, and what follows it.
fn split_names(text: &str) -> Option<(Vec<String>, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Vec<String>>();
    let names = values.next()?.ok()?;
    Some((names, &text[values.byte_offset()..]))
}

/// The store paths that a layer's history entry names, as nixply writes it; none for other layers.
#[must_use]
pub fn store_paths_of_history(history: &History) -> Option<Vec<String>> {
    let names = history.comment.as_deref()?.strip_prefix(STORE_PATHS)?;
    let (names, more) = split_names(names)?;
    (more.is_empty() || more.starts_with(PERMISSIONS)).then_some(names)
}

/// The entries of store paths that have an owner or a mode of their own, by store path, as a layer's history entry names them.
#[must_use]
pub fn permissions_of_history(history: &History) -> BTreeMap<String, Vec<PlannedPermissions>> {
    let permissions = || {
        let names = history.comment.as_deref()?.strip_prefix(STORE_PATHS)?;
        let (_, more) = split_names(names)?;
        serde_json::from_str(more.strip_prefix(PERMISSIONS)?).ok()
    };
    permissions().unwrap_or_default()
}

/// The root files that a layer's history entry names, as nixply writes it, and the contents that it has links into; none for
/// other layers. A finished tar names none of its files.
pub(crate) fn root_files_of_history(history: &History) -> Option<Vec<String>> {
    if history.comment.as_deref()?.starts_with(LAYER_TAR) {
        return Some(Vec::new());
    }
    let names = history.comment.as_deref()?.strip_prefix(ROOT_FILES)?;
    let (mut names, more) = split_names(names)?;
    if !more.is_empty() {
        let (contents, more) = split_names(more.strip_prefix(CONTENTS)?)?;
        if !more.is_empty() {
            return None;
        }
        names.extend(contents.iter().map(|content| linked_name(content)));
    }
    Some(names)
}

/// How the links into a content are called among root files, which have no slash in front: `/nix/store/…-bash/`.
pub(crate) fn linked_name(content: &str) -> String {
    format!("{content}/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PackerRecord;
    use nixply_layer::Compression;
    use nixply_oci::{DiffId, LayerDigest, LayerKey, Platform};

    #[test]
    fn a_manifest_of_dockers_form_names_the_same_blobs_under_dockers_media_types() {
        let packer = PackerRecord {
            name: "auto-layer".to_owned(),
            version: 1,
            max_layers: 1,
            catalog: None,
            level: None,
            unknown_paths: None,
            pipeline: None,
        };
        let platform = Platform::linux("amd64");
        let mut plan = Plan::empty(platform, packer, Compression::default());
        plan.annotations.insert("a".to_owned(), "b".to_owned());
        plan.layers.push(PlannedLayer::Root {
            key: LayerKey::of(b"key"),
            files: Vec::new(),
            contents: Vec::new(),
        });
        let record = LayerRecord {
            diff_id: DiffId::of(b"tar"),
            digest: LayerDigest::of(b"blob"),
            size_bytes: 4,
            media_type: MediaType::OciLayerTarGzip,
        };
        let records = [record];
        let oci = finish(&plan, &records, ManifestFormat::Oci).unwrap();
        let docker = finish(&plan, &records, ManifestFormat::Docker).unwrap();
        assert_eq!(oci.config, docker.config);
        assert_eq!(
            docker.manifest_descriptor.media_type,
            MediaType::DockerManifest
        );
        let manifest: ImageManifest = serde_json::from_slice(&docker.manifest).unwrap();
        assert_eq!(manifest.media_type, Some(MediaType::DockerManifest));
        assert_eq!(manifest.config.media_type, MediaType::DockerConfig);
        assert_eq!(manifest.layers[0].media_type, MediaType::DockerLayerTarGzip);
        assert_eq!(manifest.layers[0].digest, LayerDigest::of(b"blob").into());
        assert_eq!(manifest.layers[0].annotations.len(), 2);
        assert!(manifest.annotations.is_empty());
        let manifest: ImageManifest = serde_json::from_slice(&oci.manifest).unwrap();
        assert_eq!(manifest.annotations["a"], "b");
    }
}
