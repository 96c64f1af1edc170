//! Other people's tools, on what is written here and the other way round.

use crate::support::{archive_of, docker_archive_of, file_of, layers_of, names, open, options};
use nixply_layout::{ImageForm, write_oci_dir};
use nixply_oci::{ImageSource, MediaType};
use nixply_testkit::images::{TestImage, TestLayer, tar_of_files};
use nixply_testkit::require_program;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "ghcr.io/acme/app:v1";

type MakeLayer = fn(&[u8]) -> TestLayer;

const KINDS: [(&str, MakeLayer); 3] = [
    ("plain", TestLayer::plain),
    ("gzip", TestLayer::gzip),
    ("zstd", TestLayer::zstd),
];

/// Two different layers, and the first again.
fn layers(make: MakeLayer) -> Vec<TestLayer> {
    let first = make(&tar_of_files(&[
        ("etc/motd", b"hello\n"),
        ("bin/x", &vec![0; 70_000]),
    ]));
    let second = make(&tar_of_files(&[("etc/issue", b"second\n")]));
    vec![first.clone(), second, first]
}

/// Runs a program that has to succeed, in a home of its own, and gives its standard output.
fn run(program: &Path, home: &Path, arguments: &[&dyn AsRef<OsStr>]) -> String {
    let output = Command::new(program)
        .args(arguments.iter().map(AsRef::as_ref))
        .env("HOME", home)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{} {:?} failed: {}",
        program.display(),
        arguments.iter().map(AsRef::as_ref).collect::<Vec<_>>(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn inspect(skopeo: &Path, home: &Path, source: &str) -> Value {
    serde_json::from_str(&run(skopeo, home, &[&"inspect", &source])).unwrap()
}

/// An image on disk as skopeo names it.
fn at(transport: &str, path: &Path) -> String {
    format!("{transport}:{}", path.display())
}

/// Copies by skopeo, which checks every digest on the way, into a new layout. `flag` is one more of its flags.
fn copied(skopeo: &Path, guard: &tempfile::TempDir, source: &str, flag: &str) -> PathBuf {
    let layout = guard.path().join("copied");
    let target = at("oci", &layout);
    run(skopeo, guard.path(), &[&"copy", &flag, &source, &target]);
    layout
}

#[test]
fn skopeo_reads_the_archive_in_both_its_forms() {
    let Some(skopeo) = require_program("skopeo") else {
        return;
    };
    for (kind, make) in KINDS {
        let layers = layers(make);
        let (guard, path) = file_of(&archive_of(&TestImage::new(layers.clone()), &[NAME]));
        let ours = open(&path).unwrap();
        let digest = ours.image().manifest_descriptor.digest;

        let source = at("oci-archive", &path);
        let seen = inspect(&skopeo, guard.path(), &source);
        assert_eq!(seen["Digest"], digest.to_string(), "{kind}");
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 3, "{kind}");
        let by_tag = inspect(&skopeo, guard.path(), &format!("{source}:v1"));
        assert_eq!(by_tag["Digest"], seen["Digest"], "{kind}");
        let copy = open(&copied(&skopeo, &guard, &source, "--preserve-digests")).unwrap();
        assert_eq!(copy.image().manifest_descriptor.digest, digest, "{kind}");
        assert!(layers_of(&copy) == layers_of(&ours), "{kind}");

        let (guard, path) = file_of(&fs::read(&path).unwrap());
        let source = at("docker-archive", &path);
        let seen = inspect(&skopeo, guard.path(), &format!("{source}:{NAME}"));
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 3, "{kind}");
        let copy = open(&copied(&skopeo, &guard, &source, "-q")).unwrap();
        let (found, expected) = (&copy.image().config, &ours.image().config);
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn skopeo_reads_the_docker_archive() {
    let Some(skopeo) = require_program("skopeo") else {
        return;
    };
    let layers = layers(TestLayer::gzip);
    let image = TestImage::new(layers.clone());
    let (guard, path) = file_of(&docker_archive_of(&image, &[NAME, "app:v2"]));
    for name in [NAME, "app:v2"] {
        let source = format!("{}:{name}", at("docker-archive", &path));
        let seen = inspect(&skopeo, guard.path(), &source);
        let found: Vec<_> = seen["Layers"].as_array().unwrap().iter().collect();
        let expected: Vec<_> = layers
            .iter()
            .map(|layer| layer.record().diff_id.to_string())
            .collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>());
    }
    let config = open(&copied(&skopeo, &guard, &at("docker-archive", &path), "-q")).unwrap();
    assert_eq!(config.image().config, open(&path).unwrap().image().config);
}

#[test]
fn skopeo_and_umoci_read_the_layout() {
    let guard = tempfile::tempdir().unwrap();
    let layout = guard.path().join("layout");
    let image = TestImage::new(layers(TestLayer::gzip));
    let report = write_oci_dir(&image, &names(&[NAME]), &layout, &options(), &()).unwrap();
    if let Some(skopeo) = require_program("skopeo") {
        for source in [at("oci", &layout), format!("{}:v1", at("oci", &layout))] {
            let seen = inspect(&skopeo, guard.path(), &source);
            assert_eq!(seen["Digest"], report.manifest_digest.to_string());
        }
    }
    if let Some(umoci) = require_program("umoci") {
        let bundle = guard.path().join("bundle");
        let image = format!("{}:v1", layout.display());
        let flags: [&dyn AsRef<OsStr>; 5] = [&"unpack", &"--rootless", &"--image", &image, &bundle];
        run(&umoci, guard.path(), &flags);
        let rootfs = bundle.join("rootfs");
        assert_eq!(fs::read(rootfs.join("etc/motd")).unwrap(), b"hello\n");
        assert_eq!(fs::read(rootfs.join("etc/issue")).unwrap(), b"second\n");
        // umoci removes what nothing names: it finds nothing.
        let before = fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
        run(&umoci, guard.path(), &[&"gc", &"--layout", &layout]);
        let after = fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
        assert_eq!((before, after), (4, 4));
    }
}

#[test]
fn what_skopeo_writes_is_read() {
    let Some(skopeo) = require_program("skopeo") else {
        return;
    };
    let layers = layers(TestLayer::gzip);
    let (guard, path) = file_of(&archive_of(&TestImage::new(layers.clone()), &[NAME]));
    let source = at("oci-archive", &path);
    let expected = open(&path).unwrap();
    let blobs: Vec<_> = layers.iter().map(|layer| layer.blob().to_vec()).collect();
    let diff_ids = &expected.image().config.rootfs.diff_ids;

    let oci_archive = guard.path().join("oci.tar");
    let target = format!("{}:v7", at("oci-archive", &oci_archive));
    run(&skopeo, guard.path(), &[&"copy", &"-q", &source, &target]);
    let found = open(&oci_archive).unwrap();
    assert_eq!(found.image().manifest, expected.image().manifest);
    assert!(layers_of(&found) == blobs);

    // skopeo uncompresses here, and links `<id>/layer.tar` to `<diff ID>.tar`.
    let docker_archive = guard.path().join("docker.tar");
    let target = format!("{}:{NAME}", at("docker-archive", &docker_archive));
    run(&skopeo, guard.path(), &[&"copy", &"-q", &source, &target]);
    let found = open(&docker_archive).unwrap();
    assert_eq!(found.form(), ImageForm::DockerArchive);
    assert_eq!(&found.image().config.rootfs.diff_ids, diff_ids);
    for (layer, diff_id) in layers_of(&found).iter().zip(diff_ids) {
        assert_eq!(nixply_oci::DiffId::of(layer), *diff_id);
    }
    let layer = &found.image().manifest.layers[0];
    assert_eq!(layer.media_type, MediaType::OciLayerTar);
}
