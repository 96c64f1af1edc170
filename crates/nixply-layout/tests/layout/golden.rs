//! The bytes of archives, compared with those that `fixtures/layout/make.py` made without any code of nixply.

use crate::support::{archive_of, archive_with, docker_archive_of, members_of, options_of};
use nixply_oci::MediaType;
use nixply_testkit::images::{TestImage, TestLayer};
use std::fs;
use std::path::PathBuf;

const NAMES: [&str; 2] = ["ghcr.io/acme/app:v1", "app:v2"];

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/layout")
        .join(name);
    fs::read(path).unwrap()
}

fn image() -> TestImage {
    let first = TestLayer::of_bytes(
        MediaType::OciLayerTarGzip,
        b"the tar of the first layer",
        fixture("first-layer.gz"),
    )
    .with_title("first");
    let second = TestLayer::plain(&[b'x'; 600]).with_title("second");
    TestImage::new(vec![first.clone(), second, first])
}

/// The members as in `*.members.txt`: a difference is easier to see there than in the bytes.
fn listing(tar: &[u8]) -> String {
    let mut lines = Vec::new();
    for (name, content) in members_of(tar) {
        if name.ends_with('/') {
            lines.push(name);
            continue;
        }
        lines.push(format!("{name} {}", content.len()));
        if !name.contains('/') {
            lines.push(format!("    {}", String::from_utf8(content).unwrap()));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn check(found: &[u8], fixture_name: &str) {
    let members = fixture(&format!("{fixture_name}.members.txt"));
    assert_eq!(listing(found), String::from_utf8(members).unwrap());
    assert!(
        found == fixture(&format!("{fixture_name}.tar")),
        "the members are as expected and the headers are not"
    );
}

#[test]
fn the_archive_is_an_oci_layout_and_a_docker_archive() {
    check(&archive_of(&image(), &NAMES), "archive");
}

#[test]
fn the_docker_archive_has_uncompressed_layers() {
    check(&docker_archive_of(&image(), &NAMES), "docker-archive");
}

#[test]
fn neither_jobs_nor_memory_show_in_the_bytes() {
    for jobs in [0, 1, 2, 16] {
        for memory_budget_bytes in [0, 70_000, 1 << 30] {
            let options = options_of(jobs, memory_budget_bytes);
            let (tar, _) = archive_with(&image(), &NAMES, &options).unwrap();
            check(&tar, "archive");
        }
    }
}

#[test]
fn an_image_without_a_name_and_without_layers_is_written_too() {
    let members = members_of(&archive_of(&TestImage::new(Vec::new()), &[]));
    let text = |name: &str| {
        let (_, content) = members.iter().find(|(found, _)| found == name).unwrap();
        String::from_utf8(content.clone()).unwrap()
    };
    assert!(!text("index.json").contains("annotations"));
    let docker_manifest = text("manifest.json");
    assert!(
        docker_manifest.ends_with(r#","Layers":[],"RepoTags":[]}]"#),
        "{docker_manifest}"
    );
}
