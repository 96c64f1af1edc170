//! The packings of the tools that the packers are equal to, recorded from runs of the real ones
//! (`fixtures/packing/SOURCES.md`).

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{Budget, PackOptions, Packer, pack};
use nixply_store::Closure;
use nixply_testkit::closures::{TestPath, check_packing, closure};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What the real tools made of one closure. Paths are numbered in byte order of their base names.
#[derive(Deserialize)]
struct Outcome {
    /// All paths, most popular first.
    popularity: Vec<u32>,
    /// The same for nix2container.
    nix2container: Vec<u32>,
    /// Layers by layer limit.
    auto_layer: BTreeMap<String, Vec<Vec<u32>>>,
}

/// An image, or some together: the part of a recorded closure that its roots reach.
#[derive(Deserialize)]
struct ImageCase {
    name: String,
    closure: String,
    roots: Vec<usize>,
    #[serde(flatten)]
    outcome: Outcome,
}

/// A small graph, written out.
#[derive(Deserialize)]
struct GraphCase {
    name: String,
    paths: Vec<String>,
    sizes: Vec<u64>,
    references: Vec<Vec<usize>>,
    #[serde(flatten)]
    outcome: Outcome,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/packing")
        .join(name)
}

fn lines<T: for<'a> Deserialize<'a>>(name: &str) -> Vec<T> {
    let text = fs::read_to_string(fixture(name)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Reads a recorded closure: base name, NAR size and the line numbers of the references on each line.
fn recorded_paths(name: &str) -> Vec<TestPath> {
    let text = fs::read_to_string(fixture("closures").join(format!("{name}.txt"))).unwrap();
    let path = |line: &str| {
        let mut fields = line.split(' ');
        TestPath {
            base_name: fields.next().unwrap().to_owned(),
            nar_size_bytes: fields.next().unwrap().parse().unwrap(),
            references: fields.map(|field| field.parse().unwrap()).collect(),
        }
    };
    text.lines().map(path).collect()
}

/// What the roots reach, in the order of the whole.
fn reached(paths: &[TestPath], roots: &[usize]) -> Vec<TestPath> {
    let mut met = BTreeSet::new();
    let mut todo = roots.to_vec();
    while let Some(path) = todo.pop() {
        if met.insert(path) {
            todo.extend(&paths[path].references);
        }
    }
    let place: BTreeMap<usize, usize> = met.iter().zip(0..).map(|(&from, to)| (from, to)).collect();
    let moved = |&from: &usize| TestPath {
        references: paths[from].references.iter().map(|r| place[r]).collect(),
        ..paths[from].clone()
    };
    met.iter().map(moved).collect()
}

fn layers(closure: &Closure, packer: Packer, available: usize) -> Vec<Vec<u32>> {
    let budget = Budget {
        max_layers: available + 1,
        reserved_layers: 1,
    };
    let packing = pack(closure, &PackOptions::new(packer, budget)).unwrap();
    check_packing(closure, &packing, budget);
    let numbers =
        |layer: nixply_pack::PackedLayer| layer.paths.into_iter().map(|path| path.0).collect();
    packing.layers.into_iter().map(numbers).collect()
}

fn check(name: &str, closure: &Closure, outcome: &Outcome) {
    for (packer, order) in [
        (Packer::Popularity, &outcome.popularity),
        (Packer::Nix2container, &outcome.nix2container),
    ] {
        // One layer holds the whole order; with a layer for each the order is that of the layers.
        assert_eq!(
            layers(closure, packer, 1),
            std::slice::from_ref(order),
            "{packer} of {name}"
        );
        let alone: Vec<Vec<u32>> = order.iter().map(|&path| vec![path]).collect();
        assert_eq!(
            layers(closure, packer, order.len()),
            alone,
            "{packer} of {name}"
        );
    }
    for (available, expected) in &outcome.auto_layer {
        let limit = available.parse().unwrap();
        assert_eq!(
            &layers(closure, Packer::AutoLayer, limit),
            expected,
            "auto-layer of {name} in {available} layers"
        );
    }
}

#[test]
fn real_closures_are_packed_as_the_real_tools_do() {
    let cases: Vec<ImageCase> = lines("images.jsonl");
    assert!(cases.len() >= 200, "only {} recorded images", cases.len());
    let mut recorded = BTreeMap::new();
    for case in &cases {
        let paths = recorded
            .entry(&case.closure)
            .or_insert_with(|| recorded_paths(&case.closure));
        let image = closure(&reached(paths, &case.roots));
        check(
            &format!("{} of {}", case.name, case.closure),
            &image,
            &case.outcome,
        );
    }
}

#[test]
fn small_graphs_are_packed_as_the_real_tools_do() {
    let cases: Vec<GraphCase> = lines("graphs.jsonl");
    assert!(cases.len() >= 300, "only {} recorded graphs", cases.len());
    for case in cases {
        let fields = case.paths.into_iter().zip(case.sizes).zip(case.references);
        let paths: Vec<TestPath> = fields
            .map(|((base_name, nar_size_bytes), references)| TestPath {
                base_name,
                nar_size_bytes,
                references,
            })
            .collect();
        check(&case.name, &closure(&paths), &case.outcome);
    }
}
