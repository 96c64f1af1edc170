//! `compare_layer`: equal layers, and the right name for each way to differ.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{SyntheticStore, docker_tools, order, pool, root_files, root_spec, store_spec, tar};
use nixply_layer::{
    CompareError, Compression, Difference, DifferenceKind, LayerContents, LayerFormat, LayerSpec,
    compare_layer, write_layer,
};
use nixply_oci::MediaType;
use std::fs;
use std::io::Read;

const TREE: &str = "0a3k1cq3x0kz4hkq5fy0qvk1vy1n2q3d-tree-1.0";

fn compare(spec: &LayerSpec, store: &SyntheticStore, stored: &[u8]) -> Option<Difference> {
    compare_layer(
        spec,
        &store.root(),
        &mut &stored[..],
        &MediaType::OciLayerTar,
    )
    .unwrap()
}

fn tree_spec() -> LayerSpec {
    store_spec(&[TREE.to_owned()], LayerFormat::Nixply)
}

fn found(entry: &str, kind: DifferenceKind) -> Difference {
    Difference {
        entry: format!("nix/store/{TREE}{entry}"),
        kind,
    }
}

#[test]
fn equal_layers_are_equal_in_every_compression_and_format() {
    let store = SyntheticStore::new();
    let specs = [
        store_spec(&order(), LayerFormat::Nixply),
        store_spec(&order(), docker_tools()),
        root_spec(root_files()),
    ];
    for spec in specs {
        for compression in ["none", "gzip:1", "zstd:3"] {
            let compression: Compression = compression.parse().unwrap();
            let spec = LayerSpec {
                compression,
                ..spec.clone()
            };
            let mut stored = Vec::new();
            let record = write_layer(&spec, &store.root(), &pool(2), &mut stored).unwrap();
            let stored = &mut &stored[..];
            let difference = compare_layer(&spec, &store.root(), stored, &record.media_type);
            assert_eq!(difference.unwrap(), None);
            assert_eq!(stored.len(), 0, "the stored layer is read to its end");
        }
    }
}

#[test]
fn changed_files_are_named() {
    let store = SyntheticStore::new();
    let spec = tree_spec();
    let before = tar(&spec, &store.root()).unwrap();
    let change = |change: &dyn Fn(&SyntheticStore)| {
        let changed = SyntheticStore::new();
        change(&changed);
        // The stored layer is the old one; the store has changed.
        compare(&spec, &changed, &before).unwrap()
    };
    let path = |store: &SyntheticStore, name: &str| store.path(TREE).join(name);
    let contents = change(&|s| {
        let mut bytes = fs::read(path(s, "share/big")).unwrap();
        bytes[300_001] ^= 1;
        fs::write(path(s, "share/big"), bytes).unwrap();
    });
    assert_eq!(
        contents,
        found(
            "/share/big",
            DifferenceKind::Contents {
                offset_bytes: 300_001
            }
        )
    );
    let header = |field, expected: &str, found: &str| DifferenceKind::Header {
        field,
        expected: expected.to_owned(),
        found: found.to_owned(),
    };
    let longer = change(&|s| fs::write(path(s, "a/z"), "zz").unwrap());
    assert_eq!(longer, found("/a/z", header("size", "2", "1")));
    let retargeted = change(&|s| {
        fs::remove_file(path(s, "bin/run-link")).unwrap();
        std::os::unix::fs::symlink("ran", path(s, "bin/run-link")).unwrap();
    });
    assert_eq!(
        retargeted,
        found("/bin/run-link", header("linkpath", "ran", "run"))
    );
    let retyped = change(&|s| {
        fs::remove_file(path(s, "share/zero")).unwrap();
        fs::create_dir(path(s, "share/zero")).unwrap();
    });
    assert_eq!(retyped, found("/share/zero", header("type", "5", "0")));
    let executable = change(&|s| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path(s, "share/zero"), fs::Permissions::from_mode(0o755)).unwrap();
    });
    assert_eq!(
        executable,
        found("/share/zero", header("mode", "0555", "0444"))
    );
    let removed = change(&|s| fs::remove_file(path(s, "a-b")).unwrap());
    assert_eq!(removed, found("/a-b", DifferenceKind::Extra));
    let added = change(&|s| fs::write(path(s, "a-a"), "").unwrap());
    assert_eq!(added, found("/a-a", DifferenceKind::Missing));
    let last_removed = change(&|s| fs::remove_file(path(s, "share/zero")).unwrap());
    assert_eq!(last_removed, found("/share/zero", DifferenceKind::Extra));
    let last_added = change(&|s| fs::write(path(s, "zz"), "").unwrap());
    assert_eq!(last_added, found("/zz", DifferenceKind::Missing));
}

#[test]
fn store_paths_that_are_missing_or_too_many_are_named() {
    let store = SyntheticStore::new();
    for format in [LayerFormat::Nixply, docker_tools()] {
        let all = store_spec(&order(), format.clone());
        let stored = tar(&all, &store.root()).unwrap();
        let mut fewer = all.clone();
        let LayerContents::Store { paths, .. } = &mut fewer.contents else {
            panic!("store paths expected");
        };
        let dropped = paths.remove(2).path;
        let entry = format!("nix/store/{dropped}");
        let difference = |kind| {
            Some(Difference {
                entry: entry.clone(),
                kind,
            })
        };
        assert_eq!(
            compare(&fewer, &store, &stored),
            difference(DifferenceKind::Extra)
        );
        let stored = tar(&fewer, &store.root()).unwrap();
        assert_eq!(
            compare(&all, &store, &stored),
            difference(DifferenceKind::Missing)
        );
    }
}

#[test]
fn ends_are_compared_too() {
    let store = SyntheticStore::new();
    let spec = tree_spec();
    let made = tar(&spec, &store.root()).unwrap();
    let end = |kind| {
        Some(Difference {
            entry: String::new(),
            kind,
        })
    };
    let mut padded = made.clone();
    padded.extend_from_slice(&[0; 512]);
    assert_eq!(
        compare(&spec, &store, &padded),
        end(DifferenceKind::Padding)
    );
    let cut = &made[..made.len() - 1];
    assert_eq!(compare(&spec, &store, cut), end(DifferenceKind::Truncated));
    let mut dirty = made.clone();
    *dirty.last_mut().unwrap() = 1;
    assert_eq!(compare(&spec, &store, &dirty), end(DifferenceKind::Padding));
    assert_eq!(
        compare(&spec, &store, &[]),
        Some(Difference {
            entry: "nix".to_owned(),
            kind: DifferenceKind::Truncated
        })
    );
}

#[test]
fn unreadable_layers_are_errors() {
    let store = SyntheticStore::new();
    let run = |stored: &mut dyn Read, media_type: &MediaType| {
        compare_layer(&tree_spec(), &store.root(), stored, media_type).unwrap_err()
    };
    let error = run(&mut &b"no gzip"[..], &MediaType::OciLayerTarGzip);
    assert!(matches!(error, CompareError::Stored(_)), "{error}");
    let error = run(&mut &b"no zstd"[..], &MediaType::OciLayerTarZstd);
    assert!(matches!(error, CompareError::Stored(_)), "{error}");
    let error = run(&mut &b""[..], &MediaType::OciConfig);
    assert_eq!(
        error.to_string(),
        "layers of type `application/vnd.oci.image.config.v1+json` cannot be compared"
    );
    fs::remove_dir_all(store.path(TREE)).unwrap();
    let error = run(&mut &[][..], &MediaType::OciLayerTar);
    assert!(matches!(error, CompareError::Make(_)), "{error}");
}
