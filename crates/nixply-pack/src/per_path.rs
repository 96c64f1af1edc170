//! The `per-path` packer: one layer per path, the bound of every packer that does not split paths.

use crate::dag::Dag;
use crate::names::name_ranks;
use nixply_store::Closure;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Every path above all that it refers to; of those that could come next, the least by name and then hash.
pub(crate) fn order(closure: &Closure, dag: &Dag) -> Vec<u32> {
    let ranks = name_ranks(closure);
    let mut waits_for: Vec<usize> = dag.nodes().map(|n| dag.references.of(n).len()).collect();
    let mut ready: BinaryHeap<Reverse<(u32, u32)>> = dag
        .nodes()
        .filter(|&node| waits_for[node as usize] == 0)
        .map(|node| Reverse((ranks[node as usize], node)))
        .collect();
    let mut order = Vec::with_capacity(dag.len());
    while let Some(Reverse((_, node))) = ready.pop() {
        order.push(node);
        for &user in dag.users.of(node) {
            waits_for[user as usize] -= 1;
            if waits_for[user as usize] == 0 {
                ready.push(Reverse((ranks[user as usize], user)));
            }
        }
    }
    order
}
