//! Who refers to whom, as flat lists.

use super::PathIdx;

/// A list of positions for each position, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edges {
    /// Where each list starts, and the end of the last.
    starts: Vec<usize>,
    targets: Vec<PathIdx>,
}

impl Edges {
    /// For `n_lists` lists that are pushed one by one.
    pub(super) fn with_capacity(n_lists: usize, n_edges: usize) -> Self {
        let mut starts = Vec::with_capacity(n_lists + 1);
        starts.push(0);
        Self {
            starts,
            targets: Vec::with_capacity(n_edges),
        }
    }

    /// Adds the list of the next position: ascending, each target once, without `own`.
    pub(super) fn push(&mut self, own: PathIdx, targets: impl IntoIterator<Item = PathIdx>) {
        let start = self.targets.len();
        self.targets
            .extend(targets.into_iter().filter(|&to| to != own));
        self.targets[start..].sort_unstable();
        let mut kept = start;
        for n in start..self.targets.len() {
            if kept == start || self.targets[n] != self.targets[kept - 1] {
                self.targets[kept] = self.targets[n];
                kept += 1;
            }
        }
        self.targets.truncate(kept);
        self.starts.push(self.targets.len());
    }

    pub(super) fn of(&self, idx: PathIdx) -> &[PathIdx] {
        let n = idx.as_usize();
        &self.targets[self.starts[n]..self.starts[n + 1]]
    }

    /// All lists, in order.
    pub(super) fn lists(&self) -> impl Iterator<Item = &[PathIdx]> {
        self.starts
            .windows(2)
            .map(|bounds| &self.targets[bounds[0]..bounds[1]])
    }

    pub(super) fn count(&self) -> usize {
        self.targets.len()
    }

    /// The number of lists.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// How often each position is a target.
    pub(super) fn in_degrees(&self) -> Vec<u32> {
        let mut counts = vec![0; self.len()];
        for to in &self.targets {
            counts[to.as_usize()] += 1;
        }
        counts
    }

    /// The same edges, listed at their other end, ascending too.
    pub(super) fn reversed(&self) -> Self {
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut sum = 0;
        starts.push(0);
        for count in self.in_degrees() {
            sum += count as usize;
            starts.push(sum);
        }
        let mut next = starts.clone();
        let mut targets = vec![PathIdx(0); sum];
        for (from, list) in (0..).map(PathIdx).zip(self.lists()) {
            for to in list {
                let at = &mut next[to.as_usize()];
                targets[*at] = from;
                *at += 1;
            }
        }
        Self { starts, targets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_reversed() {
        let mut edges = Edges::with_capacity(4, 6);
        for (own, targets) in [
            (0, &[][..]),
            (1, &[3, 0, 3, 1, 2, 0]),
            (2, &[2]),
            (3, &[2, 0]),
        ] {
            edges.push(PathIdx(own), targets.iter().copied().map(PathIdx));
        }
        let lists = |edges: &Edges| -> Vec<Vec<u32>> {
            let numbers = |list: &[PathIdx]| list.iter().map(|to| to.0).collect();
            edges.lists().map(numbers).collect()
        };
        assert_eq!(lists(&edges), [vec![], vec![0, 2, 3], vec![], vec![0, 2]]);
        assert_eq!(edges.count(), 5);
        let reversed = edges.reversed();
        assert_eq!(lists(&reversed), [vec![1, 3], vec![], vec![1, 3], vec![1]]);
        assert_eq!(reversed.reversed(), edges);
    }
}
