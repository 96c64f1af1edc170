//! The closure: a checked, acyclic graph of store paths.

use crate::{NarHash, StoreDir, StorePath};
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};

/// The position of a path in its [`Closure`]. Positions follow the byte order of base names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathIdx(pub u32);

impl PathIdx {
    /// The position as an index into [`Closure::paths`].
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// What Nix records of a store path, without its references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathInfo {
    /// The path.
    pub path: StorePath,
    /// The hash of its NAR serialization.
    pub nar_hash: NarHash,
    /// The size of its NAR serialization.
    pub nar_size_bytes: u64,
    /// The content address, in Nix's text form, where the path has one.
    pub ca: Option<String>,
    /// The base name of the derivation that made it, where known.
    pub deriver: Option<StorePath>,
    /// Signatures, `KEY:BASE64` each.
    pub signatures: Vec<String>,
    /// When the path was registered, in seconds since 1970, where known.
    pub registration_time_secs: Option<u64>,
}

/// A set of store paths that holds every path its members refer to.
#[derive(Debug, Clone)]
pub struct Closure {
    store_dir: StoreDir,
    paths: Vec<PathInfo>,
    /// An edge a -> b: a refers to b. Node indices are [`PathIdx`].
    graph: DiGraph<(), (), u32>,
}

/// Why records do not make a closure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// There is no path at all.
    #[error("the closure is empty")]
    Empty,
    /// A path refers to one that is not there.
    #[error("`{referrer}` refers to `{missing}`, which is not in the closure")]
    MissingReference {
        /// The path that refers.
        referrer: StorePath,
        /// The path that is not there.
        missing: StorePath,
    },
    /// The same path was given twice with different records.
    #[error("`{path}` is given twice and the two records disagree in {field}")]
    Disagree {
        /// The path.
        path: StorePath,
        /// The first field that differs.
        field: &'static str,
    },
    /// Paths refer to each other in a circle.
    #[error("store paths refer to each other in a circle: {}", .cycle.iter().map(StorePath::base_name).collect::<Vec<_>>().join(" -> "))]
    Cycle {
        /// The circle, its first path repeated at the end.
        cycle: Vec<StorePath>,
    },
    /// A root was asked for that is not in the closure.
    #[error("`{root}` is not in the closure")]
    UnknownRoot {
        /// The root.
        root: StorePath,
    },
}

impl Closure {
    /// Checks records and makes the closure of them. Self references are dropped, equal duplicates merged.
    pub fn new(
        store_dir: StoreDir,
        mut records: Vec<(PathInfo, Vec<StorePath>)>,
    ) -> Result<Self, ClosureError> {
        records.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        records.dedup_by(|(a, _), (b, _)| a.path == b.path);
        if records.is_empty() {
            return Err(ClosureError::Empty);
        }
        let (paths, references): (Vec<PathInfo>, Vec<Vec<StorePath>>) = records.into_iter().unzip();
        let mut graph = DiGraph::with_capacity(paths.len(), references.iter().map(Vec::len).sum());
        for _ in &paths {
            graph.add_node(());
        }
        let find = |path: &StorePath| paths.binary_search_by(|info| info.path.cmp(path)).ok();
        for (from, references) in references.iter().enumerate() {
            let mut targets = Vec::with_capacity(references.len());
            for reference in references {
                targets.push(
                    find(reference).ok_or_else(|| ClosureError::MissingReference {
                        referrer: paths[from].path.clone(),
                        missing: reference.clone(),
                    })?,
                );
            }
            targets.sort_unstable();
            targets.dedup();
            // petgraph lists the newest edge first; adding the last target first gives ascending order.
            for to in targets.into_iter().rev().filter(|to| *to != from) {
                graph.add_edge(NodeIndex::new(from), NodeIndex::new(to), ());
            }
        }
        Ok(Self {
            store_dir,
            paths,
            graph,
        })
    }

    /// The directory that the paths lie in.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    /// The records, in byte order of base names.
    #[must_use]
    pub fn paths(&self) -> &[PathInfo] {
        &self.paths
    }

    /// All positions, in order.
    pub fn indices(&self) -> impl DoubleEndedIterator<Item = PathIdx> + ExactSizeIterator + use<> {
        (0..u32::try_from(self.paths.len()).unwrap_or(u32::MAX)).map(PathIdx)
    }

    /// The record at a position.
    #[must_use]
    pub fn info(&self, idx: PathIdx) -> &PathInfo {
        &self.paths[idx.as_usize()]
    }

    /// The position of a path.
    #[must_use]
    pub fn find(&self, path: &StorePath) -> Option<PathIdx> {
        let position = self
            .paths
            .binary_search_by(|info| info.path.cmp(path))
            .ok()?;
        u32::try_from(position).ok().map(PathIdx)
    }

    /// The paths that a path refers to, in order, without itself.
    pub fn references(&self, idx: PathIdx) -> impl Iterator<Item = PathIdx> + '_ {
        self.graph
            .neighbors_directed(NodeIndex::new(idx.as_usize()), Direction::Outgoing)
            .map(|node| PathIdx(u32::try_from(node.index()).unwrap_or(u32::MAX)))
    }

    /// The graph; node indices are positions, an edge points from a path to one that it refers to.
    #[must_use]
    pub fn graph(&self) -> &DiGraph<(), (), u32> {
        &self.graph
    }
}
