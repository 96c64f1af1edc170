//! Images whose layers are bytes in memory, to try sinks with.
//!
//! A [`TestLayer`] counts how often its bytes were asked for, may claim to be known beforehand, and may fail part way. It
//! is cheap to clone and clones share the count, so a test keeps one and gives another to the image:
//!
//! ```
//! use nixply_testkit::images::{TestImage, TestLayer, tar_of_files};
//!
//! let layer = TestLayer::gzip(&tar_of_files(&[("etc/motd", b"hello\n")]));
//! let image = TestImage::new(vec![layer.clone()]);
//! # let _ = image;
//! assert_eq!(layer.write_count(), 0);
//! ```

use nixply_oci::{
    ANNOTATION_LAYER_DIFF_ID, ANNOTATION_LAYER_KEY, Descriptor, DiffId, FinishedImage, History,
    Image, ImageConfig, ImageError, ImageManifest, Layer, LayerDigest, LayerError, LayerKey,
    LayerRecord, MediaType, Platform, RootFs, RootFsType, RuntimeConfig, SCHEMA_VERSION,
    canonical_json,
};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that a [`TestLayer`] writes at once; small, so that a failing layer fails between two writes.
const WRITE_BYTES: usize = 4096;

/// A layer of bytes in memory.
#[derive(Debug, Clone)]
pub struct TestLayer {
    title: String,
    key: Option<LayerKey>,
    blob: Arc<[u8]>,
    record: LayerRecord,
    known: Option<LayerRecord>,
    weight_bytes: u64,
    fails_after_bytes: Option<usize>,
    writes: Arc<AtomicUsize>,
}

impl TestLayer {
    /// A layer whose bytes on the wire are `blob` and whose uncompressed tar is `tar`; nothing checks that they agree.
    #[must_use]
    pub fn of_bytes(media_type: MediaType, tar: &[u8], blob: Vec<u8>) -> Self {
        let record = LayerRecord {
            diff_id: DiffId::of(tar),
            digest: LayerDigest::of(&blob),
            size_bytes: blob.len() as u64,
            media_type,
        };
        Self {
            title: format!("test layer {}", &record.diff_id.hex()[..12]),
            key: None,
            weight_bytes: record.size_bytes,
            blob: blob.into(),
            record,
            known: None,
            fails_after_bytes: None,
            writes: Arc::default(),
        }
    }

    /// An uncompressed layer.
    #[must_use]
    pub fn plain(tar: &[u8]) -> Self {
        Self::of_bytes(MediaType::OciLayerTar, tar, tar.to_vec())
    }

