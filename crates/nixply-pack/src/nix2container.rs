//! The `nix2container` packer: nix2container's variant of the popularity contest.
//!
//! Follows nix2container's `closure/popularity.go` and `closure/layered.go`. A path's score is the number of paths in
//! the reference graph that end in it, from any path, itself included; nixpkgs counts otherwise (see
//! [`popularity`](crate::popularity)), so the two orders differ in most closures. Higher scores come first. Ties go by
//! node number, higher first; nodes are numbered as they are first met in a list that is sorted by path, each path
//! followed by its sorted references. So ties follow hashes here, as they do there.

use crate::dag::Dag;
use std::cmp::Reverse;

/// Every path, highest score first.
pub(crate) fn order(dag: &Dag) -> Vec<u32> {
    // The score is a signed 64-bit number there and wraps around in graphs with more paths than that. Equality is what
    // this packer is for, so it wraps here too; `popularity` is the one whose counts are exact.
    let mut scores = vec![1_i64; dag.len()];
    for &path in &dag.users_first {
        for &reference in dag.references.of(path) {
            scores[reference as usize] =
                scores[reference as usize].wrapping_add(scores[path as usize]);
        }
    }
    let numbers = first_met_numbers(dag);
    let mut order: Vec<u32> = dag.nodes().collect();
    order.sort_unstable_by_key(|&path| Reverse((scores[path as usize], numbers[path as usize])));
    order
}

/// Numbers nodes in the order in which a reader of the sorted closure first meets them.
fn first_met_numbers(dag: &Dag) -> Vec<u32> {
    let mut numbers = vec![None; dag.len()];
    let mut next = 0..;
    for path in dag.nodes() {
        for &met in std::iter::once(&path).chain(dag.references.of(path)) {
            let number = &mut numbers[met as usize];
            if number.is_none() {
                *number = next.next();
            }
        }
    }
    numbers.into_iter().flatten().collect()
}
