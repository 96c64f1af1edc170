//! Finding an image in a docker archive: what `docker save` makes, and skopeo, and dockerTools.
//!
//! `manifest.json` names a config and layers for each image (moby `image/tarexport`, `manifestItem`). Layers may be called
//! `<id>/layer.tar` (Docker before 25, dockerTools), `<diff ID>.tar` with links to it (skopeo) or `blobs/sha256/<digest>`
//! (Docker since 25). They are meant to be uncompressed, but every reader of this form takes compressed ones too. The only
//! digests there are, are the diff IDs of the config and those that names of files tell.

use super::files::{ImageFiles, parse_json, read_json, read_whole};
use super::{ImageForm, OpenOptions, OpenedImage, check_layer_count, names_match, the_only};
use crate::LayoutError;
use crate::compression::Compression;
use crate::documents::{BLOBS, DOCKER_MANIFEST, DockerManifestItem};
use nixply_oci::{
    BlobHasher, Descriptor, DiffId, Digest, ImageConfig, ImageError, ImageManifest, MediaType,
    SCHEMA_VERSION, StoredImage, canonical_json,
};
use std::collections::BTreeMap;
use std::io::Read;

pub(super) fn open(
    files: Box<dyn ImageFiles>,
    options: &OpenOptions<'_>,
) -> Result<OpenedImage, LayoutError> {
    let items: Vec<DockerManifestItem> = read_json(&*files, DOCKER_MANIFEST)?;
    let all = items.iter().map(label).collect();
    let mut fitting = Vec::new();
    for item in items {
        let is_called = match options.reference {
            Some(wanted) => is_called(&*files, &item, wanted)?,
            None => true,
        };
        if is_called && has_platform(&*files, &item, options)? {
            fitting.push(item);
        }
    }
    let item = the_only(fitting, &*files, options, label, all)?;
    let (config_descriptor, config) = read_config(&*files, &item)?;
    let layer_files = item.layers.unwrap_or_default();
    check_layer_count(&*files, &config, layer_files.len())?;
    let layers = layer_files
        .iter()
        .zip(&config.rootfs.diff_ids)
        .map(|(file, diff_id)| describe_layer(&*files, file, *diff_id))
        .collect::<Result<_, _>>()?;
    let manifest = ImageManifest {
        schema_version: SCHEMA_VERSION,
        media_type: Some(MediaType::OciManifest),
        config: config_descriptor,
        layers,
        annotations: BTreeMap::new(),
    };
    let manifest_bytes = canonical_json(&manifest).map_err(|source| ImageError::Json {
        what: "manifest",
        source,
    })?;
    Ok(OpenedImage {
        form: ImageForm::DockerArchive,
        image: StoredImage {
            manifest_descriptor: Descriptor::of(MediaType::OciManifest, &manifest_bytes),
            manifest,
            config,
        },
        layer_files,
        files,
    })
}

fn label(item: &DockerManifestItem) -> String {
    match item.repo_tags.as_deref() {
        Some([name, ..]) => name.clone(),
        _ => item.config.clone(),
    }
}

/// An image is called by its names, and by the digest of its config, which Docker calls the image's ID.
fn is_called(
    files: &dyn ImageFiles,
    item: &DockerManifestItem,
    wanted: &str,
) -> Result<bool, LayoutError> {
    let mut names = item.repo_tags.iter().flatten();
    if names.any(|name| names_match(wanted, name)) {
        return Ok(true);
    }
    let Ok(wanted) = wanted.parse::<Digest>() else {
        return Ok(false);
    };
    Ok(match digest_in_name(&item.config) {
        Some(digest) => digest == wanted,
        None => Digest::of(&read_whole(files, &item.config)?) == wanted,
    })
}

fn has_platform(
    files: &dyn ImageFiles,
    item: &DockerManifestItem,
    options: &OpenOptions<'_>,
) -> Result<bool, LayoutError> {
    match options.platform {
        Some(wanted) => Ok(read_config(files, item)?.1.platform.serves(wanted)),
        None => Ok(true),
    }
}

fn read_config(
    files: &dyn ImageFiles,
    item: &DockerManifestItem,
) -> Result<(Descriptor, ImageConfig), LayoutError> {
    let bytes = read_whole(files, &item.config)?;
    let descriptor = Descriptor::of(MediaType::OciConfig, &bytes);
    if let Some(expected) = digest_in_name(&item.config).filter(|d| *d != descriptor.digest) {
        return Err(LayoutError::BlobDigest {
            path: files.path().to_owned(),
            expected,
            found: descriptor.digest,
        });
    }
    Ok((descriptor, parse_json(files, &item.config, &bytes)?))
}

/// The digest that the name of a config or blob tells: `<hex>.json`, `blobs/sha256/<hex>`.
fn digest_in_name(name: &str) -> Option<Digest> {
    let hex = name
        .strip_suffix(".json")
        .or_else(|| name.strip_prefix(BLOBS)?.strip_prefix('/'))?;
    format!("sha256:{hex}").parse().ok()
}

/// Finds out what a layer is. An uncompressed one is named by its diff ID; the digest of a compressed one stands in its
/// name, or it has to be read.
fn describe_layer(
    files: &dyn ImageFiles,
    name: &str,
    diff_id: DiffId,
) -> Result<Descriptor, LayoutError> {
    let read_error = |error| LayoutError::file("read", files.path().join(name))(error);
    let file = files.open(name)?;
    let mut start = Vec::new();
    let mut content = file.content;
    content
        .by_ref()
        .take(4)
        .read_to_end(&mut start)
        .map_err(read_error)?;
    let compression = Compression::sniff(&start);
    let digest = match (compression, digest_in_name(name)) {
        (Compression::None, _) => Digest::from_bytes(*diff_id.as_bytes()),
        (_, Some(digest)) => digest,
        (_, None) => hash(&start, content).map_err(read_error)?,
    };
    Ok(Descriptor {
        media_type: compression.layer_media_type(),
        digest,
        size_bytes: file.size_bytes,
        annotations: BTreeMap::new(),
        platform: None,
    })
}

fn hash(start: &[u8], mut rest: impl Read) -> std::io::Result<Digest> {
    let mut hasher = BlobHasher::new();
    hasher.update(start);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match rest.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finish().0)),
            n => hasher.update(&buffer[..n]),
        }
    }
}
