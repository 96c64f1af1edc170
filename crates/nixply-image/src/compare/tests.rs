//! Small images, built by hand.

use super::*;
use crate::contents::{LayerOutline, SizeMeasure};
use nixply_oci::{Digest, LayerKey, Platform, RuntimeConfig};
use nixply_store::{NarHash, PathInfo, StoreDir};

const MIB: u64 = 1 << 20;

/// A store path whose hash part follows from `hash`.
fn path(hash: &str, name: &str) -> StorePath {
    let hash: String = hash.bytes().cycle().take(32).map(char::from).collect();
    StorePath::new(&format!("{hash}-{name}")).unwrap()
}

fn layer(paths: &[(&str, &str, u64)]) -> LayerOutline {
    let held: Vec<HeldPath> = paths
        .iter()
        .map(|(hash, name, mib)| HeldPath {
            path: path(hash, name),
            nar_hash: Some(NarHash::from_bytes([hash.as_bytes()[0]; 32])),
            nar_size_bytes: Some(mib * MIB),
        })
        .collect();
    let key = LayerKey::of(format!("{paths:?}").as_bytes());
    LayerOutline {
        key: Some(key),
        content_key: Some(key),
        digest: None,
        diff_id: None,
        size_bytes: paths.iter().map(|(_, _, mib)| mib * MIB).sum(),
        holds: LayerHolds::StorePaths(held),
    }
}

fn image(layers: Vec<LayerOutline>) -> ImageContents {
    ImageContents {
        measure: SizeMeasure::NarSize,
        digest: None,
        platform: Platform::linux("amd64"),
        created: None,
        config: RuntimeConfig::default(),
        store_dir: StoreDir::default(),
        roots: Vec::new(),
        layers,
    }
}

/// A closure of `(hash, name)` and the hashes of the references.
fn closure(paths: &[(&str, &str, &[&str])]) -> Closure {
    let by_hash = |hash: &str| {
        let (_, name, _) = paths.iter().find(|(other, ..)| *other == hash).unwrap();
        path(hash, name)
    };
    let records = paths
        .iter()
        .map(|(hash, name, references)| {
            let info = PathInfo {
                path: path(hash, name),
                nar_hash: NarHash::from_bytes([0; 32]),
                nar_size_bytes: 1,
                ca: None,
                deriver: None,
                signatures: Vec::new(),
                registration_time_secs: None,
            };
            (info, references.iter().map(|hash| by_hash(hash)).collect())
        })
        .collect();
    Closure::new(StoreDir::default(), records).unwrap()
}

/// `name kind: touched layers, alone MiB <- what is behind it`.
fn shown(comparison: &Comparison) -> Vec<String> {
    let name = |idx: &usize| comparison.changes[*idx].name.as_str();
    comparison
        .changes
        .iter()
        .map(|change| {
            let because: Vec<&str> = change.because_of.iter().map(name).collect();
            format!(
                "{} {:?}: {}, {} <- {}",
                change.name,
                change.kind,
                change.touched_layers,
                change.alone_bytes / MIB,
                because.join(" ")
            )
        })
        .collect()
}

/// glibc has a new version, openssl and bash are built against it, python has a new version, too.
fn weekly() -> (ImageContents, ImageContents, Closure) {
    let old = image(vec![
        layer(&[("0", "glibc-2.39", 30)]),
        layer(&[("1", "tzdata-2024a", 2)]),
        layer(&[("2", "openssl-3.0.1", 5)]),
        layer(&[("3", "bash-5.2", 1), ("4", "old-hook", 0)]),
        layer(&[("5", "python3-3.12.1", 90)]),
    ]);
    let new = image(vec![
        layer(&[("6", "glibc-2.40", 31)]),
        layer(&[("1", "tzdata-2024a", 2)]),
        layer(&[("7", "openssl-3.0.1", 5)]),
        layer(&[("8", "bash-5.2", 1)]),
        layer(&[("9", "python3-3.12.2", 91)]),
        layer(&[("a", "app-1", 4)]),
    ]);
    let closure = closure(&[
        ("6", "glibc-2.40", &[]),
        ("1", "tzdata-2024a", &[]),
        ("7", "openssl-3.0.1", &["6"]),
        ("8", "bash-5.2", &["6"]),
        ("9", "python3-3.12.2", &["6", "7", "1"]),
        ("a", "app-1", &["9"]),
    ]);
    (old, new, closure)
}

