//! Second implementations of `solo`, the catalog and `fleet`, slow and literal, step by step after `docs/packing.md`:
//! sets, transitive closures written out, no shortcut. The real ones must agree with them layer by layer, with all
//! reasons and riders. Names are made unique, so that the name alone orders paths.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

mod catalog;
mod image;

use nixply_pack::{Budget, Catalog, PackOptions, PackedLayer, Packer, Packing, Rider, pack};
use nixply_store::{Closure, PathIdx, StorePath};
use nixply_testkit::closures::{TestPath, any_many_paths, any_paths, any_sets, closure};
use nixply_testkit::recorded::{Sets, closure_lines, fleet, recorded_closures};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

use catalog::*;
use image::*;

/// Packs by the letter.
fn packed(
    closure: &Closure,
    catalog: Option<&RefCatalog>,
    available: usize,
    given: &[PathIdx],
    prior: &[Vec<StorePath>],
) -> Packing {
    let mut image = Image {
        graph: Graph::new(closure),
        catalog,
        available,
        volatile: BTreeMap::new(),
        alone: Vec::new(),
        hosts: BTreeMap::new(),
    };
    if given.is_empty() {
        image.guess_volatile();
    } else {
        image.take_given(given);
    }
    let layers = image.layers(prior);
    let packed_layer = |layer: RefLayer| {
        let mut sets: BTreeSet<u32> = (0..catalog.map_or(0, |catalog| catalog.set_count)).collect();
        for &path in &layer.paths {
            let none = BTreeSet::new();
            let of_path = catalog.and_then(|catalog| catalog.sets_of.get(image.graph.path(path)));
            sets = &sets & of_path.unwrap_or(&none);
        }
        let rider = |&path: &u32| {
            let host = PathIdx(*image.hosts.get(&path)?);
            let path = PathIdx(path);
            Some(Rider { path, host })
        };
        PackedLayer {
            riders: layer.paths.iter().filter_map(rider).collect(),
            paths: layer.paths.into_iter().map(PathIdx).collect(),
            reason: layer.reason,
            sets: sets.into_iter().collect(),
        }
    };
    let unknown = |&&path: &&u32| {
        catalog.is_some() && !image.is_shared(path) && !image.volatile.contains_key(&path)
    };
    let packer = if catalog.is_some() {
        Packer::Fleet
    } else {
        Packer::Solo
    };
    Packing {
        packer: packer.id(),
        layers: layers.into_iter().map(packed_layer).collect(),
        volatile: (image.volatile.iter())
            .map(|(&path, &reason)| (PathIdx(path), reason))
            .collect(),
        unknown: (image.graph.all.iter().filter(unknown))
            .map(|&path| PathIdx(path))
            .collect(),
    }
}

/// The same paths with a number behind each name that occurs more than once.
fn with_unique_names(mut paths: Vec<TestPath>) -> Vec<TestPath> {
    let mut seen = BTreeSet::new();
    for (at, path) in paths.iter_mut().enumerate() {
        if !seen.insert(path.base_name[33..].to_owned()) {
            path.base_name = format!("{}.{at}", path.base_name);
            assert!(seen.insert(path.base_name[33..].to_owned()));
        }
    }
    paths
}

/// The real catalog and the one by the letter, which agree.
fn both_catalogs(collection: &Closure, sets: &Sets, level: u32) -> (Catalog, RefCatalog) {
    let real = Catalog::new(collection, sets, level).unwrap();
    let expected = catalog(&Graph::new(collection), sets, level);
    let groups = real.groups().iter().map(|group| RefGroup {
        head: group.head.clone(),
        paths: group.paths.iter().cloned().collect(),
        host: group.host.clone(),
        sets: group.sets.iter().copied().collect(),
    });
    assert_eq!(groups.collect::<Vec<_>>(), expected.groups);
    (real, expected)
}

fn check(
    image: &Closure,
    catalogs: Option<&(Catalog, RefCatalog)>,
    available: usize,
    given: &[PathIdx],
    prior: &[Vec<StorePath>],
) {
    let packer = Packer::auto(catalogs.is_some());
    let budget = Budget {
        max_layers: available + 1,
        reserved_layers: 1,
    };
    let options = PackOptions {
        catalog: catalogs.map(|(real, _)| real),
        volatile: given,
        prior,
        ..PackOptions::new(packer, budget)
    };
    let reference = catalogs.map(|(_, reference)| reference);
    assert_eq!(
        pack(image, &options).unwrap(),
        packed(image, reference, available, given, prior),
        "{packer} in {available} layers"
    );
}

fn any_image() -> impl Strategy<Value = Vec<TestPath>> {
    prop_oneof![3 => any_paths(), 1 => any_many_paths()].prop_map(with_unique_names)
}

