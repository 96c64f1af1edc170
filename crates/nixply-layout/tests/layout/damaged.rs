//! Broken images end in errors that name what is broken, and never in a panic.

use crate::support::{
    Member, archive_of, docker_archive_of, file_of, layers_of, members_of, open, tar_of,
};
use nixply_layout::LayoutError;
use nixply_oci::{Digest, ImageSource};
use nixply_testkit::images::{TestImage, TestLayer};
use proptest::prelude::*;
use std::io::Read;

fn layer() -> TestLayer {
    TestLayer::plain(&[b'l'; 1000])
}

fn archive() -> Vec<u8> {
    archive_of(&TestImage::new(vec![layer()]), &["app:1"])
}

fn blob_name(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The archive's tar with one member changed, or left out where `change` gives nothing.
fn changed(tar: &[u8], name: &str, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let members: Vec<_> = members_of(tar)
        .into_iter()
        .filter(|(member, _)| !member.ends_with('/'))
        .filter_map(|(member, content)| {
            let content = if member == name {
                change(&content)?
            } else {
                content
            };
            Some((member, content))
        })
        .collect();
    let members: Vec<_> = members
        .iter()
        .map(|(name, content)| Member::File(name, content))
        .collect();
    tar_of(&members)
}

fn open_error(tar: &[u8]) -> LayoutError {
    let (_guard, path) = file_of(tar);
    open(&path).unwrap_err()
}

fn layer_error(tar: &[u8]) -> LayoutError {
    let (_guard, path) = file_of(tar);
    let opened = open(&path).unwrap();
    match opened.read_layer(0) {
        Ok(mut reader) => reader
            .read_to_end(&mut Vec::new())
            .unwrap_err()
            .downcast()
            .unwrap(),
        Err(error) => error,
    }
}

#[test]
fn a_damaged_layer_names_both_digests() {
    let digest = Digest::from(layer().record().digest);
    let tar = changed(&archive(), &blob_name(digest), |_| Some(vec![b'x'; 1000]));
    let LayoutError::BlobDigest {
        expected, found, ..
    } = layer_error(&tar)
    else {
        panic!("wrong error")
    };
    assert_eq!((expected, found), (digest, Digest::of(&[b'x'; 1000])));
}

#[test]
fn a_shorter_layer_names_both_sizes() {
    let digest = Digest::from(layer().record().digest);
    let tar = changed(&archive(), &blob_name(digest), |_| Some(vec![b'l'; 999]));
    let LayoutError::BlobSize {
        blob,
        expected_bytes,
        found_bytes,
        ..
    } = layer_error(&tar)
    else {
        panic!("wrong error")
    };
    assert_eq!((blob, expected_bytes, found_bytes), (digest, 1000, 999));
}

#[test]
fn a_missing_layer_is_named() {
    let name = blob_name(layer().record().digest.into());
    let tar = changed(&archive(), &name, |_| None);
    assert!(matches!(
        layer_error(&tar),
        LayoutError::Missing { member, .. } if member == name
    ));
}

#[test]
fn a_damaged_manifest_or_config_is_not_opened() {
    let tar = archive();
    let (_guard, path) = file_of(&tar);
    let opened = open(&path).unwrap();
    let manifest = opened.image().manifest_descriptor.digest;
    let config = opened.image().manifest.config.digest;
    for digest in [manifest, config] {
        let tar = changed(&tar, &blob_name(digest), |content| {
            let mut content = content.to_vec();
            content[5] ^= 1;
            Some(content)
        });
        assert!(matches!(
            open_error(&tar),
            LayoutError::BlobDigest { expected, .. } if expected == digest
        ));
    }
    let docker = docker_archive_of(&TestImage::new(vec![layer()]), &[]);
    let tar = changed(&docker, &format!("{}.json", config.hex()), |_| {
        Some(b"{}".to_vec())
    });
    assert!(matches!(
        open_error(&tar),
        LayoutError::BlobDigest { expected, .. } if expected == config
    ));
}

#[test]
fn a_docker_layer_has_the_diff_id_of_the_config() {
    let docker = docker_archive_of(&TestImage::new(vec![layer()]), &[]);
    let name = format!("{}/layer.tar", layer().record().diff_id.hex());
    let tar = changed(&docker, &name, |_| Some(b"other".to_vec()));
    assert!(matches!(
        layer_error(&tar),
        LayoutError::BlobDigest { found, .. } if found == Digest::of(b"other")
    ));
}

#[test]
fn an_archive_that_ends_early_says_where() {
    let tar = archive();
    // Inside the content of the one layer: header blocks of `oci-layout`, two directories and the layer stand before it.
    let cut = &tar[..512 * 5 + 100];
    assert!(matches!(
        open_error(&[cut, &[b'l'; 100]].concat()),
        LayoutError::Truncated { member, expected_bytes: 1000, found_bytes: 200, .. }
            if member == blob_name(layer().record().digest.into())
    ));
}

#[test]
fn other_files_are_not_images() {
    for bytes in [
        b"".as_slice(),
        b"x",
        b"{\"schema\": \"nixply.plan/1\"}",
        &[0; 1024],
        &[b'x'; 4096],
        &tar_of(&[Member::File("a", b"b")]),
    ] {
        assert!(matches!(open_error(bytes), LayoutError::NotAnImage { .. }));
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        open(dir.path()).unwrap_err(),
        LayoutError::NotAnImage { .. }
    ));
    // skopeo's `dir:` has a file of this name that is something else.
    std::fs::write(dir.path().join("manifest.json"), b"{}").unwrap();
    assert!(matches!(
        open(dir.path()).unwrap_err(),
        LayoutError::NotAnImage { .. }
    ));
    assert!(matches!(
        open(&dir.path().join("nothing")).unwrap_err(),
        LayoutError::File { action: "read", .. }
    ));
}