#[test]
fn rebuilt_paths_are_told_from_their_causes() {
    let (old, new, closure) = weekly();
    let comparison = compare(&old, &new, Some(&closure));
    assert_eq!(
        shown(&comparison),
        [
            "glibc Version: 5, 36 <- ",
            "python3 Version: 2, 0 <- ",
            "app Added: 1, 0 <- ",
            "old-hook Removed: 1, 0 <- ",
            "openssl RebuiltByReference: 0, 0 <- glibc",
            "bash RebuiltByReference: 0, 0 <- glibc",
        ]
    );
    assert_eq!(comparison.changes[0].old_version.as_deref(), Some("2.39"));
    assert_eq!(comparison.changes[0].new_version.as_deref(), Some("2.40"));
    assert_eq!(comparison.changes[0].touched_bytes, 132 * MIB);
    assert_eq!(comparison.kept_paths, 1);
}

#[test]
fn without_references_what_was_built_again_stands_for_itself() {
    let (old, new, _) = weekly();
    let comparison = compare(&old, &new, None);
    assert!(!comparison.references_known);
    assert_eq!(
        shown(&comparison),
        [
            "python3 Version: 1, 91 <- ",
            "glibc Version: 1, 31 <- ",
            "openssl Rebuilt: 1, 5 <- ",
            "app Added: 1, 4 <- ",
            "bash Rebuilt: 1, 0 <- ",
            "old-hook Removed: 1, 0 <- ",
        ]
    );
}

#[test]
fn layers_find_their_counterparts_and_are_counted() {
    let (old, new, closure) = weekly();
    let comparison = compare(&old, &new, Some(&closure));
    let fates: Vec<(LayerFate, Option<usize>)> = comparison
        .layers
        .iter()
        .map(|layer| (layer.fate, layer.old_idx))
        .collect();
    assert_eq!(
        fates,
        [
            (LayerFate::Changed, Some(0)),
            (LayerFate::Kept, Some(1)),
            (LayerFate::Changed, Some(2)),
            (LayerFate::Changed, Some(3)),
            (LayerFate::Changed, Some(4)),
            (LayerFate::New, None),
        ]
    );
    assert!(comparison.gone.is_empty());
    assert_eq!(
        (comparison.push.layers, comparison.push.size_bytes),
        (5, 132 * MIB)
    );
    assert_eq!(comparison.pull, comparison.push);
    assert_eq!(
        (comparison.chain_start, comparison.chain_pull.size_bytes),
        (0, 134 * MIB)
    );
    let back = compare(&new, &old, None);
    assert_eq!(back.gone, [5]);
}

#[test]
fn an_image_does_not_differ_from_itself() {
    let (old, ..) = weekly();
    let comparison = compare(&old, &old, None);
    assert!(!comparison.differ());
    assert_eq!(comparison.changes, []);
    assert_eq!(
        (comparison.push.size_bytes, comparison.chain_pull.layers),
        (0, 0)
    );
}

#[test]
fn the_same_layers_in_another_order_move_for_chains_only() {
    let (old, ..) = weekly();
    let mut new = old.clone();
    new.layers.swap(1, 2);
    let comparison = compare(&old, &new, None);
    assert!(comparison.differ());
    assert_eq!(comparison.push.layers, 0);
    assert_eq!(
        (comparison.chain_start, comparison.chain_pull.layers),
        (1, 4)
    );
}

#[test]
fn paths_that_only_moved_are_carried_and_nobodys_fault() {
    let old = image(vec![
        layer(&[("0", "a-1", 1)]),
        layer(&[("1", "b-1", 2), ("2", "c-1", 4)]),
    ]);
    let new = image(vec![
        layer(&[("0", "a-1", 1), ("1", "b-1", 2)]),
        layer(&[("2", "c-1", 4)]),
    ]);
    let comparison = compare(&old, &new, None);
    assert_eq!(comparison.changes, []);
    assert_eq!(comparison.carried_paths, 3);
    assert_eq!(comparison.carried_nar_bytes, Some(7 * MIB));
    assert!(
        comparison
            .layers
            .iter()
            .all(|layer| layer.causes.is_empty())
    );
    assert_eq!(
        comparison.layers[1].old_idx,
        Some(1),
        "c weighs more than b"
    );
}

