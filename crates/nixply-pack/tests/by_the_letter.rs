//! Second implementations of nixpkgs' two packers, slow and literal, step by step after their descriptions: sets of
//! texts, whole copies, no shortcut. The real packers must agree with them on anything proptest draws.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{Budget, PackOptions, Packer, pack};
use nixply_store::Closure;
use nixply_testkit::closures::{any_paths, closure, random_closure};
use num_bigint::BigUint;
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

type Edges = BTreeMap<String, BTreeSet<String>>;

/// A closure as texts.
struct Graph {
    references: Edges,
    users: Edges,
    nar_size_bytes: BTreeMap<String, u64>,
}

fn graph(closure: &Closure) -> Graph {
    let text = |path| closure.store_dir().display(&closure.info(path).path);
    let mut users: Edges = closure
        .indices()
        .map(|path| (text(path), BTreeSet::new()))
        .collect();
    let mut references = users.clone();
    let mut nar_size_bytes = BTreeMap::new();
    for path in closure.indices() {
        nar_size_bytes.insert(text(path), closure.info(path).nar_size_bytes);
        for to in closure.references(path) {
            references.get_mut(&text(path)).unwrap().insert(text(to));
            users.get_mut(&text(to)).unwrap().insert(text(path));
        }
    }
    Graph {
        references,
        users,
        nar_size_bytes,
    }
}

/// Everything that can be reached, the starts included.
fn reach<'a>(starts: impl IntoIterator<Item = &'a String>, edges: &Edges) -> BTreeSet<String> {
    let mut done = BTreeSet::new();
    let mut todo: Vec<String> = starts.into_iter().cloned().collect();
    while let Some(path) = todo.pop() {
        todo.extend(edges[&path].difference(&done).cloned());
        done.insert(path);
    }
    done
}

fn without(mut set: BTreeSet<String>, path: &String) -> BTreeSet<String> {
    set.remove(path);
    set
}

fn name_then_hash(path: &str) -> (String, String) {
    let (hash, name) = path.split_once('-').unwrap();
    (name.to_owned(), hash.to_owned())
}

fn auto_layer(graph: &Graph, limit: usize) -> Vec<Vec<String>> {
    let mut by_size: Vec<&String> = graph.nar_size_bytes.keys().collect();
    by_size.sort_by_key(|path| graph.nar_size_bytes[*path]);
    let mut split: BTreeMap<String, BTreeSet<String>> = by_size
        .iter()
        .map(|path| ((*path).clone(), BTreeSet::new()))
        .collect();
    while let Some(primary) = by_size.pop() {
        let mut new_split = split.clone();
        new_split.insert(primary.clone(), BTreeSet::from([primary.clone()]));
        let dependencies = without(reach([primary], &graph.references), primary);
        let users = without(reach([primary], &graph.users), primary);
        for dependency in &dependencies {
            let label = new_split.get_mut(dependency).unwrap();
            *label = &*label - &users;
            if (&*label & &dependencies).is_empty() {
                label.insert(primary.clone());
            }
        }
        if new_split.values().collect::<BTreeSet<_>>().len() > limit {
            break;
        }
        split = new_split;
    }
    let labels: BTreeSet<_> = split.values().collect();
    let mut layers: Vec<(u128, Vec<String>)> = labels
        .into_iter()
        .map(|label| {
            let members = split.iter().filter(|(_, of_path)| *of_path == label);
            let mut paths: Vec<String> = members.map(|(path, _)| path.clone()).collect();
            paths.sort_by_key(|path| name_then_hash(path));
            let closure = reach(&paths, &graph.references);
            let size = closure
                .iter()
                .map(|path| u128::from(graph.nar_size_bytes[path]));
            (size.sum(), paths)
        })
        .collect();
    layers.sort_by_key(|(closure_size, paths)| (*closure_size, name_then_hash(&paths[0])));
    layers.into_iter().map(|(_, paths)| paths).collect()
}

/// Counters per path; of a subtree, each what the path adds to a counter above it.
type Contest = BTreeMap<String, BigUint>;

/// The contest among what hangs below a node, merged from its children's contests as the script does.
fn contest<'a>(
    children: impl IntoIterator<Item = &'a String>,
    graph: &Graph,
    done: &mut BTreeMap<String, Contest>,
) -> Contest {
    let mut counters = Contest::new();
    for child in children {
        *counters.entry(child.clone()).or_default() += 1_u32;
        if !done.contains_key(child) {
            let below = contest(&graph.references[child], graph, done);
            done.insert(child.clone(), below);
        }
        for (path, count) in &done[child] {
            *counters.entry(path.clone()).or_default() += count + 1_u32;
        }
    }
    counters
}

fn popularity(graph: &Graph) -> Vec<String> {
    let roots: Vec<&String> = graph
        .users
        .iter()
        .filter(|(_, users)| users.is_empty())
        .map(|(path, _)| path)
        .collect();
    let counters = contest(roots, graph, &mut BTreeMap::new());
    let mut order: Vec<(String, BigUint)> = counters.into_iter().collect();
    order.sort_by_key(|(path, count)| {
        let (hash, name) = path.split_once('-').unwrap();
        (Reverse(count.clone()), format!("{name}-{hash}"))
    });
    order.into_iter().map(|(path, _)| path).collect()
}

fn packed(closure: &Closure, packer: Packer, max_layers: usize) -> Vec<Vec<String>> {
    let budget = Budget {
        max_layers,
        reserved_layers: 0,
    };
    let packing = pack(closure, &PackOptions::new(packer, budget)).unwrap();
    let text = |path: &_| closure.store_dir().display(&closure.info(*path).path);
    let layers = packing.layers.iter();
    layers
        .map(|layer| layer.paths.iter().map(text).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn auto_layer_agrees(paths in any_paths(), max_layers in 1..32_usize) {
        let closure = closure(&paths);
        prop_assert_eq!(
            packed(&closure, Packer::AutoLayer, max_layers),
            auto_layer(&graph(&closure), max_layers)
        );
    }

    #[test]
    fn popularity_agrees(paths in any_paths()) {
        let closure = closure(&paths);
        prop_assert_eq!(packed(&closure, Packer::Popularity, 1), [popularity(&graph(&closure))]);
    }
}

/// Wider than one block of ancestors, with counts of several 64-bit digits.
#[test]
fn popularity_agrees_on_a_larger_closure() {
    for (n_paths, n_references) in [(257, 500), (700, 14_000)] {
        let closure = random_closure(1, n_paths, n_references);
        assert_eq!(
            packed(&closure, Packer::Popularity, 1),
            [popularity(&graph(&closure))]
        );
    }
}

#[test]
fn auto_layer_agrees_on_a_larger_closure() {
    let closure = random_closure(2, 400, 2_000);
    let graph = graph(&closure);
    for max_layers in [1, 10, 100, 399] {
        assert_eq!(
            packed(&closure, Packer::AutoLayer, max_layers),
            auto_layer(&graph, max_layers)
        );
    }
}
