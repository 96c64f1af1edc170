//! What holds of every fleet and every planner.

use crate::support::{Grouped, fleet, pin};
use nixply_reuse::planners::{Planner, names, planner};
use nixply_reuse::{Figures, Fleet, Moved, NoClock, Settings, replay};
use proptest::prelude::*;

/// The most paths of a pin.
const PATHS: usize = 12;

/// Pins of a few paths; a path refers to paths of lower numbers, and may be rebuilt from pin to pin.
fn any_fleet() -> impl Strategy<Value = Fleet> {
    let path = (0_u64..1000, any::<u16>(), any::<bool>());
    let pins = prop::collection::vec(prop::collection::vec(path, 2..PATHS), 1..4);
    (pins, any::<u16>()).prop_map(|(pins, roots)| {
        let pins = pins.iter().enumerate().map(|(week, paths)| {
            let names: Vec<String> = paths
                .iter()
                .enumerate()
                .map(|(number, (size, references, is_rebuilt))| {
                    // What a path is follows from its name: size and references are part of it.
                    let week = if *is_rebuilt { week } else { 9 };
                    format!("p{number}-{week}-{size}-{references}")
                })
                .collect();
            let references: Vec<Vec<&str>> = paths
                .iter()
                .enumerate()
                .map(|(number, (_, bits, _))| {
                    (0..number)
                        .filter(|to| bits >> to & 1 == 1)
                        .map(|to| names[to].as_str())
                        .collect()
                })
                .collect();
            let paths: Vec<_> = names
                .iter()
                .zip(paths)
                .zip(&references)
                .map(|((name, (size, ..)), references)| {
                    (name.as_str(), *size, references.as_slice())
                })
                .collect();
            let all: Vec<&str> = names.iter().map(String::as_str).collect();
            let (left, right) = all.split_at(1 + usize::from(roots) % (all.len() - 1));
            pin(
                &format!("week-{week}"),
                &paths,
                &[
                    ("left", left),
                    ("right", right),
                    ("top", &all[all.len() - 1..]),
                ],
            )
        });
        fleet(pins.collect())
    })
}

fn all(figures: &Figures) -> [Moved; 6] {
    [
        figures.push,
        figures.pull,
        figures.chain,
        figures.deploy,
        figures.deploy_chain,
        figures.cross,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_moves_less_than_one_layer_per_path(fleet in any_fleet(), modulus in 1_u64..5) {
        let group_of = move |name: &str| name.bytes().map(u64::from).sum::<u64>() % modulus;
        let planners: Vec<Box<dyn Planner>> =
            vec![Box::new(Grouped::new(group_of)), planner("per-path", 1, None).unwrap()];
        let runs = replay(&fleet, planners, &Settings::default(), &mut NoClock).unwrap();
        for figures in runs[0].pins.iter().chain([&runs[0].total]) {
            for moved in all(figures) {
                prop_assert!(moved.bytes >= moved.bound_bytes, "{moved:?}");
            }
        }
        let per_path = runs[1].total;
        for moved in [per_path.push, per_path.pull, per_path.deploy, per_path.cross] {
            prop_assert_eq!(moved.bytes, moved.bound_bytes);
        }
        // The bound is the fleet's, whatever the planner.
        for (a, b) in all(&runs[0].total).into_iter().zip(all(&per_path)) {
            prop_assert_eq!(a.bound_bytes, b.bound_bytes);
        }
        // Rows of layers are the updates, no more and no less.
        for run in &runs {
            let rows: Moved = run.moved_layers.iter().map(nixply_reuse::MovedLayers::total).sum();
            prop_assert_eq!(rows, run.total.pull);
        }
    }

    #[test]
    fn a_run_does_not_depend_on_the_runs_beside_it(fleet in any_fleet(), max_layers in 1_usize..6) {
        let planners = || names().filter_map(|name| planner(name, max_layers, Some(2)));
        let settings = Settings::default();
        let together = replay(&fleet, planners().collect(), &settings, &mut NoClock).unwrap();
        for (planner, beside) in planners().zip(together) {
            let alone = replay(&fleet, vec![planner], &settings, &mut NoClock).unwrap();
            prop_assert_eq!(&alone[0], &beside);
            if let Some(max_layers) = beside.max_layers {
                prop_assert!(beside.most_layers <= max_layers);
            }
        }
    }
}
