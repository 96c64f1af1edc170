//! The same layer, whatever the machine: modes, times, hard links, order of creation, threads.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{SyntheticStore, docker_tools, order, pool, root_files, root_spec, store_spec, tar};
use nixply_layer::{Compression, LayerContents, LayerFormat, LayerSpec, MadeLayer, write_layer};
use nixply_oci::{DiffId, Digest, Layer as _, LayerRecord};
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

fn both_tars(store: &SyntheticStore) -> [Vec<u8>; 2] {
    [LayerFormat::Nixply, docker_tools()]
        .map(|format| tar(&store_spec(&order(), format), &store.root()).unwrap())
}

/// Every regular file below a directory.
fn files_below(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let file_type = entry.file_type().unwrap();
        if file_type.is_dir() {
            files_below(&entry.path(), found);
        } else if file_type.is_file() {
            found.push(entry.path());
        }
    }
}

#[test]
fn modes_times_and_hard_links_do_not_show() {
    let plain = SyntheticStore::new();
    let changed = SyntheticStore::new();
    let mut files = Vec::new();
    files_below(changed.directory.path(), &mut files);
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for path in &files {
        let executable = fs::metadata(path).unwrap().permissions().mode() & 0o100;
        // Another umask, and bits that a NAR does not keep; only the owner's executable bit counts.
        let mode = 0o4622 | executable | (if executable == 0 { 0o011 } else { 0 });
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let times = FileTimes::new().set_modified(later).set_accessed(later);
        File::open(path).unwrap().set_times(times).unwrap();
    }
    // What `nix-store --optimise` does: one inode for equal contents.
    let (first, second) = (files[0].clone(), changed.path("optimised"));
    fs::hard_link(&first, &second).unwrap();
    assert_eq!(both_tars(&plain), both_tars(&changed));
}

#[test]
fn the_order_in_which_a_directory_lists_its_entries_does_not_show() {
    let name = "0a3k1cq3x0kz4hkq5fy0qvk1vy1n2q3d-x".to_owned();
    let make = |numbers: &mut dyn Iterator<Item = u32>| {
        let store = SyntheticStore::new();
        fs::create_dir(store.path(&name)).unwrap();
        for number in numbers {
            fs::write(
                store.path(&name).join(format!("f{number}")),
                number.to_string(),
            )
            .unwrap();
        }
        tar(
            &store_spec(std::slice::from_ref(&name), LayerFormat::Nixply),
            &store.root(),
        )
        .unwrap()
    };
    assert_eq!(make(&mut (0..200)), make(&mut (0..200).rev()));
}

#[test]
fn the_order_of_store_paths_shows_in_dockertools_format_only() {
    let store = SyntheticStore::new();
    let reversed: Vec<String> = order().into_iter().rev().collect();
    let tar_of = |names: &[String], format| tar(&store_spec(names, format), &store.root()).unwrap();
    assert_eq!(
        tar_of(&order(), LayerFormat::Nixply),
        tar_of(&reversed, LayerFormat::Nixply)
    );
    assert_ne!(
        tar_of(&order(), docker_tools()),
        tar_of(&reversed, docker_tools())
    );
}

#[test]
fn digests_do_not_depend_on_the_number_of_threads() {
    let store = SyntheticStore::new();
    // Big enough for several members of every compression.
    let big: Vec<u8> = (0..9_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
    let path = store.path(&order()[5]);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    fs::write(path, big).unwrap();
    for compression in ["none", "gzip:1", "zstd:3"] {
        let compression: Compression = compression.parse().unwrap();
        let spec = LayerSpec {
            compression,
            ..store_spec(&order(), LayerFormat::Nixply)
        };
        let records = [1, 2, 16].map(|threads| {
            let mut bytes = Vec::new();
            let record = write_layer(&spec, &store.root(), &pool(threads), &mut bytes).unwrap();
            assert_eq!(Digest::from(record.digest), Digest::of(&bytes));
            assert_eq!(record.size_bytes, bytes.len() as u64);
            assert_eq!(record.media_type, compression.media_type());
            record
        });
        assert_eq!(records[0], records[1]);
        assert_eq!(records[0], records[2]);
        let tar = tar(&spec, &store.root()).unwrap();
        assert_eq!(records[0].diff_id, DiffId::of(&tar));
    }
}

#[test]
fn a_made_layer_says_what_it_is_and_repeats_itself() {
    let store = SyntheticStore::new();
    let spec = store_spec(&order(), LayerFormat::Nixply);
    let layer = MadeLayer::new(spec.clone(), store.root(), pool(1));
    let write = |layer: &MadeLayer| -> (LayerRecord, Vec<u8>) {
        let mut bytes = Vec::new();
        (layer.write_blob(&mut bytes).unwrap(), bytes)
    };
    let (record, bytes) = write(&layer);
    assert_eq!(write(&layer), (record.clone(), bytes));
    assert_eq!(layer.key(), Some(spec.key()));
    assert_eq!(layer.known(), None);
    assert_eq!(layer.media_type(), spec.compression.media_type());
    // The NAR sizes of these specs are the lengths of the names.
    assert_eq!(
        layer.weight_bytes(),
        order().iter().map(|n| n.len() as u64).sum::<u64>()
    );
    assert_eq!(
        layer.title(),
        "1bzc5m2v9n8x7l6k5j4h3g2f1d0s9a8p-script.sh and 5 more"
    );
}

#[test]
fn titles_and_weights_of_root_files() {
    let spec = root_spec(root_files());
    assert_eq!(spec.title(), "a-b and 10 more");
    assert_eq!(root_spec(Vec::new()).title(), "nothing");
    let LayerContents::Root { files } = &spec.contents else {
        panic!("root files expected");
    };
    let sizes = files.iter().map(|file| match &file.kind {
        nixply_layer::RootFileKind::File(content) => content.size_bytes(),
        _ => 0,
    });
    assert_eq!(spec.weight_bytes(), sizes.sum::<u64>());
}
