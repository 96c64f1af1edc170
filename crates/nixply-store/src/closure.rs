//! The closure: a checked, acyclic graph of store paths.

mod build;
mod edges;
mod error;
mod lookup;
mod order;

pub(crate) use build::build;
pub use error::{ClosureError, MissingReference};

use crate::{NarHash, StoreDir, StorePath};
use edges::Edges;

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
///
/// Two closures are equal when all that planning uses is: store directory, paths, NAR hashes, NAR sizes, references.
/// Who built a path, who signed it and when it was registered differ from store to store.
#[derive(Debug, Clone)]
pub struct Closure {
    store_dir: StoreDir,
    paths: Vec<PathInfo>,
    references: Edges,
    referrers: Edges,
    /// Which paths refer to themselves; no part of the graph.
    self_references: Vec<bool>,
}

impl Closure {
    /// Checks records and makes the closure of them.
    ///
    /// Self references and repeated references are no part of the graph. Records of the same path are merged if they agree in NAR
    /// hash, NAR size and references. The NAR sizes of all paths together fit in 64 bits.
    pub fn new(
        store_dir: StoreDir,
        records: Vec<(PathInfo, Vec<StorePath>)>,
    ) -> Result<Self, ClosureError> {
        build(store_dir, records)
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
    #[must_use]
    pub fn references(&self, idx: PathIdx) -> impl ExactSizeIterator<Item = PathIdx> + '_ {
        self.references.of(idx).iter().copied()
    }

    /// The paths that refer to a path, in order, without itself.
    #[must_use]
    pub fn referrers(&self, idx: PathIdx) -> impl ExactSizeIterator<Item = PathIdx> + '_ {
        self.referrers.of(idx).iter().copied()
    }

    /// True if a path refers to itself, which [`references`](Self::references) leaves out.
    #[must_use]
    pub fn refers_to_itself(&self, idx: PathIdx) -> bool {
        self.self_references[idx.as_usize()]
    }

    /// The number of references of all paths together.
    #[must_use]
    pub fn reference_count(&self) -> usize {
        self.references.count()
    }

    /// The NAR sizes of all paths together.
    #[must_use]
    pub fn nar_size_bytes(&self) -> u64 {
        self.paths.iter().map(|info| info.nar_size_bytes).sum()
    }

    /// The part of the closure that is reachable from some of its paths.
    pub fn restrict(&self, roots: &[StorePath]) -> Result<Self, ClosureError> {
        let roots = roots
            .iter()
            .map(|root| {
                self.find(root)
                    .ok_or_else(|| ClosureError::UnknownRoot { root: root.clone() })
            })
            .collect::<Result<Vec<PathIdx>, _>>()?;
        let kept = self.reachable_from(&roots);
        if kept.is_empty() {
            return Err(ClosureError::Empty);
        }
        Ok(self.keep(&kept))
    }

    /// The closure without some of its paths, as if nothing referred to them: what is left to do where somebody has those
    /// already. None where nothing is left.
    #[must_use]
    pub fn without(&self, is_dropped: impl Fn(PathIdx) -> bool) -> Option<Self> {
        let kept: Vec<PathIdx> = self.indices().filter(|&idx| !is_dropped(idx)).collect();
        (!kept.is_empty()).then(|| self.keep(&kept))
    }

    /// The closure with these paths alone, which are ascending, and the references between them.
    fn keep(&self, kept: &[PathIdx]) -> Self {
        const DROPPED: PathIdx = PathIdx(u32::MAX);
        let mut position = vec![DROPPED; self.paths.len()];
        for (new, old) in (0..).map(PathIdx).zip(kept) {
            position[old.as_usize()] = new;
        }
        let mut references = Edges::with_capacity(kept.len(), 0);
        for &old in kept {
            let targets = self.references(old).map(|to| position[to.as_usize()]);
            let targets = targets.filter(|to| *to != DROPPED);
            references.push(position[old.as_usize()], targets);
        }
        Self {
            store_dir: self.store_dir.clone(),
            paths: kept.iter().map(|&idx| self.info(idx).clone()).collect(),
            referrers: references.reversed(),
            references,
            self_references: kept.iter().map(|&idx| self.refers_to_itself(idx)).collect(),
        }
    }
}

impl PartialEq for Closure {
    fn eq(&self, other: &Self) -> bool {
        let planned = |info: &PathInfo| (info.nar_hash, info.nar_size_bytes);
        self.store_dir == other.store_dir
            && self.paths.len() == other.paths.len()
            && self
                .paths
                .iter()
                .zip(&other.paths)
                .all(|(a, b)| a.path == b.path && planned(a) == planned(b))
            && self.references == other.references
    }
}

impl Eq for Closure {}