/// Sets, and what an image of the fleet adds and leaves out: some positions.
fn any_fleet() -> impl Strategy<Value = (Vec<TestPath>, Sets, Vec<usize>)> {
    any_image().prop_flat_map(|paths| {
        let sets = any_sets(&paths);
        let roots = prop::collection::vec(0..paths.len(), 1..6);
        (Just(paths), sets, roots)
    })
}

/// Layers of an image with some of the same paths.
fn prior_of(paths: &[TestPath], share: usize, available: usize) -> Vec<Vec<StorePath>> {
    let store_path = |path: &TestPath| StorePath::new(&path.base_name).unwrap();
    let roots: Vec<StorePath> = paths.iter().step_by(share).map(store_path).collect();
    let before = closure(paths).restrict(&roots).unwrap();
    let budget = Budget {
        max_layers: available,
        reserved_layers: 0,
    };
    let packing = pack(&before, &PackOptions::new(Packer::Size, budget)).unwrap();
    let path = |path: &PathIdx| before.info(*path).path.clone();
    let layers = packing.layers.iter();
    layers
        .map(|layer| layer.paths.iter().map(path).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn solo_agrees(
        paths in any_image(),
        available in 1..130_usize,
        given in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        prior in prop::option::weighted(0.3, (1..5_usize, 1..40_usize)),
    ) {
        let image = closure(&paths);
        let given: Vec<PathIdx> = given.iter().map(|given| {
            PathIdx(u32::try_from(given.index(paths.len())).unwrap())
        }).collect();
        let prior = prior.map_or_else(Vec::new, |(share, layers)| prior_of(&paths, share, layers));
        for available in [available, 1 + available % paths.len()] {
            check(&image, None, available, &given, &prior);
        }
    }

    #[test]
    fn fleet_agrees(
        (paths, sets, roots) in any_fleet(),
        level in 0..12_u32,
        available in 1..40_usize,
        prior in prop::option::weighted(0.3, (1..5_usize, 1..40_usize)),
    ) {
        prop_assume!(sets.values().any(|roots| !roots.is_empty()));
        let collection = closure(&paths);
        let catalogs = both_catalogs(&collection, &sets, level);
        let roots: Vec<StorePath> = roots.into_iter().map(|root| {
            StorePath::new(&paths[root].base_name).unwrap()
        }).collect();
        let prior = prior.map_or_else(Vec::new, |(share, layers)| prior_of(&paths, share, layers));
        for image in [&collection, &collection.restrict(&roots).unwrap()] {
            check(image, Some(&catalogs), available, &[], &prior);
        }
    }
}

#[test]
fn a_small_real_closure_agrees_in_any_number_of_layers() {
    let paths = closure_lines(include_str!("../golden/closure.txt"));
    let image = closure(&paths);
    for available in (1..=paths.len() + 2).chain([50, 60, 61, 100]) {
        check(&image, None, available, &[], &[]);
    }
    let root = |at: usize| vec![StorePath::new(&paths[at].base_name).unwrap()];
    let sets = Sets::from([
        ("certificates".to_owned(), root(2)),
        ("gd".to_owned(), root(10)),
        ("nginx".to_owned(), root(28)),
        ("shell".to_owned(), [root(4), root(20)].concat()),
        ("xslt".to_owned(), root(0)),
    ]);
    for level in [0, 1, 2, 3, 4, 5, 6, 8, Catalog::MAX_LEVEL] {
        let catalogs = both_catalogs(&image, &sets, level);
        for available in (1..=paths.len() + 2).chain([60, 61]) {
            check(&image, Some(&catalogs), available, &[], &[]);
        }
    }
}

#[test]
fn large_real_closures_agree() {
    for paths in recorded_closures().into_values() {
        let n = paths.len();
        let image = closure(&with_unique_names(paths));
        for available in [1, 2, 25, 50, 60, 61, 100, n - 1, n] {
            check(&image, None, available, &[], &[]);
        }
    }
}

/// Projects of a fleet at one pin, as the laboratory composes them.
#[test]
fn the_images_of_a_fleet_agree() {
    let (mut collections, projects) = fleet("draw-7");
    let mut collection = collections.swap_remove(0);
    collection.paths = with_unique_names(collection.paths);
    let images: Vec<Closure> = (projects.iter())
        .map(|project| closure(&collection.image(project)))
        .collect();
    for level in [0, 4, 10] {
        let whole = closure(&collection.paths);
        let catalogs = both_catalogs(&whole, &collection.sets(), level);
        for (number, image) in images.iter().enumerate() {
            for available in [[25, 99], [60, 61]][number % 2] {
                check(image, Some(&catalogs), available, &[], &[]);
            }
        }
    }
    for image in &images {
        for available in [50, 99, 124] {
            check(image, None, available, &[], &[]);
        }
    }
}
