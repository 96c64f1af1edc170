//! The memory of a push does not grow with its layers. Alone in its process, whose peak it reads.

use nixply_oci::{
    BlobHasher, DiffId, Image, ImageReference, Layer, LayerDigest, LayerError, LayerKey,
    LayerRecord, MediaType,
};
use nixply_registry::{
    Client, ClientOptions, Credentials, FixedKeychain, PushOptions, SilentObserver, push,
};
use nixply_testkit::images::TestImage;
use nixply_testkit::registry::RegistryProcess;
use std::fs;
use std::io::Write;
use std::sync::Arc;

/// One layer of this size, made as it is written.
const LAYER_BYTES: u64 = 300 << 20;

/// What the buffers of one layer, an HTTP client and the test itself may take: twice what was measured (decision 0007).
const PEAK_MAX_KIB: u64 = 64 << 10;

#[derive(Debug)]
struct GeneratedLayer;

impl Layer for GeneratedLayer {
    fn key(&self) -> Option<LayerKey> {
        None
    }

    fn known(&self) -> Option<LayerRecord> {
        None
    }

    fn media_type(&self) -> MediaType {
        MediaType::OciLayerTar
    }

    fn weight_bytes(&self) -> u64 {
        LAYER_BYTES
    }

    fn title(&self) -> String {
        "300 MiB".to_owned()
    }

    fn write_blob(&self, out: &mut dyn Write) -> Result<LayerRecord, LayerError> {
        let chunk = vec![0x5a; 1 << 20];
        let mut hasher = BlobHasher::new();
        for _ in 0..LAYER_BYTES / chunk.len() as u64 {
            hasher.update(&chunk);
            out.write_all(&chunk).map_err(LayerError::Sink)?;
        }
        let (hash, size_bytes) = hasher.finish();
        Ok(LayerRecord {
            diff_id: DiffId::from_bytes(hash),
            digest: LayerDigest::from_bytes(hash),
            size_bytes,
            media_type: MediaType::OciLayerTar,
        })
    }
}

#[derive(Debug)]
struct GeneratedImage {
    layers: Vec<Box<dyn Layer>>,
    rest: TestImage,
}

impl Image for GeneratedImage {
    fn layers(&self) -> &[Box<dyn Layer>] {
        &self.layers
    }

    fn platform(&self) -> &nixply_oci::Platform {
        self.rest.platform()
    }

    fn finish(
        &self,
        _records: &[LayerRecord],
    ) -> Result<nixply_oci::FinishedImage, nixply_oci::ImageError> {
        self.rest.finish(&[])
    }
}

/// What the kernel says about this process; `None` where there is no `/proc`.
fn status() -> Option<String> {
    fs::read_to_string("/proc/self/status").ok()
}

/// The most memory that this process ever had, in KiB.
fn peak_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[test]
fn a_large_layer_is_never_whole_in_memory() {
    if status().is_none() {
        eprintln!("SKIPPED: a_large_layer_is_never_whole_in_memory: there is no /proc");
        return;
    }
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let image = GeneratedImage {
        layers: vec![Box::new(GeneratedLayer)],
        rest: TestImage::new(Vec::new()),
    };
    let target: ImageReference = format!("{}/a:x", registry.host()).parse().unwrap();
    let keychain = FixedKeychain(Credentials::Anonymous);
    let client = Client::new(Arc::new(keychain), ClientOptions::default()).unwrap();
    let report = push(
        &client,
        &image,
        &[target],
        &PushOptions::for_jobs(2),
        &SilentObserver,
    )
    .unwrap();
    assert_eq!(report.layer_bytes_sent(), LAYER_BYTES);
    let peak = peak_kib(&status().unwrap()).unwrap();
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB");
}
