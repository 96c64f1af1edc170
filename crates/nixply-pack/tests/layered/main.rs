//! What holds of `solo` and `fleet` with all their options: catalogs that fit and stale ones, prior images, real and
//! made up, and volatile paths, given and found.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

mod case;

use case::*;
use nixply_pack::{Budget, Catalog, LayerReason, PackOptions, Packer, VolatileReason, pack};
use nixply_store::{PathIdx, StorePath};
use nixply_testkit::closures::{
    TestPath, any_many_paths, any_paths, check_packing, closure, reordered,
};
use nixply_testkit::recorded::Sets;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn each_path_is_packed_once_within_the_budget(case in any_case()) {
        let closure = case.closure();
        let packing = case.packed();
        prop_assert_eq!(packing.packer, Packer::auto(case.catalog.is_some()).id());
        check_packing(&closure, &packing, case.budget);
        for layer in &packing.layers {
            prop_assert!(layer.paths.is_sorted());
        }
    }

    /// Whatever paths change, with all that uses them: one layer for all would move every byte.
    #[test]
    fn nothing_is_worse_than_one_layer(case in any_case(), changed in vec(any::<prop::sample::Index>(), 1..4)) {
        let closure = case.closure();
        let indices: Vec<PathIdx> = closure.indices().collect();
        let changed: Paths = changed.iter().flat_map(|at| {
            reach(*at.get(&indices), |path| closure.referrers(path).collect())
        }).collect();
        let size = |path: &PathIdx| closure.info(*path).nar_size_bytes;
        let packing = case.packed();
        let moved = packing.layers.iter().filter(|layer| layer.paths.iter().any(|path| changed.contains(path)));
        let moved: u64 = moved.flat_map(|layer| &layer.paths).map(size).sum();
        prop_assert!(moved <= closure.nar_size_bytes());
        prop_assert!(moved >= changed.iter().map(size).sum());
    }

    #[test]
    fn riders_stand_with_a_path_that_needs_them(case in any_case()) {
        let closure = case.closure();
        for layer in case.packed().layers {
            for rider in layer.riders {
                prop_assert!(layer.paths.contains(&rider.path) && layer.paths.contains(&rider.host));
                prop_assert!(rider.path != rider.host);
                prop_assert!(below(&closure, rider.host).contains(&rider.path));
            }
        }
    }

    #[test]
    fn what_is_volatile_is_on_top(case in any_case()) {
        let packing = case.packed();
        let volatile = volatile_paths(&packing);
        let of_volatile: Vec<bool> = packing.layers.iter().map(|layer| layer.reason == LayerReason::Volatile).collect();
        if packing.layers.len() == 1 && !of_volatile[0] {
            prop_assert!(volatile.is_empty() || case.budget.available() == 1);
            return Ok(());
        }
        prop_assert!(of_volatile.is_sorted());
        let on_top = packing.layers.iter().zip(&of_volatile).filter(|(_, of_volatile)| **of_volatile);
        prop_assert_eq!(on_top.flat_map(|(layer, _)| layer.paths.clone()).collect::<Paths>(), volatile);
    }

    #[test]
    fn reasons_for_volatility_are_true(case in any_case()) {
        let closure = case.closure();
        let shared = sets_of(&case);
        let packing = case.packed();
        prop_assert!(packing.volatile.is_sorted_by_key(|(path, _)| *path));
        let volatile = volatile_paths(&packing);
        prop_assert_eq!(volatile.len(), packing.volatile.len());
        let is_shared = |path: PathIdx| shared.contains_key(&closure.info(path).path);
        let own_roots = closure.roots().into_iter().filter(|&root| !is_shared(root)).count();
        let is_given = |path: PathIdx| case.volatile.contains(&closure.info(path).path);
        for (path, reason) in packing.volatile {
            let users: Vec<PathIdx> = closure.referrers(path).collect();
            let is_root = users.is_empty();
            let size = closure.info(path).nar_size_bytes;
            prop_assert!(users.iter().all(|user| volatile.contains(user)), "a user's hash follows");
            let is_true = match reason {
                VolatileReason::Given => is_given(path),
                VolatileReason::UsesVolatile => !is_given(path) && below(&closure, path).into_iter().any(is_given),
                VolatileReason::Root => is_root && own_roots == 1,
                VolatileReason::SmallRoot => is_root && own_roots > 1 && size < 64 << 10,
                VolatileReason::HoldsMost => 100 * below(&closure, path).len() > 75 * case.paths.len(),
                VolatileReason::InNoSet => case.catalog.is_some() && !is_root && size < 1 << 20,
                other => panic!("{other:?}"),
            };
            prop_assert!(is_true, "{reason:?} of {path:?}");
            let found = !matches!(reason, VolatileReason::Given | VolatileReason::UsesVolatile);
            prop_assert_eq!(found, case.volatile.is_empty());
            prop_assert!(!(found && is_shared(path)));
        }
        let all_given = case.volatile.iter().all(|path| volatile.contains(&closure.find(path).unwrap()));
        prop_assert!(all_given);
    }

    #[test]
    fn sets_and_unknown_paths_are_what_the_catalog_says(case in any_case()) {
        let closure = case.closure();
        let shared = sets_of(&case);
        let packing = case.packed();
        let volatile = volatile_paths(&packing);
        let set_count = case.catalog.as_ref().map_or(0, |(_, sets, _)| u32::try_from(sets.len()).unwrap());
        for layer in &packing.layers {
            let holds_all = |set: &u32| layer.paths.iter().all(|path| {
                shared.get(&closure.info(*path).path).is_some_and(|sets| sets.contains(set))
            });
            prop_assert_eq!(&layer.sets, &(0..set_count).filter(holds_all).collect::<Vec<_>>());
        }
        let unknown: Vec<PathIdx> = closure.indices().filter(|path| {
            case.catalog.is_some() && !volatile.contains(path) && !shared.contains_key(&closure.info(*path).path)
        }).collect();
        prop_assert_eq!(packing.unknown, unknown);
    }

    /// First come, first served where prior layers overlap; if there is no room for all, the largest stay.
    #[test]
    fn intact_prior_layers_stay(case in any_case()) {
        let closure = case.closure();
        let packing = case.packed();
        let volatile = volatile_paths(&packing);
        let mut taken = volatile.clone();
        let mut intact: Vec<Paths> = Vec::new();
        for layer in &case.prior {
            let paths: Option<Paths> = layer.iter().map(|path| closure.find(path)).collect();
            let Some(paths) = paths.filter(|paths| !paths.is_empty() && paths.is_disjoint(&taken)) else { continue };
            taken.extend(&paths);
            intact.push(paths);
        }
        let of = |reason: LayerReason| -> Vec<Paths> {
            let layers = packing.layers.iter().filter(|layer| layer.reason == reason);
            layers.map(|layer| layer.paths.iter().copied().collect()).collect()
        };
        let kept = of(LayerReason::Prior);
        prop_assert!(kept.iter().all(|layer| intact.contains(layer)));
        let volatile_layers = of(LayerReason::Volatile).len().max(usize::from(!volatile.is_empty()));
        let room = case.budget.available() - volatile_layers;
        let all_stay = intact.len() < room || (intact.len() == room && taken.len() == case.paths.len());
        if all_stay {
            prop_assert_eq!(kept.len(), intact.len());
        } else {
            prop_assert_eq!(kept.len(), room.saturating_sub(1));
            let bytes = |paths: &Paths| paths.iter().map(|path| closure.info(*path).nar_size_bytes).sum::<u64>();
            let least = kept.iter().map(bytes).min();
            let released = intact.iter().filter(|layer| !kept.contains(layer)).map(bytes).max();
            prop_assert!(least.is_none_or(|least| released.is_none_or(|released| released <= least)));
        }
    }

    #[test]
    fn a_plan_is_kept_by_itself(mut case in any_case()) {
        let closure = case.closure();
        let first = layers_by_path(&closure, &case.packed());
        case.prior = first.clone();
        prop_assert_eq!(layers_by_path(&closure, &case.packed()), first);
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(case in any_case(), seed in any::<u64>()) {
        let shuffled = |paths: &[TestPath]| {
            let mut order: Vec<usize> = (0..paths.len()).collect();
            order.sort_by_key(|&at| (at as u64 + 1).wrapping_mul(seed | 1) >> 20);
            reordered(paths, &order)
        };
        let catalog = case.catalog.as_ref().map(|(paths, sets, level)| {
            let reversed = |roots: &Vec<StorePath>| roots.iter().rev().cloned().collect();
            let sets = sets.iter().map(|(name, roots)| (name.clone(), reversed(roots))).collect();
            (shuffled(paths), sets, *level)
        });
        let other = Case { paths: shuffled(&case.paths), catalog, ..case.clone() };
        prop_assert_eq!(other.catalog(), case.catalog());
        prop_assert_eq!(other.packed(), case.packed());
    }

    #[test]
    fn other_hashes_of_the_same_order_change_no_plan(case in any_case()) {
        // All hash parts in order, each with the base names that have it in some closure of the case.
        let mut hash_parts: Vec<String> = case.paths.iter().map(|path| path.base_name[..32].to_owned()).collect();
        hash_parts.extend(case.catalog.iter().flat_map(|(paths, ..)| paths).map(|path| path.base_name[..32].to_owned()));
        hash_parts.extend(case.prior.iter().flatten().map(|path| path.hash_part().to_owned()));
        hash_parts.sort_unstable();
        hash_parts.dedup();
        let renamed = case.renamed(|base_name| {
            let number = hash_parts.iter().position(|hash_part| *hash_part == base_name[..32]).unwrap();
            format!("{number:0>32}{}", &base_name[32..])
        });
        prop_assert_eq!(renamed.packed(), case.packed());
    }

    /// Where no two names are equal, hashes decide nothing at all. (Where some are, a set, a prior layer or the caller may
    /// tell two paths apart that look the same; then only the hash can say which comes first.)
    #[test]
    fn unique_names_make_hashes_irrelevant(
        case in any_case_of(prop_oneof![any_paths(), any_many_paths()].prop_map(with_numbers)),
        multiplier in 1..1_000_000_u64,
    ) {
        let renamed = case.renamed(|base_name| other_hash_part(base_name, multiplier));
        let names = |case: &Case| -> Vec<(LayerReason, Vec<u32>, BTreeSet<String>)> {
            let closure = case.closure();
            let packing = case.packed();
            let name = |path: &PathIdx| closure.info(*path).path.name().to_owned();
            packing.layers.iter().map(|layer| {
                let reason = match layer.reason {
                    LayerReason::Group { .. } => LayerReason::Packer,
                    other => other,
                };
                (reason, layer.sets.clone(), layer.paths.iter().map(name).collect())
            }).collect()
        };
        prop_assert_eq!(names(&renamed), names(&case));
    }

    /// Equal names too: each layer has as many paths of each name, size and place in the graph.
    #[test]
    fn solo_does_not_see_hashes_of_equal_names(
        paths in prop_oneof![4 => any_paths(), 1 => any_many_paths()],
        max_layers in 1..130_usize,
        multiplier in 1..1_000_000_u64,
    ) {
        let max_layers = if paths.len() < 60 { 1 + max_layers % 32 } else { max_layers };
        let case = Case {
            paths,
            budget: Budget { max_layers, reserved_layers: 0 },
            catalog: None,
            prior: Vec::new(),
            volatile: Vec::new(),
        };
        let renamed = case.renamed(|base_name| other_hash_part(base_name, multiplier));
        let looks = looks(&case.paths);
        let layers = |case: &Case| -> Vec<(usize, Vec<usize>)> {
            let closure = case.closure();
            let packing = case.packed();
            let look_of: BTreeMap<&str, usize> = case.paths.iter().map(|path| path.base_name.as_str()).zip(looks.iter().copied()).collect();
            packing.layers.iter().map(|layer| {
                let look = |path: &PathIdx| look_of[closure.info(*path).path.base_name()];
                let mut looks: Vec<usize> = layer.paths.iter().map(look).collect();
                looks.sort_unstable();
                (layer.riders.len(), looks)
            }).collect()
        };
        prop_assert_eq!(layers(&renamed), layers(&case));
    }
}

