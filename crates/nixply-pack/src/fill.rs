//! Groups of paths into a bounded number of layers.

use crate::LayerReason;
use crate::facts::{Facts, H64};
use nixply_store::{Closure, PathIdx};
use std::cmp::Reverse;

/// Groups below this size share one layer (`docs/packing.md`, "Filling").
const SMALL_GROUP_BYTES: u64 = 64 << 10;

/// Paths that stay together.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// The path that the others ride on, or the first of equals.
    pub(crate) head: u32,
    pub(crate) members: Vec<u32>,
    pub(crate) bytes: u64,
    /// The least rank of a member.
    pub(crate) key: u32,
}

impl Group {
    pub(crate) fn new(head: u32, members: Vec<u32>, facts: &Facts) -> Self {
        // No overflow: a closure whose sizes exceed 64 bits together is refused when it is read.
        let bytes = members.iter().map(|&path| facts.sizes[path as usize]).sum();
        let key = members.iter().map(|&path| facts.ranks[path as usize]).min();
        Self {
            head,
            bytes,
            key: key.unwrap_or(u32::MAX),
            members,
        }
    }
}

/// A layer before its place is known.
#[derive(Debug, Clone)]
pub(crate) struct Filled {
    pub(crate) group: Group,
    pub(crate) reason: LayerReason,
}

/// How groups that have no layer of their own are put together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leftovers<'a> {
    /// Layers for groups that are not small; at least 1.
    pub(crate) rest_layers: usize,
    /// Whether small groups have a layer for themselves.
    pub(crate) small_layer: bool,
    /// Paths whose groups have a layer for themselves, ascending.
    pub(crate) asked_for: &'a [u32],
}

/// The largest groups in a layer each, the others together. `available` is at least 1 where there is a group.
pub(crate) fn fill(
    closure: &Closure,
    facts: &Facts,
    mut groups: Vec<Group>,
    available: usize,
    leftovers: Leftovers<'_>,
) -> Vec<Filled> {
    let alone = |group: Group| Filled {
        reason: LayerReason::Group {
            head: PathIdx(group.head),
        },
        group,
    };
    if groups.len() <= available {
        return groups.into_iter().map(alone).collect();
    }
    groups.sort_unstable_by_key(|group| (Reverse(group.bytes), group.key));
    let rest_layers = leftovers.rest_layers.min(available);
    let small_layer = leftovers.small_layer && rest_layers + 1 < available;
    let mut alone_count = available - rest_layers - usize::from(small_layer);
    let is_asked_for = |group: &Group| {
        let mut members = group.members.iter();
        members.any(|path| leftovers.asked_for.binary_search(path).is_ok())
    };
    let asked_layer = alone_count > 1 && groups[alone_count - 1..].iter().any(is_asked_for);
    alone_count -= usize::from(asked_layer);
    let left = groups.split_off(alone_count);

    let mut rest = vec![Vec::new(); rest_layers];
    let mut small = Vec::new();
    let mut asked = Vec::new();
    for group in left {
        if asked_layer && is_asked_for(&group) {
            asked.extend(group.members);
        } else if small_layer && group.bytes < SMALL_GROUP_BYTES {
            small.extend(group.members);
        } else {
            rest[bucket(closure, facts, &group, rest_layers)].extend(group.members);
        }
    }
    let together = |reason| {
        move |members: Vec<u32>| {
            let head = members[0];
            Filled {
                group: Group::new(head, members, facts),
                reason,
            }
        }
    };
    let rest = rest.into_iter().filter(|members| !members.is_empty());
    let small = Some(small).filter(|members| !members.is_empty());
    let asked = Some(asked).filter(|members| !members.is_empty());
    (groups.into_iter().map(alone))
        .chain(rest.map(together(LayerReason::Rest)))
        .chain(small.into_iter().map(together(LayerReason::Small)))
        .chain(asked.into_iter().map(together(LayerReason::AskedFor)))
        .collect()
}

/// The layer of the rest that a group goes to: rendezvous hashing (Thaler, Ravishankar 1998) by the name of the package
/// that holds the group together, so that another group, another version or another number of layers moves few.
fn bucket(closure: &Closure, facts: &Facts, group: &Group, buckets: usize) -> usize {
    let top = group.members.iter().max_by_key(|&&path| {
        let path = path as usize;
        (facts.heights[path], Reverse(facts.ranks[path]))
    });
    let package = top.map_or("", |&path| {
        closure.paths()[path as usize].path.package_and_version().0
    });
    (0..buckets)
        .max_by_key(|&bucket| {
            let hash = H64::new("bucket").text(package).number(bucket as u64);
            (hash.finish(), Reverse(bucket))
        })
        .unwrap_or(0)
}
