//! Images are told from other files by little of them.

use crate::support::{Member, archive_of, docker_archive_of, file_of, names, options, tar_of};
use nixply_layout::{LayoutError, is_image, write_oci_dir};
use nixply_testkit::images::{TestImage, TestLayer, tar_of_files};
use std::fs;
use std::io::Write as _;
use std::path::Path;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn tell(bytes: &[u8]) -> bool {
    let (_guard, path) = file_of(bytes);
    is_image(&path).unwrap()
}

#[test]
fn every_form_of_an_image_is_one() {
    let image = TestImage::new(vec![TestLayer::gzip(b"a layer")]);
    for tar in [archive_of(&image, &["a:1"]), docker_archive_of(&image, &[])] {
        assert!(tell(&tar));
        assert!(tell(&gzip(&tar)));
        assert!(tell(&zstd::encode_all(&tar[..], 1).unwrap()));
    }
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("layout");
    write_oci_dir(&image, &names(&["a:1"]), &layout, &options(), &()).unwrap();
    assert!(is_image(&layout).unwrap());
    assert!(!is_image(dir.path()).unwrap());
    // As dockerTools and Docker before 25 wrote it.
    let id = "0123456789abcdef".repeat(4);
    let old = tar_of(&[
        Member::File(&format!("./{id}/VERSION"), b"1.0"),
        Member::File(&format!("./{id}/json"), b"{}"),
        Member::File(&format!("./{id}/layer.tar"), &[0; 1024]),
    ]);
    assert!(tell(&old));
    let manifest = tar_of(&[
        Member::File(&format!("{id}.json"), b"{}"),
        Member::File(
            "manifest.json",
            br#"[{"Config":"x.json","RepoTags":null,"Layers":[]}]"#,
        ),
    ]);
    assert!(tell(&manifest));
}

#[test]
fn other_files_are_none() {
    let extension = tar_of_files(&[("manifest.json", br#"{"manifest_version":3}"#)]);
    let sources = tar_of_files(&[("hello-1.0/oci-layout", b"{}")]);
    for bytes in [
        b"".as_slice(),
        b"x",
        &[0; 2048],
        b"\x1f\x8bnot gzip",
        &extension,
        &sources,
    ] {
        assert!(!tell(bytes));
    }
    for tar in [extension, sources] {
        assert!(!tell(&gzip(&tar)));
    }
    let missing = is_image(Path::new("/nonexistent")).unwrap_err();
    assert!(matches!(missing, LayoutError::File { .. }), "{missing}");
}

#[test]
fn a_large_archive_is_told_by_its_first_member() {
    let mut tar = tar_of_files(&[("hello-1.0/README", b"hello")]);
    // Everything behind the first member is broken, and nobody minds.
    tar.truncate(1024);
    tar.extend([b'x'; 4096]);
    assert!(!tell(&tar));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse");
    fs::write(
        &path,
        archive_of(&TestImage::new(vec![TestLayer::plain(b"a")]), &[]),
    )
    .unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    assert!(is_image(&path).unwrap());
}