/// Another hash part, which depends on the old one and on the number; two of them are hardly ever equal.
fn other_hash_part(base_name: &str, number: u64) -> String {
    let mix = |state: u64, byte: u8| {
        (state ^ u64::from(byte))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    };
    let hash = base_name.bytes().take(32).fold(number, mix);
    format!("{hash:0>32}{}", &base_name[32..])
}

/// Classes of paths that nothing but their hashes tells apart: by name and size, then again and again by the classes of
/// their references and users.
fn looks(paths: &[TestPath]) -> Vec<usize> {
    fn classes<T: Ord>(facts: &[T]) -> Vec<usize> {
        let mut all: Vec<&T> = facts.iter().collect();
        all.sort_unstable();
        all.dedup();
        facts
            .iter()
            .map(|fact| all.binary_search(&fact).unwrap())
            .collect()
    }
    let references: Vec<BTreeSet<usize>> = (0..)
        .zip(paths)
        .map(|(at, path)| {
            path.references
                .iter()
                .copied()
                .filter(|&to| to != at)
                .collect()
        })
        .collect();
    let mut users = vec![BTreeSet::new(); paths.len()];
    for (at, references) in references.iter().enumerate() {
        for &to in references {
            users[to].insert(at);
        }
    }
    let own = |path: &TestPath| (path.base_name[33..].to_owned(), path.nar_size_bytes);
    let mut looks = classes(&paths.iter().map(own).collect::<Vec<_>>());
    loop {
        let of = |others: &BTreeSet<usize>| {
            let mut of: Vec<usize> = others.iter().map(|&other| looks[other]).collect();
            of.sort_unstable();
            of
        };
        let fact = |at: usize| (looks[at], of(&references[at]), of(&users[at]));
        let finer = classes(&(0..paths.len()).map(fact).collect::<Vec<_>>());
        if finer.iter().max() == looks.iter().max() {
            return looks;
        }
        looks = finer;
    }
}