#[test]
fn documents_that_are_something_else_are_named() {
    let tar = changed(&archive(), "index.json", |_| Some(b"[1]".to_vec()));
    assert!(matches!(
        open_error(&tar),
        LayoutError::Json { member, .. } if member == "index.json"
    ));
    let tar = changed(&archive(), "oci-layout", |_| {
        Some(br#"{"imageLayoutVersion":"2.0.0"}"#.to_vec())
    });
    assert!(matches!(
        open_error(&tar),
        LayoutError::LayoutVersion { found, .. } if found == "2.0.0"
    ));
}

#[test]
fn names_that_lead_out_of_the_archive_find_nothing() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), b"secret").unwrap();
    let absolute = secret.path().to_str().unwrap();
    let relative = format!("../..{absolute}");
    for layer_name in [absolute, &relative, "x/layer.tar", "loop/layer.tar"] {
        let config = br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:0000000000000000000000000000000000000000000000000000000000000000"]}}"#;
        let manifest = format!(r#"[{{"Config":"c","Layers":["{layer_name}"]}}]"#);
        let tar = tar_of(&[
            Member::File("c", config),
            Member::Symlink("x/layer.tar", &relative),
            Member::Symlink("loop/layer.tar", "layer.tar"),
            Member::File("../../outside", b"content"),
            Member::File("manifest.json", manifest.as_bytes()),
        ]);
        assert!(matches!(
            open_error(&tar),
            LayoutError::Missing { member, .. } if member == layer_name
        ));
    }
}

#[test]
fn a_config_without_a_diff_id_for_each_layer_is_refused() {
    let tar = tar_of(&[
        Member::File(
            "c",
            br#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#,
        ),
        Member::File("l", b""),
        Member::File("manifest.json", br#"[{"Config":"c","Layers":["l"]}]"#),
    ]);
    assert!(matches!(
        open_error(&tar),
        LayoutError::LayerCount {
            n_layers: 1,
            n_diff_ids: 0,
            ..
        }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// One wrong byte anywhere: an error, or the right layers (where it hit what nobody reads), never other layers.
    #[test]
    fn one_wrong_byte_never_gives_other_layers(
        position in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        is_docker in any::<bool>(),
    ) {
        let image = TestImage::new(vec![layer(), TestLayer::gzip(b"second")]);
        let mut tar = if is_docker {
            docker_archive_of(&image, &["a"])
        } else {
            archive_of(&image, &["a"])
        };
        let position = position.index(tar.len());
        tar[position] ^= 1 << bit;
        let (_guard, path) = file_of(&tar);
        if let Ok(opened) = open(&path) {
            let n_layers = opened.image().manifest.layers.len();
            let mut layers = Vec::new();
            for layer_idx in 0..n_layers {
                let mut bytes = Vec::new();
                let read = opened
                    .open_layer(layer_idx)
                    .is_ok_and(|mut reader| reader.read_to_end(&mut bytes).is_ok());
                if read {
                    layers.push(Digest::of(&bytes));
                }
            }
            let mut rightful = vec![Digest::of(layer().blob())];
            rightful.push(Digest::of(TestLayer::gzip(b"second").blob()));
            rightful.push(Digest::of(b"second"));
            prop_assert!(layers.iter().all(|layer| rightful.contains(layer)));
        }
    }

    /// Cut anywhere: an error, or (where only the end of the tar is missing) the right layers.
    #[test]
    fn a_cut_archive_never_gives_other_layers(position in any::<prop::sample::Index>()) {
        let tar = archive();
        let (_guard, path) = file_of(&tar[..position.index(tar.len())]);
        if let Ok(opened) = open(&path) {
            prop_assert_eq!(layers_of(&opened), [layer().blob().to_vec()]);
        }
    }
}
