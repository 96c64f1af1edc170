//! The `solo` and `fleet` packers, with or without a prior image.
//!
//! Both cut the closure into groups, give the largest a layer each, put the others together, and order the layers; they
//! differ in the groups. `docs/packing.md` tells why.

use crate::dag::Dag;
use crate::facts::Facts;
use crate::fill::{Filled, Group, Leftovers, fill};
use crate::groups::Grouping;
use crate::volatile::Volatile;
use crate::{Catalog, LayerReason, PackOptions, PackedLayer, Packing, Rider, anchor};
use nixply_store::{Closure, PathIdx};
use std::cmp::Reverse;

/// With no more layers than this for store paths, riders cost more than they save and every layer counts
/// (`docs/packing.md`, "What was tried and dropped").
const FEW_LAYERS: usize = 60;

/// This share of the layers is for groups that have none of their own.
const REST_PERCENT: usize = 3;

/// Packs a closure. The budget leaves at least one layer, and `Fleet` has its catalog.
pub(crate) fn pack(closure: &Closure, dag: &Dag, options: &PackOptions<'_>) -> Packing {
    let facts = Facts::new(closure, dag);
    let known = options.catalog.map(|catalog| Known {
        catalog,
        group_of: catalog.known(closure),
    });
    let is_shared = |path: u32| known.as_ref().is_some_and(|known| known.holds(path));
    let available = options.budget.available();
    let volatile = if options.volatile.is_empty() {
        let mut volatile = Volatile::by_structure(dag, &facts, available, is_shared);
        if known.is_some() {
            volatile.extend_to_own(dag, &facts, is_shared);
        }
        volatile
    } else {
        Volatile::given(dag, options.volatile)
    };
    let mut unknown: Vec<PathIdx> = Vec::new();
    if known.is_some() {
        let paths = dag.nodes();
        unknown.extend(
            paths
                .filter(|&path| !is_shared(path) && !volatile.has(path))
                .map(PathIdx),
        );
    }
    let planner = Planner {
        closure,
        dag,
        facts: &facts,
        known: known.as_ref(),
        options,
    };
    let mut grouping = Grouping::new(
        closure,
        dag,
        &facts,
        dag.nodes().map(|path| !volatile.has(path)).collect(),
    );
    let layers = planner.layers(&volatile, &mut grouping);
    Packing {
        packer: options.packer.id(),
        layers: layers
            .into_iter()
            .map(|layer| planner.packed(layer, &grouping))
            .collect(),
        volatile: volatile.into_list(),
        unknown,
    }
}

/// What a catalog knows of a closure.
pub(crate) struct Known<'a> {
    pub(crate) catalog: &'a Catalog,
    /// For each path its group in the catalog.
    pub(crate) group_of: Vec<Option<u32>>,
}

struct Planner<'a> {
    closure: &'a Closure,
    dag: &'a Dag,
    facts: &'a Facts,
    known: Option<&'a Known<'a>>,
    options: &'a PackOptions<'a>,
}