/// Deep graphs of a size where recursion would run out of stack and a square of the paths would be felt.
#[test]
fn ten_thousand_paths_in_a_row() {
    let base_name = |at: usize, name: &str| format!("{at:0>32}-{name}");
    let chain = |name: fn(usize) -> String, references: fn(usize) -> Vec<usize>| -> Vec<TestPath> {
        (0..10_000)
            .map(|at| TestPath {
                base_name: base_name(at, &name(at)),
                nar_size_bytes: 1000 + 7 * (at as u64 % 2),
                references: references(at),
            })
            .collect()
    };
    let below = |at: usize| at.checked_sub(1).into_iter().collect();
    let rows = [
        chain(|at| format!("path{at}"), below),
        chain(|_| "path".to_owned(), below),
        // Every path is used by all of the next hundred.
        chain(
            |at| format!("path{}", at % 10),
            |at| (at.saturating_sub(100)..at).collect(),
        ),
        chain(
            |at| format!("path{at}"),
            |at| {
                if at == 9_999 {
                    (0..at).collect()
                } else {
                    Vec::new()
                }
            },
        ),
        // A zigzag: every other path refers to both its neighbours.
        chain(
            |at| (at % 2).to_string(),
            |at| {
                if at % 2 == 1 && at < 9_999 {
                    vec![at - 1, at + 1]
                } else {
                    Vec::new()
                }
            },
        ),
    ];
    for paths in rows {
        let sets: Sets = (1..=20)
            .map(|number| {
                (
                    format!("set{number}"),
                    vec![store_path(&paths[500 * number - 1].base_name)],
                )
            })
            .collect();
        let whole = closure(&paths);
        let prior: Prior = paths
            .iter()
            .map(|path| vec![store_path(&path.base_name)])
            .collect();
        for catalog in [None, Some((paths, sets, 2))] {
            let catalog =
                catalog.map(|(_, sets, level)| Catalog::new(&whole, &sets, level).unwrap());
            for prior in [&[][..], &prior] {
                let budget = Budget {
                    max_layers: 100,
                    reserved_layers: 1,
                };
                let options = PackOptions {
                    catalog: catalog.as_ref(),
                    prior,
                    ..PackOptions::new(Packer::auto(catalog.is_some()), budget)
                };
                check_packing(&whole, &pack(&whole, &options).unwrap(), budget);
            }
        }
    }
}
