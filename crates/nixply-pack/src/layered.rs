//! The `solo` and `fleet` packers, with or without a prior image.

use crate::anchor;
use crate::dag::Dag;
use crate::facts::Facts;
use crate::fill::{Filled, Group, Leftovers, fill};
use crate::hosts::hosts;
use crate::reach::source_counts;
use crate::volatile::{self, Volatile};
use crate::{Catalog, LayerReason, PackOptions, PackedLayer, Packer, Packing, Rider};
use nixply_store::{Closure, PathIdx};
use std::cmp::Reverse;

/// With no more layers than this for store paths, riders cost more than they save and every layer counts
/// (`docs/packing.md`, "Few layers").
const FEW_LAYERS: usize = 60;

/// One layer in so many is for groups that have none of their own.
const REST_PERCENT: usize = 3;

/// Packs a closure. The budget leaves at least one layer, and `Fleet` has its catalog.
pub(crate) fn pack(closure: &Closure, dag: &Dag, options: &PackOptions<'_>) -> Packing {
    let facts = Facts::new(closure, dag);
    let available = options.budget.available();
    let known = options.catalog.map(|catalog| catalog.known(closure));
    let is_shared = |path: u32| {
        known
            .as_ref()
            .is_some_and(|known| known[path as usize].is_some())
    };
    let volatile = if options.volatile.is_empty() {
        let mut volatile = volatile::by_structure(dag, &facts, available, is_shared);
        if known.is_some() {
            volatile::extend_to_own(dag, &facts, &mut volatile, is_shared);
        }
        volatile
    } else {
        volatile::given(dag, options.volatile)
    };
    let is_volatile = |path: u32| volatile[path as usize].is_some();

    let own: Vec<u32> = dag.nodes().filter(|&path| is_volatile(path)).collect();
    let mut planner = Planner {
        closure,
        dag,
        facts: &facts,
        among: dag.nodes().map(|path| !is_volatile(path)).collect(),
        hosts: vec![None; dag.len()],
    };
    let own_layers = usize::from(!own.is_empty());
    let layers = if available <= own_layers && own.len() < dag.len() {
        // A single layer has to hold everything.
        let all = dag.nodes().collect();
        vec![Filled {
            group: Group::new(0, all, &facts),
            reason: LayerReason::Rest,
        }]
    } else {
        let room = available - own_layers;
        let mut intact = anchor::intact(closure, &facts, is_volatile, options.prior);
        let intact_paths: usize = intact.iter().map(|group| group.members.len()).sum();
        let all_intact = intact_paths + own.len() == dag.len();
        intact = anchor::release(intact, if all_intact { room } else { room - 1 });
        for &path in intact.iter().flat_map(|group| &group.members) {
            planner.among[path as usize] = false;
        }
        let room = room - intact.len();
        let groups = match (options.packer, options.catalog, &known) {
            (Packer::Fleet, Some(catalog), Some(known)) => planner.fleet_groups(catalog, known),
            _ if available > FEW_LAYERS => planner.solo_groups(),
            _ => planner.single_groups(),
        };
        let leftovers = if options.packer == Packer::Fleet {
            Leftovers {
                rest_layers: 1,
                small_layer: true,
            }
        } else if available > FEW_LAYERS {
            Leftovers {
                rest_layers: (room * REST_PERCENT / 100).max(1),
                small_layer: true,
            }
        } else {
            Leftovers {
                rest_layers: 1,
                small_layer: false,
            }
        };
        let mut layers = fill(closure, &facts, groups, room, leftovers);
        layers.extend(intact.into_iter().map(|group| Filled {
            group,
            reason: LayerReason::Prior,
        }));
        let users = users_besides(dag, &volatile);
        let popularity = |layer: &Filled| {
            let members = layer.group.members.iter();
            match (options.packer, &known) {
                (Packer::Fleet, Some(known)) => members
                    .map(|&path| known[path as usize].map_or(0, |entry| entry.sets))
                    .min(),
                _ => members
                    .map(|&path| bit_length(users[path as usize].into()))
                    .min(),
            }
        };
        layers.sort_by_cached_key(|layer| {
            (
                Reverse(popularity(layer)),
                Reverse(bit_length(layer.group.bytes)),
                layer.group.key,
            )
        });
        if !own.is_empty() {
            layers.push(Filled {
                group: Group::new(own[0], own, &facts),
                reason: LayerReason::Volatile,
            });
        }
        layers
    };
    let unknown = match &known {
        Some(known) => dag
            .nodes()
            .filter(|&path| known[path as usize].is_none() && !is_volatile(path))
            .map(PathIdx)
            .collect(),
        None => Vec::new(),
    };
    Packing {
        packer: options.packer.id(),
        layers: layers
            .into_iter()
            .map(|layer| planner.packed(layer, options.catalog))
            .collect(),
        volatile: volatile_list(&volatile),
        unknown,
    }
}

