//! Layers that are tars which exist already: streamed as they are, compressed, and checked.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{SyntheticStore, pool};
use nixply_layer::{
    Compression, DifferenceKind, FinishedTar, LayerContents, LayerFormat, LayerSpec, TarPlacement,
    WriteLayerError, compare_layer, read_diff_id, write_layer,
};
use nixply_oci::{DiffId, MediaType};
use std::fs;
use std::io::Write as _;

const NAME: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x-layer/layer.tar";

/// A tar of this many bytes in a store, and the layer that it is.
fn store_with(tar: &[u8], compression: Compression) -> (SyntheticStore, LayerSpec) {
    let store = SyntheticStore::new();
    let relative = NAME.strip_prefix("/nix/store/").unwrap();
    fs::create_dir(store.path(relative).parent().unwrap()).unwrap();
    fs::write(store.path(relative), tar).unwrap();
    let contents = LayerContents::Tar(FinishedTar {
        path: NAME.into(),
        diff_id: DiffId::of(tar),
        size_bytes: tar.len() as u64,
        placement: TarPlacement::default(),
    });
    let spec = LayerSpec {
        contents,
        format: LayerFormat::Nixply,
        compression,
    };
    (store, spec)
}

fn tar_of(size_bytes: usize) -> Vec<u8> {
    (0..size_bytes)
        .map(|n| u8::try_from(n % 251).unwrap())
        .collect()
}

#[test]
fn the_bytes_come_out_as_they_are_in_every_compression() {
    for size_bytes in [0, 512, 256 << 10, 3 << 20, (3 << 20) + 512] {
        let tar = tar_of(size_bytes);
        for compression in ["none", "gzip:1", "zstd:3"] {
            let (store, spec) = store_with(&tar, compression.parse().unwrap());
            let mut stored = Vec::new();
            let record = write_layer(&spec, &store.root(), &pool(2), &mut stored).unwrap();
            assert_eq!(
                record.diff_id,
                DiffId::of(&tar),
                "{compression} {size_bytes}"
            );
            assert_eq!(record.size_bytes, stored.len() as u64);
            let found = read_diff_id(&mut &stored[..], &record.media_type).unwrap();
            assert_eq!(found, DiffId::of(&tar));
            let stored = &mut &stored[..];
            let difference = compare_layer(&spec, &store.root(), stored, &record.media_type);
            assert_eq!(difference.unwrap(), None);
        }
    }
}

#[test]
fn a_compressed_file_gives_its_tar() {
    let tar = tar_of((1 << 20) + 512);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let zstd = zstd::encode_all(tar.as_slice(), 1).unwrap();
    for compressed in [gzip.finish().unwrap(), zstd] {
        let (store, mut spec) = store_with(&compressed, Compression::default());
        let LayerContents::Tar(finished) = &mut spec.contents else {
            panic!();
        };
        finished.diff_id = DiffId::of(&tar);
        let mut stored = Vec::new();
        let record = write_layer(&spec, &store.root(), &pool(1), &mut stored).unwrap();
        assert_eq!(record.diff_id, DiffId::of(&tar));
        let difference = compare_layer(&spec, &store.root(), &mut &stored[..], &record.media_type);
        assert_eq!(difference.unwrap(), None);
    }
}

#[test]
fn another_tar_in_its_place_is_named() {
    let tar = tar_of(1 << 20);
    let (store, spec) = store_with(&tar, Compression::default());
    let place = store.path(NAME.strip_prefix("/nix/store/").unwrap());
    let write = || write_layer(&spec, &store.root(), &pool(1), &mut Vec::new()).unwrap_err();

    let mut other = tar.clone();
    other[1000] ^= 1;
    fs::write(&place, &other).unwrap();
    let error = write();
    assert!(
        matches!(&error, WriteLayerError::TarContent { found, .. } if *found == DiffId::of(&other).to_string()),
        "{error}"
    );

    fs::write(&place, &tar[..512]).unwrap();
    let error = write().to_string();
    assert!(
        error.ends_with("expected 1048576 bytes, found 512 bytes"),
        "{error}"
    );

    fs::remove_file(&place).unwrap();
    assert!(matches!(write(), WriteLayerError::MissingTar { path } if path == place));
}

#[test]
fn a_stored_layer_that_is_another_tar_differs_from_a_byte_on() {
    let tar = tar_of(600 << 10);
    let (store, spec) = store_with(&tar, Compression::None);
    let mut other = tar.clone();
    other[500_000] ^= 1;
    let compare = |stored: &[u8]| {
        compare_layer(
            &spec,
            &store.root(),
            &mut &stored[..],
            &MediaType::OciLayerTar,
        )
        .unwrap()
        .unwrap()
    };
    let difference = compare(&other);
    assert_eq!(difference.entry, "x-layer/layer.tar");
    assert_eq!(
        difference.kind,
        DifferenceKind::Contents {
            offset_bytes: 500_000
        }
    );
    assert_eq!(compare(&tar[..1000]).kind, DifferenceKind::Truncated);
    let longer = [&tar[..], &[0; 512]].concat();
    assert_eq!(compare(&longer).kind, DifferenceKind::Padding);
}
