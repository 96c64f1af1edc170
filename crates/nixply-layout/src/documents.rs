//! The three small JSON files that make blobs an image: `oci-layout`, `index.json`, `manifest.json`.
//!
//! OCI image-spec v1.1.1 `image-layout.md` for the first two; moby `image/tarexport/tarexport.go` (`manifestItem`) for the
//! third.

use crate::names::ImageName;
use nixply_oci::{
    ANNOTATION_CONTAINERD_IMAGE_NAME, ANNOTATION_REF_NAME, CanonicalJsonError, Descriptor,
    MediaType, Platform, SCHEMA_VERSION, canonical_json,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The file that says that a directory is an OCI layout.
pub(crate) const OCI_LAYOUT: &str = "oci-layout";

/// The file that names the manifests of an OCI layout.
pub(crate) const INDEX: &str = "index.json";

/// The file that names the images of a docker archive.
pub(crate) const DOCKER_MANIFEST: &str = "manifest.json";

/// The directory of an OCI layout's blobs.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// The one version there is.
pub(crate) const LAYOUT_VERSION: &str = "1.0.0";

/// The whole content of [`OCI_LAYOUT`].
pub(crate) const OCI_LAYOUT_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The content of [`OCI_LAYOUT`], to read it.
#[derive(Debug, Deserialize)]
pub(crate) struct OciLayout {
    /// [`LAYOUT_VERSION`].
    #[serde(rename = "imageLayoutVersion")]
    pub(crate) image_layout_version: String,
}

/// An entry of [`DOCKER_MANIFEST`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerManifestItem {
    /// The member that holds the config.
    pub(crate) config: String,
    /// `NAME:TAG` each; `null` where the image has no name.
    #[serde(default)]
    pub(crate) repo_tags: Option<Vec<String>>,
    /// The members that hold the layers, bottom first.
    #[serde(default)]
    pub(crate) layers: Option<Vec<String>>,
}

/// The entries of an image in [`INDEX`]: one a name, or one without a name.
pub(crate) fn index_entries(
    manifest: &Descriptor,
    platform: &Platform,
    names: &[ImageName],
) -> Vec<Descriptor> {
    let unnamed = Descriptor {
        platform: Some(platform.clone()),
        ..manifest.clone()
    };
    if names.is_empty() {
        return vec![unnamed];
    }
    names
        .iter()
        .map(|name| {
            let mut entry = unnamed.clone();
            entry.annotations.insert(
                ANNOTATION_CONTAINERD_IMAGE_NAME.to_owned(),
                name.full.clone(),
            );
            entry
                .annotations
                .insert(ANNOTATION_REF_NAME.to_owned(), name.tag.clone());
            entry
        })
        .collect()
}

/// The bytes of an [`INDEX`] with these entries alone.
pub(crate) fn new_index(entries: &[Descriptor]) -> Result<Vec<u8>, CanonicalJsonError> {
    canonical_json(&json!({
        "schemaVersion": SCHEMA_VERSION,
        "mediaType": MediaType::OciIndex,
        "manifests": entries,
    }))
}

/// The bytes of an [`INDEX`] with these entries added to those of an older one, which may hold what only another tool
/// knows. An older entry goes where a new one [takes its place](replaces).
pub(crate) fn add_to_index(
    mut index: serde_json::Map<String, Value>,
    entries: &[Descriptor],
) -> Result<Vec<u8>, CanonicalJsonError> {
    let mut manifests = match index.remove("manifests") {
        Some(Value::Array(manifests)) => manifests,
        _ => Vec::new(),
    };
    manifests.retain(|old| !entries.iter().any(|new| replaces(new, old)));
    for entry in entries {
        manifests.push(serde_json::to_value(entry).map_err(CanonicalJsonError::Serialize)?);
    }
    index.insert("manifests".to_owned(), Value::Array(manifests));
    canonical_json(&index)
}

/// True where a new entry takes an older one's place: it has the same name, and the same platform where the older one tells
/// its own. The whole name counts; the tag alone only for what another tool called by nothing else. Of two entries without
/// a name, the one with the same digest goes.
fn replaces(new: &Descriptor, old: &Value) -> bool {
    let old_name = |key: &str| old["annotations"][key].as_str();
    let new_name = |key: &str| new.annotations.get(key).map(String::as_str);
    let old_platform = Platform::deserialize(&old["platform"]).ok();
    let is_other_platform = matches!(
        (&old_platform, &new.platform),
        (Some(old), Some(new)) if !old.serves(new)
    );
    let is_same = match (
        old_name(ANNOTATION_CONTAINERD_IMAGE_NAME),
        old_name(ANNOTATION_REF_NAME),
    ) {
        (Some(full), _) => new_name(ANNOTATION_CONTAINERD_IMAGE_NAME) == Some(full),
        (None, Some(tag)) => new_name(ANNOTATION_REF_NAME) == Some(tag),
        (None, None) => {
            new_name(ANNOTATION_REF_NAME).is_none()
                && old["digest"] == new.digest.to_string().as_str()
        }
    };
    is_same && !is_other_platform
}

/// The bytes of a [`DOCKER_MANIFEST`] with one image.
pub(crate) fn docker_manifest(
    config: String,
    layers: Vec<String>,
    names: &[ImageName],
) -> Result<Vec<u8>, CanonicalJsonError> {
    canonical_json(&[DockerManifestItem {
        config,
        repo_tags: Some(names.iter().map(|name| name.repo_tag.clone()).collect()),
        layers: Some(layers),
    }])
}
