//! How archives are made: how often layers are asked for, what waits where, what happens on failure.

use crate::support::{archive_with, names, options, options_of};
use nixply_layout::{
    LayerOutcome, LayoutError, WriteObserver, WriteOptions, WrittenLayer, write_archive,
    write_docker_archive, write_file_atomically,
};
use nixply_oci::{
    FinishedImage, Image, ImageError, Layer, LayerDigest, LayerError, LayerKey, LayerRecord,
    MediaType, Platform,
};
use nixply_testkit::images::{TestImage, TestLayer};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

/// No memory at all, so that everything overflows.
fn no_memory() -> WriteOptions {
    options_of(2, 0)
}

#[test]
fn a_compressed_layer_is_made_once_even_without_memory() {
    let layer = TestLayer::gzip(&vec![7; 300_000]);
    let image = TestImage::new(vec![layer.clone()]);
    let with_memory = archive_with(&image, &["a"], &options()).unwrap();
    assert_eq!(layer.write_count(), 1);
    assert_eq!(
        archive_with(&image, &["a"], &no_memory()).unwrap(),
        with_memory
    );
    assert_eq!(layer.write_count(), 2);
}

#[test]
fn an_uncompressed_layer_is_made_twice_rather_than_spooled() {
    let layer = TestLayer::plain(&vec![7; 300_000]);
    let image = TestImage::new(vec![layer.clone()]);
    let with_memory = archive_with(&image, &["a"], &options()).unwrap();
    assert_eq!(layer.write_count(), 1);
    let nowhere = WriteOptions {
        spool_dir: "/nonexistent".into(),
        ..no_memory()
    };
    assert_eq!(archive_with(&image, &["a"], &nowhere).unwrap(), with_memory);
    assert_eq!(layer.write_count(), 3);

    let known = TestLayer::plain(&vec![7; 300_000]).known_beforehand();
    let image = TestImage::new(vec![known.clone()]);
    assert_eq!(
        archive_with(&image, &["a"], &nowhere).unwrap().0,
        with_memory.0
    );
    assert_eq!(known.write_count(), 1, "its size is known already");
}

#[test]
fn layers_with_one_key_are_made_once() {
    let layer = TestLayer::gzip(b"tar").with_key(LayerKey::of(b"key"));
    let image = TestImage::new(vec![layer.clone(), layer.clone(), layer.clone()]);
    let (_, report) = archive_with(&image, &["a"], &options()).unwrap();
    assert_eq!(layer.write_count(), 1);
    let outcomes: Vec<_> = report.layers.iter().map(|layer| layer.outcome).collect();
    assert_eq!(
        outcomes,
        [
            LayerOutcome::Written,
            LayerOutcome::Repeated,
            LayerOutcome::Repeated
        ]
    );
    assert_eq!(&report.layers[2].record, layer.record());

    let mut out = Vec::new();
    write_docker_archive(&image, &names(&[]), &mut out, &options(), &()).unwrap();
    assert_eq!(layer.write_count(), 2);
}

#[test]
fn a_spool_directory_that_refuses_is_named() {
    let image = TestImage::new(vec![TestLayer::gzip(b"tar")]);
    let options = WriteOptions {
        spool_dir: "/nonexistent".into(),
        ..no_memory()
    };
    let error = archive_with(&image, &["a"], &options).unwrap_err();
    let mut texts = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    let expected = "cannot create a file in `/nonexistent`".to_owned();
    assert!(texts.contains(&expected), "{texts:?}");
}

#[test]
fn a_layer_that_comes_out_differently_is_refused() {
    let short = TestLayer::plain(b"short");
    let long = TestLayer::plain(b"longer than the other");
    for (claimed, real) in [(&short, &long), (&long, &short)] {
        let layer = real.clone().claiming(claimed.record().clone());
        let image = TestImage::new(vec![layer]);
        let error = archive_with(&image, &["a"], &options()).unwrap_err();
        match error {
            LayoutError::LayerChanged {
                expected, found, ..
            } => {
                assert_eq!(expected, claimed.record().digest);
                assert_eq!(found, real.record().digest);
            }
            // The sink stops a layer that is too long, before its digest is known.
            LayoutError::Layer { layer_idx: 0, .. } => assert_eq!(claimed.blob(), short.blob()),
            error => panic!("{error}"),
        }
    }
    let gzip = TestLayer::gzip(b"a");
    let mut record = gzip.record().clone();
    record.digest = LayerDigest::of(b"b");
    let image = TestImage::new(vec![gzip.claiming(record)]);
    assert!(matches!(
        archive_with(&image, &["a"], &options()),
        Err(LayoutError::LayerChanged { .. })
    ));
}

#[test]
fn a_layer_that_cannot_be_uncompressed_is_named() {
    let bzip2 = MediaType::from("application/x-bzip2");
    let layer = TestLayer::of_bytes(bzip2, b"tar", b"BZh".to_vec());
    let image = TestImage::new(vec![layer.with_title("old")]);
    let error =
        write_docker_archive(&image, &names(&[]), &mut Vec::new(), &options(), &()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layer 0 (old) is `application/x-bzip2`, which cannot be uncompressed"
    );
}

