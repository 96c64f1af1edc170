//! Choosing one of several images by name, digest and platform.

use crate::support::{
    Member, docker_archive_of, file_of, members_of, names, open_as, options, tar_of,
};
use nixply_layout::{LayoutError, OpenOptions, OpenedImage, open_image, write_oci_dir};
use nixply_oci::{
    Descriptor, Digest, ImageIndex, ImageSource, MediaType, Platform, canonical_json,
};
use nixply_testkit::images::{TestImage, TestLayer};
use std::fs;
use std::path::Path;

fn image_for(platform: &str) -> TestImage {
    TestImage::new(vec![TestLayer::plain(b"shared")]).on(platform.parse().unwrap())
}

/// A layout whose one entry is an index `app:1` of these platforms, with an attestation as buildkit makes it.
fn multi_platform_layout(dir: &Path, platforms: &[&str], tells_platform: bool) {
    for (n, platform) in platforms.iter().enumerate() {
        let name = names(&[&format!("app:{n}")]);
        write_oci_dir(&image_for(platform), &name, dir, &options(), &()).unwrap();
    }
    let path = dir.join("index.json");
    let mut index: ImageIndex = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for entry in &mut index.manifests {
        entry.annotations.clear();
        if !tells_platform {
            entry.platform = None;
        }
    }
    let mut attestation = Descriptor::of(MediaType::OciManifest, b"never read");
    attestation.platform = Some("unknown/unknown".parse().unwrap());
    index.manifests.push(attestation);
    let nested = canonical_json(&index).unwrap();
    let mut entry = Descriptor::of(MediaType::OciIndex, &nested);
    fs::write(dir.join("blobs/sha256").join(entry.digest.hex()), &nested).unwrap();
    entry.annotations.insert(
        "org.opencontainers.image.ref.name".to_owned(),
        "app:1".to_owned(),
    );
    index.manifests = vec![entry];
    fs::write(path, canonical_json(&index).unwrap()).unwrap();
}

fn open_for(path: &Path, platform: &str) -> Result<OpenedImage, LayoutError> {
    open_image(
        path,
        &OpenOptions {
            platform: Some(&platform.parse().unwrap()),
            reference: Some("app:1"),
            spool_dir: &std::env::temp_dir(),
        },
    )
}

#[test]
fn an_index_is_resolved_by_platform() {
    for tells_platform in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let layout = dir.path().join("layout");
        multi_platform_layout(&layout, &["linux/amd64", "linux/arm64/v8"], tells_platform);
        for (wanted, found) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/arm64", "linux/arm64/v8"),
            ("linux/arm64/v8", "linux/arm64/v8"),
        ] {
            let opened = open_for(&layout, wanted).unwrap();
            let platform: Platform = found.parse().unwrap();
            assert_eq!(opened.image().config.platform, platform);
        }
        let error = open_for(&layout, "linux/arm64/v7").unwrap_err();
        assert!(matches!(&error, LayoutError::NoSuchImage { found, .. } if found.len() == 2));
        if tells_platform {
            let text = error.to_string();
            let end = "fits `app:1` for linux/arm64/v7; it holds `app:1 (linux/amd64)`, `app:1 (linux/arm64/v8)`";
            assert!(text.ends_with(end), "{text}");
        }
        assert!(matches!(
            open_as(&layout, None).unwrap_err(),
            LayoutError::Ambiguous { found, .. } if found.len() == 2
        ));
    }
}

#[test]
fn platforms_whose_blobs_are_not_there_are_no_choice() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    multi_platform_layout(&layout, &["linux/amd64", "linux/arm64"], true);
    let manifest = |platform: &str| {
        let opened = open_for(&layout, platform).unwrap();
        opened.image().manifest_descriptor.digest
    };
    let (amd64, arm64) = (manifest("linux/amd64"), manifest("linux/arm64"));
    fs::remove_file(layout.join("blobs/sha256").join(arm64.hex())).unwrap();
    let opened = open_as(&layout, None).unwrap();
    assert_eq!(opened.image().manifest_descriptor.digest, amd64);
    assert!(matches!(
        open_for(&layout, "linux/arm64").unwrap_err(),
        LayoutError::Missing { member, .. } if member.ends_with(&arm64.hex())
    ));
}

