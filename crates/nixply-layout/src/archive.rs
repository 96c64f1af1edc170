//! One tar that every tool loads: an OCI layout and a docker archive over the same blobs.
//!
//! # Members, in this order
//!
//! `oci-layout`, `blobs/`, `blobs/sha256/`, a blob for each layer from the bottom, the config, the manifest, `index.json`,
//! `manifest.json`. The last two come last because they name everything else, and everything else is not known earlier.
//! A blob that the image names twice stands once.

use crate::documents::{
    BLOBS, DOCKER_MANIFEST, INDEX, OCI_LAYOUT, OCI_LAYOUT_CONTENT, docker_manifest, index_entries,
    new_index,
};
use crate::layers::{LayerForm, ReadyLayer, for_each_layer};
use crate::names::ImageNames;
use crate::report::{LayerOutcome, WriteObserver, WriteReport, WrittenLayer};
use crate::tar_out::TarWriter;
use crate::{LayoutError, WriteOptions};
use nixply_oci::{Digest, Image, ImageError, LayerRecord};
use std::collections::BTreeSet;
use std::io::Write;

/// Writes an image as one tar that is an OCI layout and a docker archive at once. Its bytes follow from the image and its
/// names alone.
///
/// # Errors
///
/// A layer that cannot be made, a name that is none, an output or a spool directory that refuses bytes. What was written
/// until then is no archive; [`write_file_atomically`](crate::write_file_atomically) leaves nothing of it.
pub fn write_archive(
    image: &dyn Image,
    names: &ImageNames,
    out: &mut dyn Write,
    options: &WriteOptions,
    observer: &dyn WriteObserver,
) -> Result<WriteReport, LayoutError> {
    let names = names.parse()?;
    let mut tar = TarWriter::new(out);
    tar.file(OCI_LAYOUT, OCI_LAYOUT_CONTENT)
        .and_then(|()| tar.directory("blobs/"))
        .and_then(|()| tar.directory(&format!("{BLOBS}/")))
        .map_err(LayoutError::Output)?;

    let mut there = BTreeSet::new();
    let mut layers = Vec::with_capacity(image.layers().len());
    for_each_layer(image, LayerForm::AsMade, options, observer, |ready| {
        let digest = Digest::from(ready.record.digest);
        let is_new = there.insert(digest);
        layers.push(add_layer(
            &mut tar,
            &blob_member(digest),
            is_new,
            ready,
            observer,
        )?);
        Ok(())
    })?;

    let records: Vec<LayerRecord> = layers.iter().map(|layer| layer.record.clone()).collect();
    let finished = image.finish(&records)?;
    for (descriptor, bytes) in [
        (&finished.config_descriptor, &finished.config),
        (&finished.manifest_descriptor, &finished.manifest),
    ] {
        if there.insert(descriptor.digest) {
            tar.file(&blob_member(descriptor.digest), bytes)
                .map_err(LayoutError::Output)?;
        }
    }
    let entries = index_entries(&finished.manifest_descriptor, image.platform(), &names);
    let index = new_index(&entries).map_err(json_error("index"))?;
    let docker_manifest = docker_manifest(
        blob_member(finished.config_descriptor.digest),
        records
            .iter()
            .map(|record| blob_member(record.digest.into()))
            .collect(),
        &names,
    )
    .map_err(json_error("docker manifest"))?;
    tar.file(INDEX, &index)
        .and_then(|()| tar.file(DOCKER_MANIFEST, &docker_manifest))
        .and_then(|()| tar.finish())
        .map_err(LayoutError::Output)?;
    Ok(WriteReport {
        manifest_digest: finished.manifest_descriptor.digest,
        config_digest: finished.config_descriptor.digest,
        layers,
    })
}

/// Writes an image as a docker archive of the old form, which tools read that know nothing of OCI: uncompressed layers
/// `<diff ID>/layer.tar` from the bottom, the config `<image ID>.json`, `manifest.json`. Its bytes follow from the image
/// and its names alone.
///
/// # Errors
///
/// Those of [`write_archive`], and a layer whose compression cannot be undone.
pub fn write_docker_archive(
    image: &dyn Image,
    names: &ImageNames,
    out: &mut dyn Write,
    options: &WriteOptions,
    observer: &dyn WriteObserver,
) -> Result<WriteReport, LayoutError> {
    let names = names.parse()?;
    let mut tar = TarWriter::new(out);
    let mut there = BTreeSet::new();
    let mut layers = Vec::with_capacity(image.layers().len());
    for_each_layer(image, LayerForm::Tar, options, observer, |ready| {
        let is_new = there.insert(ready.record.diff_id);
        let member = layer_member(&ready.record);
        layers.push(add_layer(&mut tar, &member, is_new, ready, observer)?);
        Ok(())
    })?;

    let records: Vec<LayerRecord> = layers.iter().map(|layer| layer.record.clone()).collect();
    let finished = image.finish(&records)?;
    let config = format!("{}.json", finished.config_descriptor.digest.hex());
    let docker_manifest = docker_manifest(
        config.clone(),
        records.iter().map(layer_member).collect(),
        &names,
    )
    .map_err(json_error("docker manifest"))?;
    tar.file(&config, &finished.config)
        .and_then(|()| tar.file(DOCKER_MANIFEST, &docker_manifest))
        .and_then(|()| tar.finish())
        .map_err(LayoutError::Output)?;
    Ok(WriteReport {
        manifest_digest: finished.manifest_descriptor.digest,
        config_digest: finished.config_descriptor.digest,
        layers,
    })
}

fn add_layer(
    tar: &mut TarWriter<'_>,
    member: &str,
    is_new: bool,
    ready: ReadyLayer<'_>,
    observer: &dyn WriteObserver,
) -> Result<WrittenLayer, LayoutError> {
    let layer_idx = ready.layer_idx;
    let written = WrittenLayer {
        title: ready.layer.title(),
        record: ready.record.clone(),
        outcome: if is_new {
            LayerOutcome::Written
        } else {
            LayerOutcome::Repeated
        },
    };
    if is_new {
        let size_bytes = ready.size_bytes;
        tar.start_file(member, size_bytes)
            .map_err(LayoutError::Output)?;
        ready.copy_to(tar.content(), observer)?;
        tar.end_file(size_bytes).map_err(LayoutError::Output)?;
    }
    observer.layer_done(layer_idx, &written);
    Ok(written)
}

fn blob_member(digest: Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

fn layer_member(record: &LayerRecord) -> String {
    format!("{}/layer.tar", record.diff_id.hex())
}

fn json_error(what: &'static str) -> impl FnOnce(nixply_oci::CanonicalJsonError) -> LayoutError {
    move |source| LayoutError::Image(ImageError::Json { what, source })
}