#[test]
fn the_first_failure_is_the_one_that_is_told() {
    for bad_idx in 0..8 {
        let layers: Vec<_> = (0..8_u8)
            .map(|idx| {
                let layer = TestLayer::gzip(&vec![idx; 50_000]).with_title(&idx.to_string());
                if usize::from(idx) == bad_idx {
                    layer.failing_after(10)
                } else {
                    layer
                }
            })
            .collect();
        for jobs in [1, 3] {
            let image = TestImage::new(layers.clone());
            let error = archive_with(&image, &["a"], &options_of(jobs, 1 << 20)).unwrap_err();
            assert!(
                matches!(&error, LayoutError::Layer { layer_idx, source: LayerError::Make(_), .. } if *layer_idx == bad_idx),
                "{error}"
            );
        }
    }
}

/// Takes so many bytes, then is full.
struct SmallDisk(usize);

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0 -= bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_is_full_ends_the_work_at_any_moment() {
    let layers = [TestLayer::gzip(b"a"), TestLayer::plain(&vec![1; 100_000])];
    let image = TestImage::new(layers.to_vec());
    let whole = archive_with(&image, &["a"], &options()).unwrap().0.len();
    for size in [0, 512, 1600, 2100, 50_000, whole - 1100, whole - 1] {
        for memory in [0, 1 << 30] {
            let result = write_archive(
                &image,
                &names(&["a"]),
                &mut SmallDisk(size),
                &options_of(2, memory),
                &(),
            );
            assert!(result.is_err(), "{size}");
        }
    }
    let mut enough = SmallDisk(whole);
    write_archive(&image, &names(&["a"]), &mut enough, &options(), &()).unwrap();
    assert_eq!(enough.0, 0);
}

/// Panics where a layer should be made.
#[derive(Debug)]
struct PanickingImage(Vec<Box<dyn Layer>>, Platform);

#[derive(Debug)]
struct PanickingLayer;

impl Layer for PanickingLayer {
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
        0
    }
    fn title(&self) -> String {
        "panics".to_owned()
    }
    fn write_blob(&self, _out: &mut dyn Write) -> Result<LayerRecord, LayerError> {
        panic!("a bug in a maker")
    }
}

impl Image for PanickingImage {
    fn layers(&self) -> &[Box<dyn Layer>] {
        &self.0
    }
    fn platform(&self) -> &Platform {
        &self.1
    }
    fn finish(&self, _records: &[LayerRecord]) -> Result<FinishedImage, ImageError> {
        panic!("no layer was made")
    }
}

#[test]
fn a_bug_in_a_maker_is_passed_on_and_nobody_waits_for_ever() {
    let mut layers: Vec<Box<dyn Layer>> = vec![Box::new(PanickingLayer)];
    for _ in 0..20 {
        layers.push(Box::new(TestLayer::gzip(b"tar")));
    }
    let image = PanickingImage(layers, Platform::linux("amd64"));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        archive_with(&image, &[], &options_of(2, 0))
    }));
    assert!(result.is_err());
}

#[derive(Default)]
struct Events(Mutex<Vec<String>>);

impl Events {
    fn push(&self, event: String) {
        self.0.lock().unwrap().push(event);
    }
}

impl WriteObserver for Events {
    fn layer_started(&self, layer_idx: usize, title: &str, weight_bytes: u64) {
        self.push(format!("{layer_idx} {title} of {weight_bytes}"));
    }

    fn layer_bytes(&self, layer_idx: usize, n_bytes: u64) {
        self.push(format!("{layer_idx} +{n_bytes}"));
    }

    fn layer_done(&self, layer_idx: usize, layer: &WrittenLayer) {
        self.push(format!("{layer_idx} {:?}", layer.outcome));
    }
}

#[test]
fn an_observer_sees_every_layer() {
    let layer = TestLayer::plain(b"12345").with_title("x");
    let image = TestImage::new(vec![layer.clone(), layer]);
    let events = Events::default();
    write_archive(
        &image,
        &names(&[]),
        &mut io::sink(),
        &options_of(1, 1 << 20),
        &events,
    )
    .unwrap();
    let mut events = events.0.into_inner().unwrap();
    events.sort();
    assert_eq!(
        events,
        [
            "0 +5",
            "0 Written",
            "0 x of 5",
            "1 +5",
            "1 Repeated",
            "1 x of 5"
        ]
    );
}

fn files_in(dir: &Path) -> Vec<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image.tar");
    let fail = |out: &mut dyn Write| -> Result<(), LayoutError> {
        out.write_all(b"half")?;
        Err(io::Error::from(io::ErrorKind::StorageFull).into())
    };
    let error = write_file_atomically(&path, fail).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot write `{}`", path.display())
    );
    assert!(files_in(dir.path()).is_empty());

    let n = write_file_atomically(&path, |out| Ok(out.write(b"whole")?)).unwrap();
    assert_eq!((n, fs::read(&path).unwrap()), (5, b"whole".to_vec()));
    write_file_atomically(&path, fail).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"whole");
    assert_eq!(files_in(dir.path()), ["image.tar"]);
}

#[test]
fn links_are_followed_and_what_is_no_file_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    fs::write(&target, b"old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    write_file_atomically(&link, |out| Ok(out.write_all(b"new")?)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"new");

    write_file_atomically(Path::new("/dev/null"), |out| Ok(out.write_all(b"x")?)).unwrap();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    assert!(matches!(
        write_file_atomically(dir.path(), |_| Ok(())),
        Err(LayoutError::File { .. })
    ));
}
