//! Which paths are new in every version of an image.
//!
//! They stand alone on top, so that a deployment moves nothing else. The caller may name them; else structure tells:
//! the only root of a closure is what was built last, and so is a path that only volatile paths use and that refers,
//! directly or not, to everything else (an application below the environment that starts it). Whatever uses a volatile
//! path is volatile, because its own hash follows.

use crate::VolatileReason;
use crate::dag::{Dag, Walk};
use crate::facts::Facts;
use nixply_store::PathIdx;

/// Paths below this size move with the top layer when structure puts them there; larger ones weigh as much there as in
/// a layer of their own, which a wrong guess would not hurt.
pub(crate) const SMALL_OWN_BYTES: u64 = 1 << 20;

/// How many paths in a row may hold everything else. Real images have one or two; a chain of packages would go on to
/// its end.
const MAX_HOLDERS: usize = 3;

/// For each path why it is volatile; none for the others.
pub(crate) type Volatile = Vec<Option<VolatileReason>>;

/// What the caller named, and all that uses it.
pub(crate) fn given(dag: &Dag, given: &[PathIdx]) -> Volatile {
    let mut volatile = vec![None; dag.len()];
    let starts: Vec<u32> = given.iter().map(|path| path.0).collect();
    let mut users = Walk::new(dag.len());
    users.from(&starts, &dag.users);
    for &path in &users.met {
        volatile[path as usize] = Some(VolatileReason::UsesVolatile);
    }
    for path in starts {
        volatile[path as usize] = Some(VolatileReason::Given);
    }
    volatile
}

/// What structure tells. `is_shared` is true of paths that some package set holds: they are never volatile.
/// `available` is the number of layers; a large path that would have one of its own keeps it.
pub(crate) fn by_structure(
    dag: &Dag,
    facts: &Facts,
    available: usize,
    is_shared: impl Fn(u32) -> bool,
) -> Volatile {
    let mut volatile = vec![None; dag.len()];
    let roots: Vec<u32> = dag
        .nodes()
        .filter(|&path| dag.users.of(path).is_empty())
        .collect();
    let size = |path: u32| facts.sizes[path as usize];
    if let [root] = roots[..] {
        if !is_shared(root) {
            volatile[root as usize] = Some(VolatileReason::Root);
        }
    } else {
        for &root in &roots {
            if !is_shared(root) && size(root) < SMALL_OWN_BYTES {
                volatile[root as usize] = Some(VolatileReason::SmallRoot);
            }
        }
    }
    let mut walk = Walk::new(dag.len());
    for _ in 0..MAX_HOLDERS {
        let mut candidates = used_only_by(dag, &volatile);
        candidates.retain(|&path| !is_shared(path));
        let volatile_count = volatile.iter().flatten().count();
        let holder = candidates.into_iter().find(|&path| {
            walk.from(&[path], &dag.references);
            walk.met.len() + volatile_count == dag.len()
        });
        let Some(holder) = holder else { break };
        // A larger path is as well off in a layer of its own, where it costs nothing to have guessed wrong.
        let larger = (dag.nodes()).filter(|&path| size(path) > size(holder));
        if size(holder) >= SMALL_OWN_BYTES && larger.count() < available / 2 {
            break;
        }
        volatile[holder as usize] = Some(VolatileReason::HoldsEverything);
    }
    volatile
}

/// With a catalog: the small paths that only volatile ones use and that no package set holds are the project's own.
pub(crate) fn extend_to_own(
    dag: &Dag,
    facts: &Facts,
    volatile: &mut Volatile,
    is_shared: impl Fn(u32) -> bool,
) {
    for &path in &dag.users_first {
        let users = dag.users.of(path);
        let own = volatile[path as usize].is_none()
            && !users.is_empty()
            && !is_shared(path)
            && facts.sizes[path as usize] < SMALL_OWN_BYTES
            && users.iter().all(|&user| volatile[user as usize].is_some());
        if own {
            volatile[path as usize] = Some(VolatileReason::InNoSet);
        }
    }
}

/// The paths that are not volatile and that only volatile paths use, ascending.
fn used_only_by(dag: &Dag, volatile: &Volatile) -> Vec<u32> {
    let is_volatile = |path: u32| volatile[path as usize].is_some();
    let below = |path: u32| {
        let users = dag.users.of(path);
        !users.is_empty() && users.iter().all(|&user| is_volatile(user))
    };
    (dag.nodes())
        .filter(|&path| !is_volatile(path) && below(path))
        .collect()
}