impl Planner<'_> {
    /// The layers, bottom first.
    fn layers(&self, volatile: &Volatile, grouping: &mut Grouping<'_>) -> Vec<Filled> {
        let available = self.options.budget.available();
        let layer = |paths: Vec<u32>, reason| Filled {
            group: Group::new(paths[0], paths, self.facts),
            reason,
        };
        let mut on_top: Vec<u32> = self.dag.nodes().collect();
        on_top.retain(|&path| volatile.has(path) && !volatile.alone.contains(&path));
        let mut top: Vec<Filled> = (volatile.alone.iter().rev())
            .map(|&path| layer(vec![path], LayerReason::Volatile))
            .collect();
        if !on_top.is_empty() {
            top.push(layer(on_top, LayerReason::Volatile));
        }
        let planned: Vec<u32> = grouping.planned().collect();
        if planned.is_empty() {
            return top;
        }
        if available <= top.len() {
            return vec![layer(self.dag.nodes().collect(), LayerReason::Rest)];
        }
        let mut room = available - top.len();
        let mut intact = anchor::intact(self.closure, self.facts, volatile, self.options.prior);
        let intact_paths: usize = intact.iter().map(|group| group.members.len()).sum();
        // All of them where they hold everything; else what is left, and what is given up, needs a layer too.
        let nothing_left = intact_paths == planned.len() && intact.len() <= room;
        let most = room - usize::from(!nothing_left);
        intact = anchor::release(intact, most);
        room -= intact.len();
        grouping.leave_out(intact.iter().flat_map(|group| &group.members));

        let (groups, rest_layers, small_layer) = match self.known {
            Some(known) => (grouping.by_catalog(known), 1, true),
            None if available > FEW_LAYERS => {
                let rest_layers = (room * REST_PERCENT / 100).max(1);
                (grouping.by_hosts(), rest_layers, true)
            }
            None => (grouping.by_path(), 1, false),
        };
        let asked_for = self.asked_for(volatile);
        let leftovers = Leftovers {
            rest_layers,
            small_layer,
            asked_for: &asked_for,
        };
        let mut layers = fill(self.closure, self.facts, groups, room, leftovers);
        layers.extend(intact.into_iter().map(|group| Filled {
            group,
            reason: LayerReason::Prior,
        }));
        self.order(&mut layers, volatile, &asked_for);
        layers.append(&mut top);
        layers
    }

    /// What the image asks for, ascending, where that is all that is known of what changes with it.
    fn asked_for(&self, volatile: &Volatile) -> Vec<u32> {
        if volatile.is_certain() {
            return Vec::new();
        }
        let mut asked_for = volatile.asked_for(self.dag);
        asked_for.retain(|&path| !self.known.is_some_and(|known| known.holds(path)));
        asked_for
    }

    /// Puts what many paths refer to, and what is large, below: (users)² · bytes in powers of two, so that small changes
    /// move no layer (`docs/packing.md`, "Order"). What the image asks for stands above the rest.
    fn order(&self, layers: &mut [Filled], volatile: &Volatile, asked_for: &[u32]) {
        let users = |path: u32| {
            let users = self.dag.users.of(path).iter();
            users.filter(|&&user| !volatile.has(user)).count() as u64
        };
        layers.sort_by_cached_key(|layer| {
            let least_used = layer.group.members.iter().map(|&path| users(path)).min();
            let weight = 2 * bit_length(least_used.unwrap_or(0)) + bit_length(layer.group.bytes);
            let mut members = layer.group.members.iter();
            let on_top = members.any(|path| asked_for.binary_search(path).is_ok());
            (on_top, Reverse(weight), layer.group.key)
        });
    }

    fn packed(&self, layer: Filled, grouping: &Grouping<'_>) -> PackedLayer {
        let mut paths = layer.group.members;
        paths.sort_unstable();
        let rider = |&path: &u32| {
            Some(Rider {
                path: PathIdx(path),
                host: PathIdx(grouping.host_of(path)?),
            })
        };
        PackedLayer {
            riders: paths.iter().filter_map(rider).collect(),
            sets: self
                .known
                .map_or_else(Vec::new, |known| known.common_sets(&paths)),
            paths: paths.into_iter().map(PathIdx).collect(),
            reason: layer.reason,
        }
    }
}

impl Known<'_> {
    /// Whether some package set holds a path.
    fn holds(&self, path: u32) -> bool {
        self.group_of[path as usize].is_some()
    }

    /// The package sets that hold every one of some paths.
    fn common_sets(&self, paths: &[u32]) -> Vec<u32> {
        let sets_of = |path: u32| match self.group_of[path as usize] {
            Some(group) => &self.catalog.groups()[group as usize].sets[..],
            None => &[],
        };
        let [first, others @ ..] = paths else {
            return Vec::new();
        };
        let mut common = sets_of(*first).to_vec();
        for &path in others {
            common.retain(|set| sets_of(path).binary_search(set).is_ok());
        }
        common
    }
}

/// The number of bits that a number needs; 0 for 0.
fn bit_length(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}
