//! Layer keys against the vectors that `fixtures/layers/keys.py` made, and what must not or must change a key.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{
    content, docker_tools, fixture, order, program_with_capabilities, root_files, root_spec,
    store_spec, with_permissions,
};
use nixply_layer::{
    Compression, DockerToolsHeader, FileContent, FinishedTar, LayerContents, LayerFormat,
    LayerSpec, RootFileKind, TarPlacement,
};
use nixply_oci::{DiffId, LayerKey};
use nixply_store::{NarHash, StoreDir};
use std::path::PathBuf;

/// The specs of the vectors, by name.
fn spec_of(name: &str) -> LayerSpec {
    let other_header = LayerFormat::DockerTools(DockerToolsHeader {
        mtime_secs: 1_719_341_705,
        uid: 1000,
        gid: 100,
        uname: "joe".to_owned(),
        gname: "users".to_owned(),
    });
    match name {
        "store" => store_spec(&order(), LayerFormat::Nixply),
        "one store path" => store_spec(&order()[..1], LayerFormat::Nixply),
        "no store path" => store_spec(&[], LayerFormat::Nixply),
        "other store directory" => LayerSpec {
            contents: LayerContents::Store {
                store_dir: StoreDir::new("/srv/data/nix/store").unwrap(),
                paths: order().iter().map(|name| content(name)).collect(),
            },
            ..store_spec(&[], LayerFormat::Nixply)
        },
        "dockerTools" => store_spec(&order(), docker_tools()),
        "dockerTools, other header" => store_spec(&order(), other_header),
        "root files" => root_spec(root_files()),
        "finished tar" => LayerSpec {
            contents: LayerContents::Tar(FinishedTar {
                path: "/anywhere".into(),
                diff_id: DiffId::of(b"tar"),
                size_bytes: 3,
                placement: TarPlacement::default(),
            }),
            ..root_spec(Vec::new())
        },
        "root file with capabilities" => root_spec(vec![program_with_capabilities()]),
        "store path with permissions" => with_permissions(
            store_spec(&order()[..1], LayerFormat::Nixply),
            &[("bin/sudo", 0o4755, 0, 10), ("", 0o755, 0, 0)],
        ),
        other => panic!("no spec for the vector {other}"),
    }
}

#[test]
fn keys_equal_the_vectors() {
    let vectors = fixture("keys.json");
    let vectors = vectors.as_array().unwrap();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let name = vector["name"].as_str().unwrap();
        let key = vector["key"].as_str().unwrap();
        assert_eq!(spec_of(name).key().to_string(), key, "{name}");
        // The text beside the key is what was hashed.
        assert_eq!(
            LayerKey::of(vector["text"].as_str().unwrap().as_bytes()).to_string(),
            key
        );
    }
}

#[test]
fn the_order_of_a_spec_counts_only_where_it_reaches_the_bytes() {
    let reversed: Vec<String> = order().into_iter().rev().collect();
    let key = |names: &[String], format| store_spec(names, format).key();
    assert_eq!(
        key(&order(), LayerFormat::Nixply),
        key(&reversed, LayerFormat::Nixply)
    );
    assert_ne!(
        key(&order(), docker_tools()),
        key(&reversed, docker_tools())
    );
    let mut files = root_files();
    files.reverse();
    assert_eq!(root_spec(files).key(), root_spec(root_files()).key());
}

#[test]
fn size_does_not_count_but_content_and_compression_do() {
    let plain = store_spec(&order(), LayerFormat::Nixply);
    let changed = |change: &dyn Fn(&mut LayerSpec)| {
        let mut spec = plain.clone();
        change(&mut spec);
        spec.key()
    };
    let with_first_path =
        |spec: &mut LayerSpec, change: &dyn Fn(&mut nixply_layer::StorePathContent)| {
            if let LayerContents::Store { paths, .. } = &mut spec.contents {
                change(&mut paths[0]);
            }
        };
    let resized = changed(&|spec| with_first_path(spec, &|path| path.nar_size_bytes = 7));
    assert_eq!(resized, plain.key());
    let rebuilt = changed(&|spec| {
        with_first_path(spec, &|path| path.nar_hash = NarHash::from_bytes([7; 32]));
    });
    assert_ne!(rebuilt, plain.key());
    let keys = ["none", "gzip:1", "gzip:6", "zstd:3"]
        .map(|text| changed(&|spec| spec.compression = text.parse::<Compression>().unwrap()));
    assert_eq!(keys[0], plain.key());
    let distinct: std::collections::BTreeSet<_> = keys.into_iter().collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn the_place_that_content_comes_from_does_not_count() {
    let inline = root_spec(root_files());
    let mut from_disk = inline.clone();
    if let LayerContents::Root { files } = &mut from_disk.contents {
        for file in files {
            if let RootFileKind::File(content) = &mut file.kind
                && let FileContent::Inline(bytes) = content
            {
                *content = FileContent::Source {
                    path: PathBuf::from("/not/read"),
                    sha256: *DiffId::of(bytes).as_bytes(),
                    size_bytes: bytes.len() as u64,
                };
            }
        }
    }
    assert_ne!(from_disk, inline);
    assert_eq!(from_disk.key(), inline.key());
}
