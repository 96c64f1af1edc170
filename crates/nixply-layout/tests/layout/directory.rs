//! Writing OCI layout directories, new ones and ones that exist.

use crate::support::{layers_of, names, open_as, options, options_of};
use nixply_layout::{LayerOutcome, LayoutError, WriteReport, write_oci_dir};
use nixply_oci::ImageSource;
use nixply_testkit::images::{TestImage, TestLayer};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    (dir, layout)
}

fn write(image: &TestImage, name: &str, dir: &Path) -> Result<WriteReport, LayoutError> {
    write_oci_dir(image, &names(&[name]), dir, &options(), &())
}

fn outcomes(report: &WriteReport) -> Vec<LayerOutcome> {
    report.layers.iter().map(|layer| layer.outcome).collect()
}

fn files_in(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn index_of(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("index.json")).unwrap()).unwrap()
}

#[test]
fn a_new_layout_holds_its_files_and_nothing_else() {
    let (guard, layout) = scratch();
    let layer = TestLayer::gzip(b"tar");
    let image = TestImage::new(vec![layer.clone(), layer.clone()]);
    let report = write(&image, "app:1", &layout).unwrap();
    assert_eq!(
        outcomes(&report),
        [LayerOutcome::Written, LayerOutcome::Repeated]
    );
    assert_eq!(
        files_in(guard.path()),
        BTreeSet::from(["layout".to_owned()])
    );
    let expected = ["blobs", "index.json", "oci-layout"].map(str::to_owned);
    assert_eq!(files_in(&layout), BTreeSet::from(expected));
    let blobs = [
        layer.record().digest.hex(),
        report.config_digest.hex(),
        report.manifest_digest.hex(),
    ];
    assert_eq!(
        files_in(&layout.join("blobs/sha256")),
        BTreeSet::from(blobs.clone())
    );
    for path in [
        "oci-layout",
        "index.json",
        &format!("blobs/sha256/{}", blobs[0]),
        &format!("blobs/sha256/{}", blobs[1]),
    ] {
        let mode = fs::metadata(layout.join(path))
            .unwrap()
            .permissions()
            .mode();
        assert_ne!(mode & 0o044, 0, "{path}: others cannot read {mode:o}");
    }
}

#[test]
fn of_equal_layers_the_lower_is_written_whichever_was_made_first() {
    let (_guard, layout) = scratch();
    let lower = TestLayer::gzip(b"tar");
    let image = TestImage::new(vec![lower.clone(), lower.clone().weighing(1 << 40), lower]);
    let one_job = options_of(1, 0);
    let report = write_oci_dir(&image, &names(&[]), &layout, &one_job, &()).unwrap();
    assert_eq!(
        outcomes(&report),
        [
            LayerOutcome::Written,
            LayerOutcome::Repeated,
            LayerOutcome::Repeated
        ]
    );
}

#[test]
fn a_layer_that_is_there_is_not_made_again() {
    let (_guard, layout) = scratch();
    let known = TestLayer::gzip(b"known").known_beforehand();
    let unknown = TestLayer::gzip(b"unknown");
    let image = TestImage::new(vec![known.clone(), unknown.clone()]);
    let first = write(&image, "app:1", &layout).unwrap();
    assert_eq!(
        outcomes(&first),
        [LayerOutcome::Written, LayerOutcome::Written]
    );
    let second = write(&image, "app:1", &layout).unwrap();
    assert_eq!(
        outcomes(&second),
        [LayerOutcome::AlreadyThere, LayerOutcome::AlreadyThere]
    );
    assert_eq!((known.write_count(), unknown.write_count()), (1, 2));
    assert_eq!(second.manifest_digest, first.manifest_digest);
    let expected = ["blobs", "index.json", "oci-layout"].map(str::to_owned);
    assert_eq!(files_in(&layout), BTreeSet::from(expected));

    // A blob of the wrong size, as a disk that was full leaves it, is made again.
    let blob = layout
        .join("blobs/sha256")
        .join(known.record().digest.hex());
    fs::write(&blob, b"short").unwrap();
    let third = write(&image, "app:1", &layout).unwrap();
    assert_eq!(outcomes(&third)[0], LayerOutcome::Written);
    assert_eq!(fs::read(&blob).unwrap(), known.blob());

    // So is one of the right size with other bytes, and the config.
    let config = layout.join("blobs/sha256").join(first.config_digest.hex());
    let whole = fs::read(&config).unwrap();
    fs::write(&blob, vec![0; known.blob().len()]).unwrap();
    fs::write(&config, vec![0; whole.len()]).unwrap();
    let fourth = write(&image, "app:1", &layout).unwrap();
    assert_eq!(
        outcomes(&fourth),
        [LayerOutcome::Written, LayerOutcome::AlreadyThere]
    );
    assert_eq!(fs::read(&blob).unwrap(), known.blob());
    assert_eq!(fs::read(&config).unwrap(), whole);
}

