//! Small paths ride on a user.
//!
//! A dependency is always there when its user is, so a small path may stand in the layer of a user: that layer never
//! splits because of it, and only the small path is stored twice, in images without that user.

use crate::dag::Dag;
use crate::facts::Facts;

/// Larger paths do not ride (`docs/packing.md`, "Riding").
const RIDER_LIMIT_BYTES: u64 = 1 << 20;

/// A host is at most so many times as large as its rider: riders change their host's layer, and a larger one would be
/// stored again too often.
const HOST_RATIO: u64 = 8;

/// For each path that rides, the path that it rides on: its least direct user among `among` that is not too large.
pub(crate) fn hosts(dag: &Dag, facts: &Facts, among: &[bool]) -> Vec<Option<u32>> {
    let host = |path: u32| {
        let size = facts.sizes[path as usize];
        if !among[path as usize] || size >= RIDER_LIMIT_BYTES {
            return None;
        }
        let users = dag.users.of(path).iter().copied();
        users
            .filter(|&user| among[user as usize] && facts.sizes[user as usize] <= HOST_RATIO * size)
            .min_by_key(|&user| (facts.below[user as usize], facts.ranks[user as usize]))
    };
    dag.nodes().map(host).collect()
}
