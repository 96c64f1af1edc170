//! Drawn cases: a closure and everything that its packing depends on.

use nixply_pack::{Budget, Catalog, PackOptions, Packer, Packing, pack};
use nixply_store::{Closure, PathIdx, StorePath};
use nixply_testkit::closures::{
    TestPath, any_budget, any_many_paths, any_paths, any_sets, closure,
};
use nixply_testkit::recorded::Sets;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Prior = Vec<Vec<StorePath>>;
pub(crate) type Paths = BTreeSet<PathIdx>;

/// A closure and everything that its packing depends on.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) paths: Vec<TestPath>,
    pub(crate) budget: Budget,
    /// The closure that the catalog was made of, its sets and the level; none: `solo`.
    pub(crate) catalog: Option<(Vec<TestPath>, Sets, u32)>,
    pub(crate) prior: Prior,
    pub(crate) volatile: Vec<StorePath>,
}

impl Case {
    pub(crate) fn closure(&self) -> Closure {
        closure(&self.paths)
    }

    pub(crate) fn catalog(&self) -> Option<Catalog> {
        let (paths, sets, level) = self.catalog.as_ref()?;
        Some(Catalog::new(&closure(paths), sets, *level).unwrap())
    }

    pub(crate) fn packed(&self) -> Packing {
        let closure = self.closure();
        let catalog = self.catalog();
        let volatile = self.volatile.iter().map(|path| closure.find(path).unwrap());
        let options = PackOptions {
            catalog: catalog.as_ref(),
            prior: &self.prior,
            volatile: &volatile.collect::<Vec<_>>(),
            ..PackOptions::new(Packer::auto(catalog.is_some()), self.budget)
        };
        pack(&closure, &options).unwrap()
    }

    /// The same case with other base names.
    pub(crate) fn renamed(&self, rename: impl Fn(&str) -> String) -> Self {
        let test_paths = |paths: &[TestPath]| {
            let renamed = |path: &TestPath| TestPath {
                base_name: rename(&path.base_name),
                ..path.clone()
            };
            paths.iter().map(renamed).collect()
        };
        let store_paths = |paths: &Vec<StorePath>| {
            let renamed = paths
                .iter()
                .map(|path| store_path(&rename(path.base_name())));
            renamed.collect::<Vec<_>>()
        };
        Self {
            paths: test_paths(&self.paths),
            budget: self.budget,
            catalog: self.catalog.as_ref().map(|(paths, sets, level)| {
                let sets = sets
                    .iter()
                    .map(|(name, roots)| (name.clone(), store_paths(roots)));
                (test_paths(paths), sets.collect(), *level)
            }),
            prior: self.prior.iter().map(store_paths).collect(),
            volatile: store_paths(&self.volatile),
        }
    }
}

pub(crate) fn store_path(base_name: &str) -> StorePath {
    StorePath::new(base_name).unwrap()
}

/// The same name under another hash.
pub(crate) fn other_hash(base_name: &str) -> String {
    let first = if base_name.starts_with('0') { "1" } else { "0" };
    format!("{first}{}", &base_name[1..])
}

/// The closure at another time: some paths under other hashes, some gone, a new one.
pub(crate) fn any_mutation(paths: &[TestPath]) -> impl Strategy<Value = Vec<TestPath>> + use<> {
    let paths = paths.to_vec();
    vec(0..4_u32, paths.len()).prop_map(move |fates| {
        let mut mutated = paths.clone();
        for (path, _) in mutated
            .iter_mut()
            .zip(&fates)
            .filter(|(_, fate)| **fate == 1)
        {
            path.base_name = other_hash(&path.base_name);
        }
        let gone = |at: usize| fates[at] == 0 && fates.iter().any(|fate| *fate > 0);
        let mut place = BTreeMap::new();
        for at in (0..paths.len()).filter(|&at| !gone(at)) {
            place.insert(at, place.len());
        }
        let mut left: Vec<TestPath> = (place.keys())
            .map(|&at| TestPath {
                references: (mutated[at].references.iter())
                    .filter_map(|to| place.get(to).copied())
                    .collect(),
                ..mutated[at].clone()
            })
            .collect();
        left.push(TestPath {
            base_name: format!("{}-new", "0".repeat(32)),
            nar_size_bytes: 77_777,
            references: vec![0],
        });
        left
    })
}

/// Layers of anything: paths twice in one or in two, unknown ones, none at all.
pub(crate) fn any_layers(paths: &[TestPath]) -> impl Strategy<Value = Prior> + use<> {
    let mut names: Vec<StorePath> = paths
        .iter()
        .map(|path| store_path(&path.base_name))
        .collect();
    names.push(store_path(&other_hash(&paths[0].base_name)));
    vec(vec(prop::sample::select(names), 0..4), 0..40)
}