    /// An uncompressed layer of bytes that no compressor helps with, other ones for every seed; called `layer SEED`.
    #[must_use]
    pub fn noise(seed: u64, n_bytes: usize) -> Self {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut bytes = vec![0; n_bytes];
        for chunk in bytes.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
        }
        Self::plain(&bytes).with_title(&format!("layer {seed}"))
    }

    /// A gzip-compressed layer.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a fault of the test itself has to stop it"
    )]
    pub fn gzip(tar: &[u8]) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(tar).expect("memory takes every byte");
        let blob = encoder.finish().expect("memory takes every byte");
        Self::of_bytes(MediaType::OciLayerTarGzip, tar, blob)
    }

    /// A zstd-compressed layer.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a fault of the test itself has to stop it"
    )]
    pub fn zstd(tar: &[u8]) -> Self {
        let blob = zstd::encode_all(tar, 1).expect("memory takes every byte");
        Self::of_bytes(MediaType::OciLayerTarZstd, tar, blob)
    }

    /// The same layer, whose record is known before its bytes are made.
    #[must_use]
    pub fn known_beforehand(mut self) -> Self {
        self.known = Some(self.record.clone());
        self
    }

    /// The same layer, which fails as a maker does once `n_bytes` of it are written.
    #[must_use]
    pub fn failing_after(mut self, n_bytes: usize) -> Self {
        self.fails_after_bytes = Some(n_bytes);
        self
    }

    /// The same layer with a key.
    #[must_use]
    pub fn with_key(mut self, key: LayerKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The same layer, which claims to be heavier or lighter than its blob; sinks start with the heaviest.
    #[must_use]
    pub fn weighing(mut self, weight_bytes: u64) -> Self {
        self.weight_bytes = weight_bytes;
        self
    }

    /// The same layer with another title.
    #[must_use]
    pub fn with_title(mut self, title: &str) -> Self {
        title.clone_into(&mut self.title);
        self
    }

    /// The same layer, which is wrong about what it is until its bytes are made.
    #[must_use]
    pub fn claiming(mut self, record: LayerRecord) -> Self {
        self.known = Some(record);
        self
    }

    /// What the layer is.
    #[must_use]
    pub fn record(&self) -> &LayerRecord {
        &self.record
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// How often the layer's bytes, or those of a clone of it, were asked for.
    #[must_use]
    pub fn write_count(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

impl Layer for TestLayer {
    fn key(&self) -> Option<LayerKey> {
        self.key
    }

    fn known(&self) -> Option<LayerRecord> {
        self.known.clone()
    }

    fn media_type(&self) -> MediaType {
        self.record.media_type.clone()
    }

    fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    fn title(&self) -> String {
        self.title.clone()
    }

    fn write_blob(&self, out: &mut dyn Write) -> Result<LayerRecord, LayerError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let end = self.fails_after_bytes.unwrap_or(self.blob.len());
        for chunk in self.blob[..end.min(self.blob.len())].chunks(WRITE_BYTES) {
            out.write_all(chunk).map_err(LayerError::Sink)?;
        }
        if self.fails_after_bytes.is_some() {
            return Err(LayerError::Make(
                io::Error::other("the test layer fails here").into(),
            ));
        }
        Ok(self.record.clone())
    }
}

/// An image of [`TestLayer`]s whose config runs `/bin/true`.
#[derive(Debug)]
pub struct TestImage {
    layers: Vec<Box<dyn Layer>>,
    platform: Platform,
    labels: BTreeMap<String, String>,
}

impl TestImage {
    /// An image for `linux/amd64`, bottom layer first.
    #[must_use]
    pub fn new(layers: Vec<TestLayer>) -> Self {
        Self {
            layers: layers
                .into_iter()
                .map(|layer| Box::new(layer) as Box<dyn Layer>)
                .collect(),
            platform: Platform::linux("amd64"),
            labels: BTreeMap::new(),
        }
    }

    /// The same image for another platform.
    #[must_use]
    pub fn on(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// The same image with one more label, which makes it another image over the same layers.
    #[must_use]
    pub fn with_label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    fn config(&self, records: &[LayerRecord]) -> ImageConfig {
        let created = Some("1970-01-01T00:00:01Z".to_owned());
        ImageConfig {
            created: created.clone(),
            platform: self.platform.clone(),
            config: Some(RuntimeConfig {
                cmd: Some(vec!["/bin/true".to_owned()]),
                labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
                ..RuntimeConfig::default()
            }),
            rootfs: RootFs {
                kind: RootFsType::Layers,
                diff_ids: records.iter().map(|record| record.diff_id).collect(),
            },
            history: self
                .layers
                .iter()
                .map(|layer| History {
                    created: created.clone(),
                    comment: Some(layer.title()),
                    ..History::default()
                })
                .collect(),
        }
    }
}

impl Image for TestImage {
    fn layers(&self) -> &[Box<dyn Layer>] {
        &self.layers
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn finish(&self, records: &[LayerRecord]) -> Result<FinishedImage, ImageError> {
        if records.len() != self.layers.len() {
            return Err(ImageError::RecordCount {
                expected: self.layers.len(),
                found: records.len(),
            });
        }
        let json = |what, bytes: Result<Vec<u8>, _>| {
            bytes.map_err(|source| ImageError::Json { what, source })
        };
        let config = json("config", canonical_json(&self.config(records)))?;
        let config_descriptor = Descriptor::of(MediaType::OciConfig, &config);
        let manifest = ImageManifest {
            schema_version: SCHEMA_VERSION,
            media_type: Some(MediaType::OciManifest),
            config: config_descriptor.clone(),
            layers: self
                .layers
                .iter()
                .zip(records)
                .map(|(layer, record)| layer_descriptor(layer.key(), record))
                .collect(),
            annotations: BTreeMap::new(),
        };
        let manifest = json("manifest", canonical_json(&manifest))?;
        Ok(FinishedImage {
            manifest_descriptor: Descriptor::of(MediaType::OciManifest, &manifest),
            config,
            config_descriptor,
            manifest,
        })
    }
}

fn layer_descriptor(key: Option<LayerKey>, record: &LayerRecord) -> Descriptor {
    let key = key.map(|key| (ANNOTATION_LAYER_KEY.to_owned(), key.to_string()));
    let diff_id = (
        ANNOTATION_LAYER_DIFF_ID.to_owned(),
        record.diff_id.to_string(),
    );
    Descriptor {
        media_type: record.media_type.clone(),
        digest: record.digest.into(),
        size_bytes: record.size_bytes,
        annotations: key.into_iter().chain([diff_id]).collect(),
        platform: None,
    }
}

/// A tar of regular files, mode 0755, in the order given, with the end that every reader takes.
#[must_use]
#[expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a fault of the test itself has to stop it"
)]
pub fn tar_of_files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_mtime(1);
        builder
            .append_data(&mut header, path, *content)
            .expect("a test's paths fit into a tar header");
    }
    builder.into_inner().expect("memory takes every byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_counts_and_a_failing_layer_stops_where_told() {
        let layer = TestLayer::gzip(&tar_of_files(&[("a", b"x")]));
        let mut out = Vec::new();
        assert_eq!(layer.clone().write_blob(&mut out).unwrap(), *layer.record());
        assert_eq!(out, layer.blob());
        assert_eq!(layer.write_count(), 1);
        assert_eq!(layer.known(), None);

        out.clear();
        let failing = layer.clone().known_beforehand().failing_after(7);
        assert!(matches!(
            failing.write_blob(&mut out),
            Err(LayerError::Make(_))
        ));
        assert_eq!(out, &layer.blob()[..7]);
        assert_eq!(layer.write_count(), 2);
        assert_eq!(failing.known().as_ref(), Some(layer.record()));
    }

    #[test]
    fn an_image_names_its_layers_in_config_and_manifest() {
        let layer = TestLayer::zstd(b"tar");
        let image = TestImage::new(vec![layer.clone()]);
        let finished = image.finish(&[layer.record().clone()]).unwrap();
        let manifest: ImageManifest = serde_json::from_slice(&finished.manifest).unwrap();
        assert_eq!(manifest.layers[0].digest, layer.record().digest.into());
        let config: ImageConfig = serde_json::from_slice(&finished.config).unwrap();
        assert_eq!(config.rootfs.diff_ids, [layer.record().diff_id]);
        assert!(image.finish(&[]).is_err());
    }
}
