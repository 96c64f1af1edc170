//! The graphs that a pipeline cuts and joins.

use super::operation::Direction;
use crate::dag::{Neighbours, Walk};

/// Store paths in order, and which of them refers to which. Not every reference of the closure need be there: a graph that
/// was cut and joined again has lost those between its parts.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    /// Positions in the closure.
    paths: Vec<u32>,
    /// Between positions in `paths`.
    references: Neighbours,
}

impl Graph {
    /// The paths in this order, with all references between them.
    pub(super) fn new(paths: Vec<u32>, references: &Neighbours) -> Self {
        let mut place = vec![0; references.len()];
        for (at, &path) in (0_u32..).zip(&paths) {
            place[path as usize] = at;
        }
        let lists = paths.iter().map(|&path| {
            let targets = references.of(path).iter();
            ascending(targets.map(|&to| place[to as usize]))
        });
        Self {
            references: Neighbours::collect(lists),
            paths,
        }
    }

    /// One path that refers to nothing.
    pub(super) fn single(path: u32) -> Self {
        Self {
            paths: vec![path],
            references: Neighbours::collect([[]].into_iter()),
        }
    }

    /// The paths, in order, as positions in the closure.
    pub(super) fn paths(&self) -> &[u32] {
        &self.paths
    }

    pub(super) fn into_paths(self) -> Vec<u32> {
        self.paths
    }

    pub(super) const fn references(&self) -> &Neighbours {
        &self.references
    }

    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Where a path of the closure stands.
    pub(super) fn find(&self, path: u32) -> Option<u32> {
        (0..)
            .zip(&self.paths)
            .find_map(|(at, &other)| (other == path).then_some(at))
    }

    /// What nothing refers to.
    pub(super) fn roots(&self) -> Vec<u32> {
        let mut is_used = vec![false; self.paths.len()];
        for at in self.nodes() {
            for &to in self.references.of(at) {
                is_used[to as usize] = true;
            }
        }
        self.nodes().filter(|&at| !is_used[at as usize]).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = u32> + use<> {
        (0..).take(self.paths.len())
    }

    /// What can be reached from some paths, these included.
    pub(super) fn reached(&self, from: &[u32], direction: Direction) -> Vec<bool> {
        let mut walk = Walk::new(self.paths.len());
        match direction {
            Direction::Out => walk.from(from, &self.references),
            Direction::In => walk.from(from, &self.references.transposed()),
        }
        self.nodes().map(|at| walk.has_met(at)).collect()
    }

    /// The paths for which `keeps` is true, in their order, with the references between them.
    pub(super) fn part(&self, keeps: impl Fn(usize) -> bool) -> Self {
        let mut place = vec![None; self.paths.len()];
        let mut paths = Vec::new();
        for (at, place) in place.iter_mut().enumerate() {
            if keeps(at) {
                *place = u32::try_from(paths.len()).ok();
                paths.push(self.paths[at]);
            }
        }
        let kept = self.nodes().filter(|&at| place[at as usize].is_some());
        let lists = kept.map(|at| {
            let targets = self.references.of(at).iter();
            targets.filter_map(|&to| place[to as usize])
        });
        Self {
            references: Neighbours::collect(lists),
            paths,
        }
    }

    /// The paths from one place up to another, with the references between them.
    pub(super) fn range(&self, start: usize, end: usize) -> Self {
        let inside = |at: u32| u32::try_from((at as usize).checked_sub(start)?).ok();
        let lists = self.nodes().take(end).skip(start).map(|at| {
            let targets = self.references.of(at).iter();
            targets.filter_map(|&to| inside(to).filter(|_| (to as usize) < end))
        });
        Self {
            references: Neighbours::collect(lists),
            paths: self.paths[start..end].to_vec(),
        }
    }

    /// The same paths without the references to some of them.
    pub(super) fn cut_off(&self, targets: &[u32]) -> Self {
        let mut is_cut = vec![false; self.paths.len()];
        for &to in targets {
            is_cut[to as usize] = true;
        }
        let lists = self.nodes().map(|at| {
            let targets = self.references.of(at).iter().copied();
            targets.filter(|&to| !is_cut[to as usize])
        });
        Self {
            references: Neighbours::collect(lists),
            paths: self.paths.clone(),
        }
    }

    /// Graphs one behind the other, with the references inside each of them only.
    pub(super) fn joined(graphs: &[Self]) -> Self {
        let mut paths = Vec::new();
        let mut lists = Vec::new();
        for graph in graphs {
            let start = u32::try_from(paths.len()).unwrap_or(u32::MAX);
            for at in graph.nodes() {
                let targets = graph.references.of(at).iter();
                lists.push(targets.map(|to| start + to).collect::<Vec<u32>>());
            }
            paths.extend_from_slice(&graph.paths);
        }
        Self {
            references: Neighbours::collect(lists.into_iter()),
            paths,
        }
    }
}

fn ascending(numbers: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut numbers: Vec<u32> = numbers.collect();
    numbers.sort_unstable();
    numbers
}