pub(crate) fn any_prior(paths: &[TestPath]) -> impl Strategy<Value = Prior> + use<> {
    let earlier = |paths: Vec<TestPath>| {
        let budget = any_budget(paths.len());
        (Just(paths), budget).prop_map(|(paths, budget)| {
            let before = closure(&paths);
            let packing = pack(&before, &PackOptions::new(Packer::Solo, budget)).unwrap();
            layers_by_path(&before, &packing)
        })
    };
    prop_oneof![
        3 => Just(Prior::new()),
        1 => earlier(paths.to_vec()),
        2 => any_mutation(paths).prop_flat_map(earlier),
        1 => any_layers(paths),
        // A layer for each path, which may be more than there is room for.
        1 => Just(paths.iter().map(|path| vec![store_path(&path.base_name)]).collect()),
    ]
}

pub(crate) fn any_catalog(
    paths: &[TestPath],
) -> impl Strategy<Value = Option<(Vec<TestPath>, Sets, u32)>> + use<> {
    let of = |paths: Vec<TestPath>| {
        let sets = any_sets(&paths);
        (Just(paths), sets, 0..12_u32)
            .prop_filter("a set has a path", |(_, sets, _)| {
                sets.values().any(|set| !set.is_empty())
            })
            .prop_map(Some)
    };
    prop_oneof![
        Just(None),
        of(paths.to_vec()),
        any_mutation(paths).prop_flat_map(of),
    ]
}

pub(crate) fn any_case_of(
    paths: impl Strategy<Value = Vec<TestPath>>,
) -> impl Strategy<Value = Case> {
    paths.prop_flat_map(|paths| {
        let names: Vec<StorePath> = paths
            .iter()
            .map(|path| store_path(&path.base_name))
            .collect();
        let volatile = prop_oneof![
            3 => Just(Vec::new()),
            1 => vec(prop::sample::select(names), 1..3),
        ];
        let budget = any_budget(paths.len());
        let catalog = any_catalog(&paths);
        let prior = any_prior(&paths);
        (Just(paths), budget, catalog, prior, volatile).prop_map(
            |(paths, budget, catalog, prior, volatile)| Case {
                paths,
                budget,
                catalog,
                prior,
                volatile,
            },
        )
    })
}

pub(crate) fn any_case() -> impl Strategy<Value = Case> {
    any_case_of(prop_oneof![4 => any_paths(), 1 => any_many_paths()])
}

/// Numbers behind all names, so that no two are equal.
pub(crate) fn with_numbers(mut paths: Vec<TestPath>) -> Vec<TestPath> {
    for (at, path) in paths.iter_mut().enumerate() {
        path.base_name = format!("{}{at}", path.base_name);
    }
    paths
}

pub(crate) fn layers_by_path(closure: &Closure, packing: &Packing) -> Vec<Vec<StorePath>> {
    let path = |path: &PathIdx| closure.info(*path).path.clone();
    let layers = packing.layers.iter();
    layers
        .map(|layer| layer.paths.iter().map(path).collect())
        .collect()
}

pub(crate) fn reach(start: PathIdx, next: impl Fn(PathIdx) -> Vec<PathIdx>) -> Paths {
    let mut met = Paths::from([start]);
    let mut todo = vec![start];
    while let Some(path) = todo.pop() {
        todo.extend(next(path).into_iter().filter(|&path| met.insert(path)));
    }
    met
}

/// A path and all that it needs.
pub(crate) fn below(closure: &Closure, path: PathIdx) -> Paths {
    reach(path, |path| closure.references(path).collect())
}

pub(crate) fn volatile_paths(packing: &Packing) -> Paths {
    packing.volatile.iter().map(|(path, _)| *path).collect()
}

/// The sets that hold each path, by the closure that the catalog was made of.
pub(crate) fn sets_of(case: &Case) -> BTreeMap<StorePath, BTreeSet<u32>> {
    let mut sets_of: BTreeMap<StorePath, BTreeSet<u32>> = BTreeMap::new();
    if let Some((paths, sets, _)) = &case.catalog {
        let collection = closure(paths);
        for (number, root) in (0..)
            .zip(sets.values())
            .flat_map(|(number, roots)| roots.iter().map(move |root| (number, root)))
        {
            for path in below(&collection, collection.find(root).unwrap()) {
                let path = collection.info(path).path.clone();
                sets_of.entry(path).or_default().insert(number);
            }
        }
    }
    sets_of
}
