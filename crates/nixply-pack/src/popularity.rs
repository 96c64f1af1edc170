//! The `popularity` packer: nixpkgs' popularity contest.
//!
//! Follows nixpkgs' `references-by-popularity/closure-graph.py` (the default of dockerTools from 2018 to November 2024,
//! still its `popularity_contest` step). The script unfolds the reference graph into a tree, merges counters from the
//! leaves up and adds one on every level. What it computes has a closed form that needs no tree:
//!
//! * `walks(p)` is the number of ways from a root (a path that nothing refers to) down to `p`; 1 for a root.
//! * `popularity(p)` is the sum of `walks` over `p` and everything that refers to `p`, directly or not.
//!
//! Higher popularity comes first; ties go by name, hash last. Counts are exponential in the depth of the graph: they
//! are exact here, of whatever width they need, as Python's are.

use crate::dag::Dag;
use crate::reach::Reach;
use crate::wide_sums::sums_over_sources;
use num_bigint::BigUint;

/// Every path, most popular first. `rank` decides ties: a path's place by name, hash last.
pub(crate) fn order(dag: &Dag, rank: impl Fn(u32) -> u32) -> Vec<u32> {
    let mut reach = Reach::new(&dag.references, &dag.users);
    let popularity = sums_over_sources(&mut reach, &walks_from_roots(dag));
    let mut order: Vec<u32> = dag.nodes().collect();
    order.sort_unstable_by(|&a, &b| popularity.compare(b, a).then_with(|| rank(a).cmp(&rank(b))));
    order
}

/// The number of ways from any root down to each path.
fn walks_from_roots(dag: &Dag) -> Vec<BigUint> {
    let mut walks = vec![BigUint::ZERO; dag.len()];
    for &path in &dag.users_first {
        let users = dag.users.of(path);
        walks[path as usize] = match users {
            [] => BigUint::from(1_u32),
            _ => users.iter().map(|&user| &walks[user as usize]).sum(),
        };
    }
    walks
}
