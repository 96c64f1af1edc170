//! Several docker archives as one.

use crate::support::{archive_of, docker_archive_of, file_of, layers_of, open_as};
use nixply_layout::{LayoutError, merge_docker_archives};
use nixply_oci::ImageSource as _;
use nixply_testkit::images::{TestImage, TestLayer};
use std::path::PathBuf;

fn merged(archives: &[PathBuf]) -> Result<Vec<u8>, LayoutError> {
    let mut out = Vec::new();
    merge_docker_archives(archives, &std::env::temp_dir(), &mut out)?;
    Ok(out)
}

fn members(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap();
    let name = |entry: tar::Entry<'_, _>| entry.path().unwrap().display().to_string();
    entries.map(|entry| name(entry.unwrap())).collect()
}

#[test]
fn images_of_several_archives_are_in_one_and_their_common_layer_once() {
    let common = TestLayer::gzip(b"common");
    let first = TestImage::new(vec![common.clone(), TestLayer::gzip(b"first")]);
    let second = TestImage::new(vec![common.clone(), TestLayer::zstd(b"second")]);
    let (_first_guard, first_path) = file_of(&docker_archive_of(&first, &["first:1"]));
    // Compressed as a whole, and of the form that is an OCI layout, too.
    let archive = archive_of(&second, &["second:1"]);
    let (_second_guard, second_path) = file_of(&zstd::encode_all(archive.as_slice(), 1).unwrap());
    let (_third_guard, third_path) = file_of(&docker_archive_of(&second, &["third:1"]));
    let tar = merged(&[first_path.clone(), second_path, third_path, first_path]).unwrap();

    let common_member = format!("{}/layer.tar", common.record().diff_id.hex());
    let found = members(&tar);
    assert_eq!(
        found.iter().filter(|name| **name == common_member).count(),
        1
    );
    assert_eq!(found.last().unwrap(), "manifest.json");
    let (_guard, path) = file_of(&tar);
    for (name, content) in [("first:1", b"first".as_slice()), ("third:1", b"second")] {
        let opened = open_as(&path, Some(name)).unwrap();
        assert_eq!(
            layers_of(&opened),
            [b"common".as_slice(), content],
            "{name}"
        );
    }
    let opened = open_as(&path, Some("second:1")).unwrap();
    let second_layers = opened.image().manifest.layers.len();
    assert_eq!(second_layers, 2);
    let manifest = String::from_utf8_lossy(&tar);
    assert_eq!(manifest.matches("RepoTags").count(), 3, "{manifest}");
}

#[test]
fn what_is_no_docker_archive_is_named() {
    let (_guard, path) = file_of(b"no tar");
    let error = merged(std::slice::from_ref(&path)).unwrap_err();
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
}

#[test]
fn two_contents_of_one_name_are_refused() {
    let archive = |layer: &[u8], config: &[u8]| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |name: &str, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content).unwrap();
        };
        add("x/layer.tar", layer);
        add("c.json", config);
        add(
            "manifest.json",
            br#"[{"Config":"c.json","RepoTags":null,"Layers":["x/layer.tar"]}]"#,
        );
        file_of(&tar.into_inner().unwrap())
    };
    let (first, again) = (archive(b"one", b"{}"), archive(b"one", b"{}"));
    assert_eq!(
        members(&merged(&[first.1.clone(), again.1]).unwrap()),
        ["x/layer.tar", "c.json", "manifest.json"]
    );
    // Of another size, and of the same.
    for (other, expected) in [
        (archive(b"other", b"{}"), "x/layer.tar"),
        (archive(b"two", b"{}"), "x/layer.tar"),
        (archive(b"one", b"[]"), "c.json"),
    ] {
        let error = merged(&[first.1.clone(), other.1]).unwrap_err();
        assert!(
            matches!(&error, LayoutError::TwoContents { member, .. } if member == expected),
            "{error}"
        );
    }
}