fn volatile_list(volatile: &Volatile) -> Vec<(PathIdx, crate::VolatileReason)> {
    (0..)
        .map(PathIdx)
        .zip(volatile)
        .filter_map(|(path, reason)| Some((path, (*reason)?)))
        .collect()
}

/// The number of bits that a number needs; 0 for 0.
fn bit_length(number: u64) -> u32 {
    u64::BITS - number.leading_zeros()
}

/// For each path how many paths use it, directly or not, volatile ones left out.
fn users_besides(dag: &Dag, volatile: &Volatile) -> Vec<u32> {
    // The path itself is among its users where it is not volatile.
    let counted = |path: u32| volatile[path as usize].is_none();
    let counts = source_counts(&dag.references, &dag.users, counted);
    (dag.nodes().zip(counts))
        .map(|(path, count)| count - u32::from(counted(path)))
        .collect()
}

struct Planner<'a> {
    closure: &'a Closure,
    dag: &'a Dag,
    facts: &'a Facts,
    /// The paths that are to be planned.
    among: Vec<bool>,
    /// The path that each path rides on.
    hosts: Vec<Option<u32>>,
}

impl Planner<'_> {
    fn planned(&self) -> impl Iterator<Item = u32> {
        (self.dag.nodes()).filter(|&path| self.among[path as usize])
    }

    fn single_groups(&self) -> Vec<Group> {
        self.planned()
            .map(|path| Group::new(path, vec![path], self.facts))
            .collect()
    }

    fn solo_groups(&mut self) -> Vec<Group> {
        let hosts = hosts(self.dag, self.facts, &self.among);
        for path in self.dag.nodes() {
            if self.among[path as usize] {
                self.hosts[path as usize] = hosts[path as usize];
            }
        }
        // Users come first, so a host's end is known before its rider asks.
        let mut ends: Vec<u32> = self.dag.nodes().collect();
        for &path in &self.dag.users_first {
            if let Some(host) = hosts[path as usize] {
                ends[path as usize] = ends[host as usize];
            }
        }
        self.grouped_by(|path| ends[path as usize])
    }

    fn fleet_groups(
        &mut self,
        catalog: &Catalog,
        known: &[Option<crate::catalog::Entry>],
    ) -> Vec<Group> {
        let _ = (catalog, known);
        self.solo_groups()
    }

    fn grouped_by(&self, head: impl Fn(u32) -> u32) -> Vec<Group> {
        let mut members = vec![Vec::new(); self.dag.len()];
        for path in self.planned() {
            members[head(path) as usize].push(path);
        }
        (0..)
            .zip(members)
            .filter(|(_, members)| !members.is_empty())
            .map(|(head, members)| Group::new(head, members, self.facts))
            .collect()
    }

    fn packed(&self, layer: Filled, catalog: Option<&Catalog>) -> PackedLayer {
        let mut paths = layer.group.members;
        paths.sort_unstable();
        let _ = catalog;
        PackedLayer {
            riders: paths
                .iter()
                .filter_map(|&path| {
                    Some(Rider {
                        path: PathIdx(path),
                        host: PathIdx(self.hosts[path as usize]?),
                    })
                })
                .collect(),
            paths: paths.into_iter().map(PathIdx).collect(),
            reason: layer.reason,
            sets: Vec::new(),
        }
    }
}
