//! Orders of a closure: circles, reachability, topological order. No recursion: a chain of references may be as long
//! as the closure.

use super::edges::Edges;
use super::{Closure, PathIdx};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Finds a circle of references. It comes in their direction, from its least position, which is repeated at the end.
pub(super) fn find_cycle(references: &Edges) -> Option<Vec<PathIdx>> {
    // Paths that nobody refers to are peeled off until none is left; what remains lies in or behind a circle.
    let mut referrers_left = references.in_degrees();
    let all = || (0..).map(PathIdx).take(references.len());
    let mut ready: Vec<PathIdx> = all()
        .filter(|idx| referrers_left[idx.as_usize()] == 0)
        .collect();
    let mut peeled = 0;
    while let Some(from) = ready.pop() {
        peeled += 1;
        for &to in references.of(from) {
            let left = &mut referrers_left[to.as_usize()];
            *left -= 1;
            if *left == 0 {
                ready.push(to);
            }
        }
    }
    if peeled == references.len() {
        return None;
    }
    let start = all().find(|idx| referrers_left[idx.as_usize()] > 0)?;
    // Each remaining path has a remaining referrer. Walking from one to the next must come back to where it was.
    let mut referrer_of = vec![PathIdx(u32::MAX); references.len()];
    for from in all().filter(|idx| referrers_left[idx.as_usize()] > 0) {
        for &to in references.of(from) {
            referrer_of[to.as_usize()] = referrer_of[to.as_usize()].min(from);
        }
    }
    let mut visited = vec![false; references.len()];
    let mut walk = Vec::new();
    let mut idx = start;
    while !visited[idx.as_usize()] {
        visited[idx.as_usize()] = true;
        walk.push(idx);
        idx = referrer_of[idx.as_usize()];
    }
    let mut cycle: Vec<PathIdx> = walk.into_iter().skip_while(|&other| other != idx).collect();
    cycle.reverse();
    let least = cycle.iter().enumerate().min_by_key(|&(_, idx)| idx)?.0;
    cycle.rotate_left(least);
    cycle.push(cycle[0]);
    Some(cycle)
}

impl Closure {
    /// The paths that no other path refers to, in order.
    #[must_use]
    pub fn roots(&self) -> Vec<PathIdx> {
        self.indices()
            .filter(|&idx| self.referrers(idx).next().is_none())
            .collect()
    }

    /// The given paths and all that they refer to, directly or not, in order.
    #[must_use]
    pub fn reachable_from(&self, roots: &[PathIdx]) -> Vec<PathIdx> {
        let mut reached = vec![false; self.paths.len()];
        let mut open: Vec<PathIdx> = roots.to_vec();
        while let Some(idx) = open.pop() {
            if !std::mem::replace(&mut reached[idx.as_usize()], true) {
                open.extend(self.references(idx).filter(|to| !reached[to.as_usize()]));
            }
        }
        self.indices()
            .filter(|idx| reached[idx.as_usize()])
            .collect()
    }

    /// All paths by name, and of equal names by hash part.
    #[must_use]
    pub fn by_name(&self) -> Vec<PathIdx> {
        // Names lie all over memory. Their first bytes, side by side, decide nearly every comparison.
        let mut paths: Vec<([u8; 16], PathIdx)> = self
            .indices()
            .map(|idx| {
                let name = self.info(idx).path.name().as_bytes();
                // No name has a byte 0, so the end of a name sorts before any character.
                let mut first = [0; 16];
                let len = name.len().min(first.len());
                first[..len].copy_from_slice(&name[..len]);
                (first, idx)
            })
            .collect();
        paths.sort_unstable_by(|(first_a, a), (first_b, b)| {
            let whole = |idx: PathIdx| {
                let path = &self.info(idx).path;
                (path.name(), path.hash_part())
            };
            first_a.cmp(first_b).then_with(|| whole(*a).cmp(&whole(*b)))
        });
        paths.into_iter().map(|(_, idx)| idx).collect()
    }

    /// All paths, each behind the paths that it refers to.
    ///
    /// Where references leave a choice, the path with the lesser name comes first, and of equal names the one with the
    /// lesser hash part. The order thus depends neither on the order of the input, nor, for different names, on hashes
    /// that change with every rebuild.
    #[must_use]
    pub fn topological_order(&self) -> Vec<PathIdx> {
        let by_name = self.by_name();
        let mut rank = vec![0_u32; self.paths.len()];
        for (n, idx) in (0..).zip(&by_name) {
            rank[idx.as_usize()] = n;
        }
        let mut references_left: Vec<usize> = self.references.lists().map(<[_]>::len).collect();
        let mut ready: BinaryHeap<Reverse<u32>> = self
            .indices()
            .filter(|idx| references_left[idx.as_usize()] == 0)
            .map(|idx| Reverse(rank[idx.as_usize()]))
            .collect();
        let mut order = Vec::with_capacity(self.paths.len());
        while let Some(Reverse(n)) = ready.pop() {
            let idx = by_name[n as usize];
            order.push(idx);
            for referrer in self.referrers(idx) {
                let left = &mut references_left[referrer.as_usize()];
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(rank[referrer.as_usize()]));
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycle_of(lists: &[&[u32]]) -> Option<Vec<u32>> {
        let mut references = Edges::with_capacity(lists.len(), 0);
        for (own, list) in (0..).map(PathIdx).zip(lists) {
            references.push(own, list.iter().copied().map(PathIdx));
        }
        let cycle = find_cycle(&references)?;
        Some(cycle.into_iter().map(|idx| idx.0).collect())
    }

    #[test]
    fn a_circle_is_found_and_starts_at_its_least_node() {
        // 0 leads into the circle 1 -> 3 -> 2 -> 1, and 4 hangs behind it.
        let lists: [&[u32]; 5] = [&[3], &[3], &[1, 4], &[2], &[]];
        assert_eq!(cycle_of(&lists), Some(vec![1, 3, 2, 1]));
    }

    #[test]
    fn two_nodes_make_a_circle() {
        assert_eq!(cycle_of(&[&[1], &[0]]), Some(vec![0, 1, 0]));
    }

    #[test]
    fn a_diamond_is_no_circle() {
        assert_eq!(cycle_of(&[&[1, 2], &[3], &[3], &[]]), None);
        assert_eq!(cycle_of(&[]), None);
    }
}
