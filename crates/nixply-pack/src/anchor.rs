//! The layers of an earlier image that can stay as they are.

use crate::facts::Facts;
use crate::fill::Group;
use crate::volatile::Volatile;
use nixply_store::{Closure, StorePath};
use std::cmp::Reverse;

/// The prior layers whose paths are all still in the closure and none of which is volatile, as groups, in their order.
pub(crate) fn intact(
    closure: &Closure,
    facts: &Facts,
    volatile: &Volatile,
    prior: &[Vec<StorePath>],
) -> Vec<Group> {
    let mut taken = vec![false; closure.paths().len()];
    let mut intact = Vec::new();
    for layer in prior {
        let members: Option<Vec<u32>> = layer
            .iter()
            .map(|path| closure.find(path).map(|idx| idx.0))
            .collect();
        let Some(mut members) = members else { continue };
        members.sort_unstable();
        members.dedup();
        let free = |&path: &u32| !taken[path as usize] && !volatile.has(path);
        if members.is_empty() || !members.iter().all(free) {
            continue;
        }
        for &path in &members {
            taken[path as usize] = true;
        }
        intact.push(Group::new(members[0], members, facts));
    }
    intact
}

/// Gives up the smallest intact layers until at most `most` are left.
pub(crate) fn release(mut intact: Vec<Group>, most: usize) -> Vec<Group> {
    let mut released: Vec<(u64, Reverse<u32>)> = (intact.iter())
        .map(|group| (group.bytes, Reverse(group.key)))
        .collect();
    released.sort_unstable();
    released.truncate(intact.len().saturating_sub(most));
    // No two groups have the same key, so this is an order of the groups.
    if let Some(last) = released.last() {
        intact.retain(|group| (group.bytes, Reverse(group.key)) > *last);
    }
    intact
}
