//! A small image, as plan and as image that somebody else made.

use super::*;
use crate::contents::{HeldPath, SizeMeasure};
use nixply_oci::{Platform, RuntimeConfig};
use nixply_store::{Closure, NarHash, PathInfo, StoreDir};

/// `app` and `tool` are roots; `app` uses `python`, which uses `ssl` and `libc`; `ssl` uses `libc`; `tool` uses `libc`.
const CLOSURE: [(&str, &str, &[&str]); 6] = [
    ("0", "app-1", &["1"]),
    ("1", "python3-3.12.1", &["2", "3"]),
    ("2", "openssl-3.0", &["3"]),
    ("3", "glibc-2.39", &[]),
    ("4", "tool-2", &["3", "5"]),
    ("5", "openssl-1.1", &[]),
];

fn path(hash: &str) -> StorePath {
    let (_, name, _) = CLOSURE.iter().find(|(other, ..)| *other == hash).unwrap();
    StorePath::new(&format!("{}-{name}", hash.repeat(32))).unwrap()
}

fn closure() -> Closure {
    let records = CLOSURE.iter().map(|(hash, _, references)| {
        let info = PathInfo {
            path: path(hash),
            nar_hash: NarHash::from_bytes([0; 32]),
            nar_size_bytes: 1,
            ca: None,
            deriver: None,
            signatures: Vec::new(),
            registration_time_secs: None,
        };
        (info, references.iter().map(|hash| path(hash)).collect())
    });
    Closure::new(StoreDir::default(), records.collect()).unwrap()
}

/// An image of layers whose paths are named by their hash digits.
fn image(layers: &[&str]) -> ImageContents {
    let held = |hash: char| HeldPath {
        path: path(&hash.to_string()),
        nar_hash: None,
        nar_size_bytes: None,
    };
    ImageContents {
        measure: SizeMeasure::StoredSize,
        digest: None,
        platform: Platform::linux("amd64"),
        created: None,
        config: RuntimeConfig::default(),
        store_dir: StoreDir::default(),
        roots: Vec::new(),
        layers: layers
            .iter()
            .map(|hashes| LayerOutline {
                key: None,
                content_key: None,
                digest: None,
                diff_id: None,
                size_bytes: 1,
                holds: LayerHolds::StorePaths(hashes.chars().map(held).collect()),
            })
            .collect(),
    }
}

fn names(chain: &[&StorePath]) -> String {
    let names: Vec<&str> = chain.iter().map(|path| path.name()).collect();
    names.join(" > ")
}

#[test]
fn structure_tells_heads_roots_and_single_paths() {
    let closure = closure();
    let whys = |layers: &[&str]| -> Vec<(LayerWhy, Option<StorePath>)> {
        let contents = image(layers);
        let graph = ImageGraph::new(&closure, &contents);
        explain_layers(&contents, None, Some(&graph))
            .into_iter()
            .map(|layer| {
                assert!(!layer.recorded);
                (layer.why, layer.head)
            })
            .collect()
    };
    assert_eq!(
        whys(&["3", "12", "04", "5"]),
        [
            (LayerWhy::Alone, Some(path("3"))),
            (LayerWhy::Headed, Some(path("1"))),
            (LayerWhy::Roots, None),
            (LayerWhy::Alone, Some(path("5"))),
        ]
    );
    assert_eq!(
        whys(&["25", "0134"]),
        [(LayerWhy::Grouped, None), (LayerWhy::Roots, None)]
    );
    let contents = image(&["3", "12"]);
    let blind = explain_layers(&contents, None, None);
    assert_eq!(
        (blind[0].why, blind[1].why),
        (LayerWhy::Alone, LayerWhy::Grouped)
    );
}

#[test]
fn chains_are_the_shortest_one_for_each_direct_user() {
    let (closure, contents) = (closure(), image(&["012345"]));
    let graph = ImageGraph::new(&closure, &contents);
    assert_eq!(
        graph.roots().map(StorePath::name).collect::<Vec<_>>(),
        ["app-1", "tool-2"]
    );
    let chains = |hash: &str, most| -> Vec<String> {
        graph
            .chains(&path(hash), most)
            .iter()
            .map(|chain| names(chain))
            .collect()
    };
    assert_eq!(
        chains("3", 3),
        [
            "tool-2 > glibc-2.39",
            "app-1 > python3-3.12.1 > glibc-2.39",
            "app-1 > python3-3.12.1 > openssl-3.0 > glibc-2.39",
        ]
    );
    assert_eq!(chains("3", 1), ["tool-2 > glibc-2.39"]);
    assert_eq!(chains("0", 3), ["app-1"]);
    let users = graph.users(&path("3")).unwrap();
    assert_eq!(
        (users.direct, users.all, users.roots, users.references),
        (3, 4, 2, 0)
    );
}

#[test]
fn a_part_of_a_closure_has_its_own_roots() {
    let (closure, contents) = (closure(), image(&["23", "5"]));
    let graph = ImageGraph::new(&closure, &contents);
    assert_eq!(
        graph.roots().map(StorePath::name).collect::<Vec<_>>(),
        ["openssl-3.0", "openssl-1.1"]
    );
    assert_eq!(graph.users(&path("3")).unwrap().all, 1);
    assert_eq!(graph.users(&path("0")), None, "it is not in the image");
}

#[test]
fn recorded_roots_are_the_roots() {
    let closure = closure();
    let mut contents = image(&["12345"]);
    contents.roots = vec![path("1"), path("4")];
    let graph = ImageGraph::new(&closure, &contents);
    assert!(graph.is_root(&path("1")) && !graph.is_root(&path("0")));
}

#[test]
fn paths_are_found_by_all_their_names() {
    let contents = image(&["0123", "45"]);
    let zeros = "0".repeat(32);
    for (text, hash) in [
        (format!("/nix/store/{zeros}-app-1"), "0"),
        (format!("/nix/store/{zeros}-app-1/bin/app"), "0"),
        (format!("{zeros}-app-1"), "0"),
        ("0000000".to_owned(), "0"),
        ("00000".to_owned(), "0"),
        ("glibc-2".to_owned(), "3"),
        ("openssl-1.".to_owned(), "5"),
        ("glibc".to_owned(), "3"),
        ("glibc-2.39".to_owned(), "3"),
        ("openssl-1.1".to_owned(), "5"),
    ] {
        assert_eq!(
            find_path(&contents, &text),
            PathQuery::Found(path(hash)),
            "{text}"
        );
    }
    assert_eq!(
        find_path(&contents, "openssl"),
        PathQuery::Ambiguous(vec![path("5"), path("2")])
    );
}

#[test]
fn near_names_are_suggested() {
    let contents = image(&["0123", "45"]);
    for (text, near) in [
        ("glib", &["glibc"][..]),
        ("Python", &["python3"]),
        ("opnessl", &["openssl"]),
        (
            "/nix/store/zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz-glibc-2.40",
            &["glibc"],
        ),
        ("glibc-3", &["glibc"]),
        ("0000", &[]),
        ("firefox", &[]),
        ("", &[]),
    ] {
        let near: Vec<String> = near.iter().map(ToString::to_string).collect();
        assert_eq!(
            find_path(&contents, text),
            PathQuery::Unknown(near),
            "{text}"
        );
    }
}
