//! Finding an image in an OCI layout (OCI image-spec v1.1.1, `image-layout.md`, `image-index.md`).

use super::files::{ImageFiles, check_small, parse_json, read_json};
use super::{
    ImageForm, OpenOptions, OpenedImage, check_layer_count, names_match, open_blob, the_only,
};
use crate::LayoutError;
use crate::documents::{BLOBS, INDEX};
use nixply_oci::{
    ANNOTATION_CONTAINERD_IMAGE_NAME, ANNOTATION_REF_NAME, Descriptor, Digest, ImageConfig,
    ImageIndex, ImageManifest, MediaType, Platform, StoredImage,
};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::io::Read;

/// How deep indexes may stand in indexes; tools make one.
const MAX_INDEX_DEPTH: usize = 4;

/// The `os` of entries that are no images, such as the attestations that buildkit makes.
const OS_OF_NO_IMAGE: &str = "unknown";

/// A manifest that an index names, directly or through other indexes.
struct Candidate {
    descriptor: Descriptor,
    /// The platform that the nearest index tells.
    platform: Option<Platform>,
    names: Vec<String>,
}

impl Candidate {
    fn label(&self) -> String {
        let name = match self.names.first() {
            Some(name) => name.clone(),
            None => self.descriptor.digest.to_string(),
        };
        match &self.platform {
            Some(platform) => format!("{name} ({platform})"),
            None => name,
        }
    }

    fn is_called(&self, wanted: &str) -> bool {
        wanted.parse() == Ok(self.descriptor.digest)
            || self.names.iter().any(|name| names_match(wanted, name))
    }
}

pub(super) fn open(
    files: Box<dyn ImageFiles>,
    options: &OpenOptions<'_>,
) -> Result<OpenedImage, LayoutError> {
    let index: ImageIndex = read_json(&*files, INDEX)?;
    let mut candidates = Vec::new();
    collect(&*files, &index, &[], 0, &mut candidates)?;
    let all: Vec<String> = candidates.iter().map(Candidate::label).collect();

    let mut seen = BTreeSet::new();
    let mut fitting = Vec::new();
    for candidate in candidates {
        let is_called = options
            .reference
            .is_none_or(|wanted| candidate.is_called(wanted));
        if is_called
            && has_platform(&*files, &candidate, options)?
            && seen.insert(candidate.descriptor.digest)
        {
            fitting.push(candidate);
        }
    }
    if fitting.len() > 1 {
        // Docker's containerd store saves the whole index of an image but the blobs of the platforms it has.
        fitting.retain(|candidate| files.has(&blob_file(candidate.descriptor.digest)));
    }
    let chosen = the_only(fitting, &*files, options, Candidate::label, all)?;
    let image = read_image(&*files, chosen.descriptor)?;
    Ok(OpenedImage {
        form: ImageForm::OciLayout,
        layer_files: image
            .manifest
            .layers
            .iter()
            .map(|layer| blob_file(layer.digest))
            .collect(),
        image,
        files,
    })
}

/// Lists the image manifests that an index names; `names` are those of the index itself.
fn collect(
    files: &dyn ImageFiles,
    index: &ImageIndex,
    names: &[String],
    depth: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<(), LayoutError> {
    if depth > MAX_INDEX_DEPTH {
        return Err(LayoutError::NestedTooDeep {
            path: files.path().to_owned(),
            limit: MAX_INDEX_DEPTH,
        });
    }
    for entry in &index.manifests {
        let names: Vec<String> = [ANNOTATION_CONTAINERD_IMAGE_NAME, ANNOTATION_REF_NAME]
            .into_iter()
            .filter_map(|key| entry.annotations.get(key).cloned())
            .chain(names.iter().cloned())
            .collect();
        match &entry.media_type {
            MediaType::OciIndex | MediaType::DockerManifestList => {
                let nested: ImageIndex = read_blob_json(files, entry)?;
                collect(files, &nested, &names, depth + 1, candidates)?;
            }
            MediaType::OciManifest | MediaType::DockerManifest => {
                let platform = entry.platform.clone();
                if platform
                    .as_ref()
                    .is_none_or(|platform| platform.os != OS_OF_NO_IMAGE)
                {
                    candidates.push(Candidate {
                        descriptor: entry.clone(),
                        platform,
                        names,
                    });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where the index does not tell the platform, the config does.
fn has_platform(
    files: &dyn ImageFiles,
    candidate: &Candidate,
    options: &OpenOptions<'_>,
) -> Result<bool, LayoutError> {
    let Some(wanted) = options.platform else {
        return Ok(true);
    };
    if let Some(platform) = &candidate.platform {
        return Ok(platform.serves(wanted));
    }
    let image = read_image(files, candidate.descriptor.clone())?;
    Ok(image.config.platform.serves(wanted))
}

fn read_image(
    files: &dyn ImageFiles,
    manifest_descriptor: Descriptor,
) -> Result<StoredImage, LayoutError> {
    let manifest: ImageManifest = read_blob_json(files, &manifest_descriptor)?;
    let config: ImageConfig = read_blob_json(files, &manifest.config)?;
    check_layer_count(files, &config, manifest.layers.len())?;
    Ok(StoredImage {
        manifest_descriptor,
        manifest,
        config,
    })
}

fn read_blob_json<T: DeserializeOwned>(
    files: &dyn ImageFiles,
    descriptor: &Descriptor,
) -> Result<T, LayoutError> {
    let name = blob_file(descriptor.digest);
    check_small(files, &name, descriptor.size_bytes)?;
    let mut bytes = Vec::new();
    open_blob(files, &name, descriptor)?
        .read_to_end(&mut bytes)
        .map_err(|error| from_reader(files, &name, error))?;
    parse_json(files, &name, &bytes)
}

/// Unwraps the error that a checked blob ended in.
fn from_reader(files: &dyn ImageFiles, name: &str, error: std::io::Error) -> LayoutError {
    match error.downcast::<LayoutError>() {
        Ok(error) => error,
        Err(error) => LayoutError::file("read", files.path().join(name))(error),
    }
}

fn blob_file(digest: Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}
