//! Which paths are new in every version of an image.
//!
//! They stand alone on top, so that a deployment moves nothing else. The caller may name them; else structure tells:
//! the only root of a closure is what was built last, and so is a path that only volatile paths use and that refers,
//! directly or not, to most of the rest (an application below the environment that starts it). Whatever uses a volatile
//! path is volatile, because its own hash follows.

use crate::VolatileReason;
use crate::dag::{Dag, Walk};
use crate::facts::Facts;
use nixply_store::PathIdx;
use std::cmp::Reverse;

/// A path of at least this size that structure points at has a layer of its own, where a wrong guess costs nothing.
const ALONE_FROM_BYTES: u64 = 1 << 20;

/// How many paths may hold most of the rest. Real images have one or two; a chain of packages would go on to its end.
const MAX_HOLDERS: usize = 3;

/// With so few layers none is spent on a guess.
const FEW_LAYERS: usize = 8;

/// Roots below this size share the top layer where a closure has several, and so do small paths of the project's own
/// (`docs/packing.md`, "Volatile paths").
const TOP_LAYER_BYTES: u64 = 64 << 10;

/// A path holds most of a closure when it refers to more than this share, in percent.
const MOST_PERCENT: usize = 75;

/// So many paths are looked at for one that holds most: those with the most references.
const MAX_CANDIDATES: usize = 16;

/// The volatile paths of a closure.
#[derive(Debug)]
pub(crate) struct Volatile {
    /// For each path why it is volatile; none for the others.
    pub(crate) reasons: Vec<Option<VolatileReason>>,
    /// Those of them that have a layer each.
    pub(crate) alone: Vec<u32>,
}

impl Volatile {
    pub(crate) fn has(&self, path: u32) -> bool {
        self.reasons[path as usize].is_some()
    }

    /// What the caller named, and all that uses it.
    pub(crate) fn given(dag: &Dag, given: &[PathIdx]) -> Self {
        let mut reasons = vec![None; dag.len()];
        let starts: Vec<u32> = given.iter().map(|path| path.0).collect();
        let mut users = Walk::new(dag.len());
        users.from(&starts, &dag.users);
        for &path in &users.met {
            reasons[path as usize] = Some(VolatileReason::UsesVolatile);
        }
        for path in starts {
            reasons[path as usize] = Some(VolatileReason::Given);
        }
        Self {
            reasons,
            alone: Vec::new(),
        }
    }

    /// What structure tells. `is_shared` is true of paths that some package set holds: they are never volatile.
    /// `available` is the number of layers.
    pub(crate) fn by_structure(
        dag: &Dag,
        facts: &Facts,
        available: usize,
        is_shared: impl Fn(u32) -> bool,
    ) -> Self {
        let mut volatile = Self {
            reasons: vec![None; dag.len()],
            alone: Vec::new(),
        };
        let mut roots: Vec<u32> = dag.nodes().collect();
        roots.retain(|&path| dag.users.of(path).is_empty() && !is_shared(path));
        let size = |path: u32| facts.sizes[path as usize];
        if let [root] = roots[..] {
            volatile.reasons[root as usize] = Some(VolatileReason::Root);
        } else {
            for root in roots {
                if size(root) < TOP_LAYER_BYTES {
                    volatile.reasons[root as usize] = Some(VolatileReason::SmallRoot);
                }
            }
        }
        let mut walk = Walk::new(dag.len());
        for _ in 0..MAX_HOLDERS {
            let mut candidates = volatile.asked_for(dag);
            candidates.retain(|&path| !is_shared(path));
            candidates.sort_by_key(|&path| {
                let references = dag.references.of(path).len();
                (Reverse(references), facts.ranks[path as usize])
            });
            let mut candidates = candidates.into_iter().take(MAX_CANDIDATES);
            let holder = candidates.find(|&path| {
                walk.from(&[path], &dag.references);
                100 * walk.met.len() > MOST_PERCENT * dag.len()
            });
            let Some(holder) = holder else { break };
            volatile.reasons[holder as usize] = Some(VolatileReason::HoldsMost);
            let larger = dag.nodes().filter(|&path| size(path) > size(holder));
            if size(holder) >= ALONE_FROM_BYTES
                && available > FEW_LAYERS
                && larger.count() < available / 2
            {
                volatile.alone.push(holder);
            }
        }
        volatile
    }

    /// With a catalog: the small paths that only volatile ones use and that no package set holds are the project's own.
    pub(crate) fn extend_to_own(
        &mut self,
        dag: &Dag,
        facts: &Facts,
        is_shared: impl Fn(u32) -> bool,
    ) {
        for &path in &dag.users_first {
            let users = dag.users.of(path);
            let own = !self.has(path)
                && !users.is_empty()
                && !is_shared(path)
                && facts.sizes[path as usize] < TOP_LAYER_BYTES
                && users.iter().all(|&user| self.has(user));
            if own {
                self.reasons[path as usize] = Some(VolatileReason::InNoSet);
            }
        }
    }

    /// The paths with their reasons, ascending.
    pub(crate) fn into_list(self) -> Vec<(PathIdx, VolatileReason)> {
        (0..)
            .map(PathIdx)
            .zip(self.reasons)
            .filter_map(|(path, reason)| Some((path, reason?)))
            .collect()
    }

    /// The paths that are not volatile and that nothing or only volatile paths use, ascending.
    pub(crate) fn asked_for(&self, dag: &Dag) -> Vec<u32> {
        let users = |path: u32| dag.users.of(path).iter();
        dag.nodes()
            .filter(|&path| !self.has(path) && users(path).all(|&user| self.has(user)))
            .collect()
    }

    /// Whether it is known which paths change with the image itself.
    pub(crate) fn is_certain(&self) -> bool {
        use VolatileReason::{Given, HoldsMost, UsesVolatile};
        let reasons = self.reasons.iter().flatten();
        reasons
            .into_iter()
            .any(|reason| matches!(reason, Given | HoldsMost | UsesVolatile))
    }
}