#[test]
fn an_index_in_itself_ends_in_an_error() {
    // An index cannot hold its own digest, but a chain can be long.
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    multi_platform_layout(&layout, &["linux/amd64"], true);
    let path = layout.join("index.json");
    for _ in 0..5 {
        let bytes = fs::read(&path).unwrap();
        let entry = Descriptor::of(MediaType::OciIndex, &bytes);
        fs::write(layout.join("blobs/sha256").join(entry.digest.hex()), &bytes).unwrap();
        let mut index: ImageIndex = serde_json::from_slice(&bytes).unwrap();
        index.manifests = vec![entry];
        fs::write(&path, canonical_json(&index).unwrap()).unwrap();
    }
    assert!(matches!(
        open_as(&layout, None).unwrap_err(),
        LayoutError::NestedTooDeep { limit: 4, .. }
    ));
}

#[test]
fn a_layout_with_several_images_is_asked_by_name_or_digest() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let mut digests = Vec::new();
    for (label, name) in [("a", "app:1"), ("b", "r.io/app:2")] {
        let image = image_for("linux/amd64").with_label("name", label);
        let report = write_oci_dir(&image, &names(&[name]), &layout, &options(), &()).unwrap();
        digests.push(report.manifest_digest);
    }
    let digest_of = |reference: &str| {
        open_as(&layout, Some(reference))
            .map(|opened| opened.image().manifest_descriptor.digest)
            .map_err(|error| error.to_string())
    };
    for (reference, expected) in [
        ("app:1", 0),
        ("docker.io/library/app:1", 0),
        ("1", 0),
        ("r.io/app:2", 1),
        (&digests[1].to_string(), 1),
    ] {
        assert_eq!(digest_of(reference), Ok(digests[expected]), "{reference}");
    }
    let path = layout.display();
    assert_eq!(
        digest_of("app:2"),
        Err(format!(
            "no image of `{path}` fits `app:2`; it holds `docker.io/library/app:1 (linux/amd64)`, \
             `r.io/app:2 (linux/amd64)`"
        ))
    );
    assert_eq!(
        open_as(&layout, None).unwrap_err().to_string(),
        format!(
            "`{path}` holds several images: `docker.io/library/app:1 (linux/amd64)`, `r.io/app:2 (linux/amd64)`"
        )
    );
}

#[test]
fn several_names_of_one_image_are_no_choice() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    let image = image_for("linux/amd64");
    write_oci_dir(&image, &names(&["a:1", "b:2"]), &layout, &options(), &()).unwrap();
    assert!(open_as(&layout, None).is_ok());
}

#[test]
fn a_docker_archive_with_several_images_is_asked_by_name_or_id() {
    let mut members = Vec::new();
    let mut items = Vec::new();
    for (label, name) in [("a", "app:1"), ("b", "app:2")] {
        let image = image_for("linux/amd64").with_label("name", label);
        for (member, content) in members_of(&docker_archive_of(&image, &[name])) {
            if member == "manifest.json" {
                let item: Vec<serde_json::Value> = serde_json::from_slice(&content).unwrap();
                items.extend(item);
            } else {
                members.push((member, content));
            }
        }
    }
    let manifest = serde_json::to_vec(&items).unwrap();
    members.push(("manifest.json".to_owned(), manifest));
    let members: Vec<_> = members
        .iter()
        .map(|(name, content)| Member::File(name, content))
        .collect();
    let (_guard, path) = file_of(&tar_of(&members));
    let second = open_as(&path, Some("docker.io/library/app:2")).unwrap();
    let image_id = second.image().manifest.config.digest;
    let labels = second.image().config.config.clone().unwrap().labels;
    assert_eq!(labels.unwrap()["name"], "b");
    let by_id = open_as(&path, Some(&image_id.to_string())).unwrap();
    assert_eq!(by_id.image(), second.image());
    assert!(matches!(
        open_as(&path, None).unwrap_err(),
        LayoutError::Ambiguous { found, .. } if found == ["app:1", "app:2"]
    ));
    let unknown = Digest::of(b"").to_string();
    assert!(matches!(
        open_as(&path, Some(&unknown)).unwrap_err(),
        LayoutError::NoSuchImage { found, .. } if found == ["app:1", "app:2"]
    ));
    assert!(matches!(
        open_for(&path, "linux/arm64").unwrap_err(),
        LayoutError::NoSuchImage { .. }
    ));
}