#[test]
fn another_nar_hash_under_the_same_path_is_found() {
    let old = image(vec![layer(&[("0", "a-1", 1)])]);
    let mut new = old.clone();
    new.layers[0].key = Some(LayerKey::of(b"other"));
    new.layers[0].content_key = new.layers[0].key;
    if let LayerHolds::StorePaths(paths) = &mut new.layers[0].holds {
        paths[0].nar_hash = Some(NarHash::from_bytes([9; 32]));
    }
    let comparison = compare(&old, &new, None);
    assert_eq!(shown(&comparison), ["a Remade: 1, 1 <- "]);
    assert_eq!(comparison.layers[0].fate, LayerFate::Remade);
}

#[test]
fn another_compression_is_pushed_and_not_pulled() {
    let old = image(vec![layer(&[("0", "a-1", 1)])]);
    let mut new = old.clone();
    new.layers[0].key = Some(LayerKey::of(b"the same with zstd"));
    let comparison = compare(&old, &new, None);
    assert_eq!(comparison.layers[0].fate, LayerFate::Recompressed);
    assert_eq!((comparison.push.layers, comparison.pull.layers), (1, 0));
    assert_eq!(comparison.chain_pull.layers, 0);
}

#[test]
fn an_image_without_keys_is_compared_by_store_paths() {
    let new = image(vec![layer(&[("0", "a-1", 1)]), layer(&[("1", "b-1", 1)])]);
    let mut old = new.clone();
    for (n, layer) in (0_u8..).zip(&mut old.layers) {
        layer.key = None;
        layer.content_key = None;
        layer.digest = Some(Digest::of(&[n]));
        layer.size_bytes = 7;
    }
    old.measure = SizeMeasure::StoredSize;
    let comparison = compare(&old, &new, None);
    assert_eq!(comparison.identity, Identity::StorePaths);
    assert_eq!(comparison.push.layers, 0);
    // The layer keys of one image and the digests of the other say nothing, but two digests do.
    let mut newer = old.clone();
    newer.layers[1].digest = Some(Digest::of(b"other"));
    let comparison = compare(&old, &newer, None);
    assert_eq!(comparison.identity, Identity::Digest);
    assert_eq!(comparison.layers[1].fate, LayerFate::Remade);
    assert_eq!(comparison.push.size_bytes, 7);
}

#[test]
fn a_layer_that_an_image_holds_twice_moves_once() {
    let old = image(vec![]);
    let new = image(vec![layer(&[("0", "a-1", 1)]), layer(&[("0", "a-1", 1)])]);
    let comparison = compare(&old, &new, None);
    assert_eq!(
        (comparison.push.layers, comparison.push.size_bytes),
        (1, MIB)
    );
}

#[test]
fn more_causes_than_a_pass_takes_are_all_found() {
    let names: Vec<String> = (0..150).map(|n| format!("p{n}x")).collect();
    let digit = |n: usize| b"0123456789abcdfghijklmnpqrsvwxyz"[n] as char;
    let hash = |side: char, n: usize| format!("{side}{}{}", digit(n / 32), digit(n % 32));
    let side = |mark: char, version: u32| -> Vec<LayerOutline> {
        names
            .iter()
            .enumerate()
            .map(|(n, name)| layer(&[(&hash(mark, n), &format!("{name}-{version}"), 1)]))
            .collect()
    };
    let (old, mut new) = (image(side('0', 1)), image(side('1', 2)));
    new.layers.push(layer(&[("zz", "top", 1)]));
    let mut records: Vec<(String, String)> = (0..names.len())
        .map(|n| (hash('1', n), format!("{}-2", names[n])))
        .collect();
    records.push(("zz".to_owned(), "top".to_owned()));
    let all: Vec<String> = (0..names.len()).map(|n| hash('1', n)).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let records: Vec<(&str, &str, &[&str])> = records
        .iter()
        .map(|(hash, name)| {
            let references: &[&str] = if name == "top" { &all } else { &[] };
            (hash.as_str(), name.as_str(), references)
        })
        .collect();
    let comparison = compare(&old, &new, Some(&closure(&records)));
    // `top` is added, and every other package is behind it, too.
    assert_eq!(comparison.layers[150].causes.len(), 151);
    assert!(
        comparison
            .changes
            .iter()
            .filter(|change| change.name != "top")
            .all(|change| change.touched_layers == 2)
    );
}

#[test]
fn config_fields_that_differ_are_named() {
    let old = image(vec![]);
    let mut new = old.clone();
    new.config.user = Some("app".to_owned());
    let comparison = compare(&old, &new, None);
    assert_eq!(
        comparison.config,
        [ConfigChange {
            field: "User".to_owned(),
            old: Value::Null,
            new: Value::from("app"),
        }]
    );
    assert!(comparison.differ());
}
