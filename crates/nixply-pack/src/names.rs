//! Orders by name in which the hash part comes last, so that ties do not move when hashes do.
//!
//! nixpkgs has two of them, and they differ: one compares a name that is the beginning of another as if a `-` and the
//! store directory followed it, the other compares the names alone. Both split the whole path at its first `-`, which
//! is the one behind the hash part unless the store directory has one.

use nixply_store::Closure;
use std::cmp::Ordering;

/// A path's place in an order; index with the position of the path.
pub(crate) type Ranks = Vec<u32>;

/// By the text with its first part moved to the end: `/nix/store/HASH-foo-1.0` counts as `foo-1.0-/nix/store/HASH`
/// (nixpkgs, `references-by-popularity/closure-graph.py`, `package_name`).
pub(crate) fn moved_hash_ranks(closure: &Closure) -> Ranks {
    ranks(closure, |(hash_a, name_a), (hash_b, name_b)| {
        let moved_a = name_a.bytes().chain([b'-']).chain(hash_a.bytes());
        let moved_b = name_b.bytes().chain([b'-']).chain(hash_b.bytes());
        moved_a.cmp(moved_b)
    })
}

/// By name, then hash (nixpkgs, `docker/auto-layer.py`, `path_key`).
pub(crate) fn name_ranks(closure: &Closure) -> Ranks {
    ranks(closure, |(hash_a, name_a), (hash_b, name_b)| {
        (name_a, hash_a).cmp(&(name_b, hash_b))
    })
}

/// Ranks by a comparison of two paths, each split at its first `-`.
fn ranks(closure: &Closure, compare: impl Fn((&str, &str), (&str, &str)) -> Ordering) -> Ranks {
    let store_dir = closure.store_dir();
    let texts: Vec<String> = closure
        .paths()
        .iter()
        .map(|info| store_dir.display(&info.path))
        .collect();
    let split = |path: u32| {
        let text = &texts[path as usize];
        text.split_once('-').unwrap_or((text, ""))
    };
    let mut order: Vec<u32> = closure.indices().map(|path| path.0).collect();
    order.sort_unstable_by(|&a, &b| compare(split(a), split(b)));
    let mut ranks = vec![0; order.len()];
    for (rank, path) in (0..).zip(order) {
        ranks[path as usize] = rank;
    }
    ranks
}
