//! Layers of nix2container, made again: the same diff IDs as the real program recorded (`fixtures/nix2container`).
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{SyntheticStore, fixture, pool};
use nixply_layer::{
    Compression, LayerContents, LayerFormat, LayerSpec, Nix2containerOptions, Nix2containerPath,
    Nix2containerPerm, Nix2containerTar, WriteLayerError, compare_layer, read_entries,
    read_nix2container_entries, write_layer,
};
use nixply_oci::{DiffId, MediaType};

fn spec(paths: Vec<Nix2containerPath>, diff_id: DiffId, size_bytes: u64) -> LayerSpec {
    LayerSpec {
        contents: LayerContents::Nix2container(Nix2containerTar {
            paths,
            diff_id,
            size_bytes,
        }),
        format: LayerFormat::Nixply,
        compression: Compression::None,
    }
}

fn recorded(image: &str) -> Vec<LayerSpec> {
    let image = fixture(&format!("../nix2container/{image}.json"));
    let layers = image["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            spec(
                serde_json::from_value(layer["paths"].clone()).unwrap(),
                layer["diff_ids"].as_str().unwrap().parse().unwrap(),
                layer["size"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_bytes_are_those_of_the_real_program() {
    let store = SyntheticStore::new();
    let mut layers = 0;
    for image in ["plain", "layers", "root", "moved"] {
        for spec in recorded(image) {
            let LayerContents::Nix2container(layer) = &spec.contents else {
                panic!("{image}");
            };
            let mut tar = Vec::new();
            let record = write_layer(&spec, &store.root(), &pool(1), &mut tar)
                .unwrap_or_else(|error| panic!("{image}: {error}"));
            assert_eq!(record.diff_id, layer.diff_id, "{image}");
            assert_eq!(record.size_bytes, layer.size_bytes, "{image}");
            let tar = &mut &tar[..];
            let difference = compare_layer(&spec, &store.root(), tar, &MediaType::OciLayerTar);
            assert_eq!(difference.unwrap(), None);
            layers += 1;
        }
    }
    assert_eq!(layers, 6);
}

#[test]
fn the_entries_are_told_without_making_the_tar() {
    let store = SyntheticStore::new();
    for image in ["plain", "layers", "root", "moved"] {
        for spec in recorded(image) {
            let LayerContents::Nix2container(layer) = &spec.contents else {
                panic!("{image}");
            };
            let mut tar = Vec::new();
            write_layer(&spec, &store.root(), &pool(1), &mut tar).unwrap();
            let mut written = Vec::new();
            let wants_all = |_: &[u8]| true;
            let tar = &mut &tar[..];
            read_entries(tar, &MediaType::OciLayerTar, wants_all, &mut |entry| {
                if !entry.name.is_empty() {
                    written.push(entry);
                }
            })
            .unwrap();
            let mut told = Vec::new();
            let visit = &mut |entry| told.push(entry);
            read_nix2container_entries(&layer.paths, &store.root(), wants_all, visit).unwrap();
            assert_eq!(told, written, "{image}");
            assert!(told.len() >= 3, "{image}: {told:?}");
        }
    }
}

#[test]
fn a_layer_that_comes_out_otherwise_is_refused_and_so_are_wrong_rules() {
    let store = SyntheticStore::new();
    let write =
        |spec: &LayerSpec| write_layer(spec, &store.root(), &pool(1), &mut Vec::new()).unwrap_err();
    let mut changed = recorded("plain").remove(0);
    let LayerContents::Nix2container(layer) = &mut changed.contents else {
        panic!();
    };
    layer.paths.pop();
    let error = write(&changed);
    assert!(
        matches!(&error, WriteLayerError::OtherDiffId { path, .. } if path.starts_with("/nix/store/")),
        "{error}"
    );

    let tree = "/nix/store/0a3k1cq3x0kz4hkq5fy0qvk1vy1n2q3d-tree-1.0";
    let with = |change: &dyn Fn(&mut Nix2containerOptions)| {
        let mut options = Nix2containerOptions::default();
        change(&mut options);
        let path = Nix2containerPath {
            path: tree.to_owned(),
            options: Some(options),
        };
        write(&spec(vec![path], DiffId::of(b""), 0)).to_string()
    };
    let perm = |regex: &str, mode: &str| Nix2containerPerm {
        regex: regex.to_owned(),
        mode: mode.to_owned(),
        ..Nix2containerPerm::default()
    };
    let regex = with(&|options| options.perms.push(perm("(", "0644")));
    assert!(regex.contains("`(` is no regular expression"), "{regex}");
    let mode = with(&|options| options.perms.push(perm("", "rwx")));
    assert!(
        mode.ends_with("mode `rwx` is not 1 to 4 octal digits"),
        "{mode}"
    );
    let collision = with(&|options| {
        options.rewrite.regex = ".*/share/.*".to_owned();
        options.rewrite.repl = "/one".to_owned();
    });
    assert!(
        collision.starts_with("`/one` is different things: "),
        "{collision}"
    );
    for (name, problem) in [
        ("/d".repeat(300_000), "is longer than 4096 bytes"),
        ("/a\0b".to_owned(), "holds a NUL byte"),
    ] {
        let named = with(&|options| {
            options.rewrite.regex = "^/nix/store/[^/]*".to_owned();
            options.rewrite.repl.clone_from(&name);
        });
        assert_eq!(
            named,
            format!("store path `{tree}`: a name that its rewrite makes {problem}")
        );
    }
    // As deep as a name can be, it is a layer like any other.
    let deep = with(&|options| {
        options.rewrite.regex = "^/nix/store/[^/]*".to_owned();
        options.rewrite.repl = "/d".repeat(2000);
    });
    assert!(deep.starts_with("the layer made of `"), "{deep}");
}
