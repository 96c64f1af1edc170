//! Orders of a closure: circles, reachability, topological order. No recursion: a chain of references may be as long
//! as the closure.

use super::{Closure, PathIdx};
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Finds a circle in lists of references. It comes in the direction of references, from its least node, which is
/// repeated at the end.
pub(super) fn find_cycle(targets: &[Vec<u32>]) -> Option<Vec<u32>> {
    // Nodes that nobody refers to are peeled off until none is left; what remains lies in or behind a circle.
    let mut referrers_left = vec![0_u32; targets.len()];
    for &to in targets.iter().flatten() {
        referrers_left[to as usize] += 1;
    }
    let mut ready: Vec<usize> = (0..targets.len())
        .filter(|&n| referrers_left[n] == 0)
        .collect();
    while let Some(from) = ready.pop() {
        for &to in &targets[from] {
            referrers_left[to as usize] -= 1;
            if referrers_left[to as usize] == 0 {
                ready.push(to as usize);
            }
        }
    }
    let start = referrers_left.iter().position(|&left| left > 0)?;
    // Each remaining node has a remaining referrer. Walking from one to the next must come back to where it was.
    let mut referrer_of = vec![u32::MAX; targets.len()];
    for (from, targets) in (0_u32..).zip(targets) {
        if referrers_left[from as usize] > 0 {
            for &to in targets {
                referrer_of[to as usize] = referrer_of[to as usize].min(from);
            }
        }
    }
    let mut visited = vec![false; targets.len()];
    let mut walk = Vec::new();
    let mut node = u32::try_from(start).ok()?;
    while !visited[node as usize] {
        visited[node as usize] = true;
        walk.push(node);
        node = referrer_of[node as usize];
    }
    let mut cycle: Vec<u32> = walk.into_iter().skip_while(|&n| n != node).collect();
    cycle.reverse();
    let least = cycle.iter().enumerate().min_by_key(|&(_, n)| n)?.0;
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

    /// All paths, each behind the paths that it refers to.
    ///
    /// Where references leave a choice, the path with the lesser name comes first, and of equal names the one with the
    /// lesser hash part. The order thus depends neither on the order of the input, nor, for different names, on hashes
    /// that change with every rebuild.
    #[must_use]
    pub fn topological_order(&self) -> Vec<PathIdx> {
        let mut by_name: Vec<PathIdx> = self.indices().collect();
        by_name.sort_unstable_by_key(|&idx| {
            let path = &self.info(idx).path;
            (path.name(), path.hash_part())
        });
        let mut rank = vec![0_usize; self.paths.len()];
        for (n, idx) in by_name.iter().enumerate() {
            rank[idx.as_usize()] = n;
        }
        let mut references_left = vec![0_usize; self.paths.len()];
        // Read from petgraph's linked lists, referrers would be fetched from memory one after the other.
        let mut referrers: Vec<Vec<PathIdx>> = vec![Vec::new(); self.paths.len()];
        for idx in self.indices() {
            for to in self.references(idx) {
                references_left[idx.as_usize()] += 1;
                referrers[to.as_usize()].push(idx);
            }
        }
        let mut ready: BinaryHeap<Reverse<usize>> = self
            .indices()
            .filter(|idx| references_left[idx.as_usize()] == 0)
            .map(|idx| Reverse(rank[idx.as_usize()]))
            .collect();
        let mut order = Vec::with_capacity(self.paths.len());
        while let Some(Reverse(n)) = ready.pop() {
            let idx = by_name[n];
            order.push(idx);
            for &referrer in &referrers[idx.as_usize()] {
                let left = &mut references_left[referrer.as_usize()];
                *left -= 1;
                if *left == 0 {
                    ready.push(Reverse(rank[referrer.as_usize()]));
                }
            }
        }
        order
    }

    /// The neighbours of a path, in order: [`build::graph_of`](super::build::graph_of) sees to it.
    pub(super) fn neighbors(
        &self,
        idx: PathIdx,
        direction: Direction,
    ) -> impl Iterator<Item = PathIdx> + '_ {
        self.graph
            .neighbors_directed(NodeIndex::from(idx.0), direction)
            .map(|node| PathIdx(u32::try_from(node.index()).unwrap_or(u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_and_starts_at_its_least_node() {
        // 0 leads into the circle 1 -> 3 -> 2 -> 1, and 4 hangs behind it.
        let targets = [vec![3], vec![3], vec![1, 4], vec![2], vec![]];
        assert_eq!(find_cycle(&targets), Some(vec![1, 3, 2, 1]));
    }

    #[test]
    fn two_nodes_make_a_circle() {
        assert_eq!(find_cycle(&[vec![1], vec![0]]), Some(vec![0, 1, 0]));
    }

    #[test]
    fn a_diamond_is_no_circle() {
        assert_eq!(find_cycle(&[vec![1, 2], vec![3], vec![3], vec![]]), None);
        assert_eq!(find_cycle(&[]), None);
    }
}