#[test]
fn a_whole_name_and_a_platform_tell_images_of_one_tag_apart() {
    let (_guard, layout) = scratch();
    let image = |label: &str| TestImage::new(Vec::new()).with_label("name", label);
    let on_arm = |label| image(label).on(nixply_oci::Platform::linux("arm64"));
    let digests = |layout: &Path| -> Vec<String> {
        let index = index_of(layout);
        let entries = index["manifests"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["digest"].as_str().unwrap().to_owned())
            .collect()
    };
    let digest = |report: WriteReport| report.manifest_digest.to_string();
    write(&image("old"), "app:1", &layout).unwrap();
    let other = digest(write(&image("other"), "other:1", &layout).unwrap());
    let arm = digest(write(&on_arm("arm"), "app:1", &layout).unwrap());
    let new = digest(write(&image("new"), "app:1", &layout).unwrap());
    assert_eq!(digests(&layout), [other.clone(), arm.clone(), new.clone()]);

    let unnamed = |label| write_oci_dir(&image(label), &names(&[]), &layout, &options(), &());
    let first = digest(unnamed("first").unwrap());
    let second = digest(unnamed("second").unwrap());
    assert_eq!(digest(unnamed("first").unwrap()), first);
    assert_eq!(digests(&layout), [other, arm, new, second, first]);
}

#[test]
fn an_image_replaces_the_one_of_its_tag_and_leaves_others() {
    let (_guard, layout) = scratch();
    let image = |label: &str| TestImage::new(Vec::new()).with_label("name", label);
    write(&image("a"), "app:1", &layout).unwrap();
    write(&image("b"), "app:2", &layout).unwrap();
    // What another tool wrote, with fields that are not known here.
    let mut index = index_of(&layout);
    index["annotations"] = json!({"made.by": "hand"});
    index["manifests"][0]["artifactType"] = json!("application/x");
    index["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "0".repeat(64)),
        "size": 1,
    }));
    fs::write(layout.join("index.json"), index.to_string()).unwrap();

    let c = write(&image("c"), "app:2", &layout).unwrap();
    let index = index_of(&layout);
    assert_eq!(index["annotations"]["made.by"], "hand");
    let entries = index["manifests"].as_array().unwrap();
    let tags: Vec<_> = entries
        .iter()
        .map(|entry| entry["annotations"]["org.opencontainers.image.ref.name"].as_str())
        .collect();
    assert_eq!(tags, [Some("1"), None, Some("2")]);
    assert_eq!(entries[0]["artifactType"], "application/x");
    assert_eq!(entries[2]["digest"], c.manifest_digest.to_string());
    let opened = open_as(&layout, Some("app:2")).unwrap();
    assert_eq!(opened.image().manifest_descriptor.digest, c.manifest_digest);
}

#[test]
fn an_empty_directory_becomes_a_layout_and_another_is_left_alone() {
    let (_guard, dir) = scratch();
    fs::create_dir(&dir).unwrap();
    let layer = TestLayer::plain(b"tar");
    let image = TestImage::new(vec![layer.clone()]);
    write(&image, "app:1", &dir).unwrap();
    assert_eq!(
        layers_of(&open_as(&dir, None).unwrap()),
        [layer.blob().to_vec()]
    );

    let (_guard, dir) = scratch();
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("thesis.tex"), b"years of work").unwrap();
    assert!(matches!(
        write(&image, "app:1", &dir).unwrap_err(),
        LayoutError::DirectoryInUse { path } if path == dir.canonicalize().unwrap()
    ));
    assert_eq!(files_in(&dir), BTreeSet::from(["thesis.tex".to_owned()]));
}

#[test]
fn a_failed_layer_leaves_nothing_behind() {
    let (guard, layout) = scratch();
    let good = TestLayer::gzip(b"good");
    let bad = TestLayer::plain(&vec![1; 100_000]).failing_after(50_000);
    let image = TestImage::new(vec![good.clone(), bad.with_title("the bad one")]);
    let error = write(&image, "app:1", &layout).unwrap_err();
    assert_eq!(error.to_string(), "cannot make layer 1 (the bad one)");
    assert!(files_in(guard.path()).is_empty());

    write(&TestImage::new(vec![good]), "app:1", &layout).unwrap();
    let before = (
        fs::read(layout.join("index.json")).unwrap(),
        files_in(&layout),
    );
    write(&image, "app:1", &layout).unwrap_err();
    let after = (
        fs::read(layout.join("index.json")).unwrap(),
        files_in(&layout),
    );
    assert_eq!(after, before);
}

#[test]
fn a_layer_that_is_not_what_was_known_is_refused() {
    let (guard, layout) = scratch();
    let other = TestLayer::plain(b"other");
    let mut record = other.record().clone();
    record.digest = nixply_oci::LayerDigest::of(b"what it was");
    let image = TestImage::new(vec![other.claiming(record)]);
    let error = write_oci_dir(&image, &names(&[]), &layout, &options(), &()).unwrap_err();
    assert!(matches!(
        error,
        LayoutError::LayerChanged { layer_idx: 0, expected, found, .. }
            if expected == nixply_oci::LayerDigest::of(b"what it was")
                && found == nixply_oci::LayerDigest::of(b"other")
    ));
    assert!(files_in(guard.path()).is_empty());
}
