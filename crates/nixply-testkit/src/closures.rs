//! Closures for the tests of packers: drawn by proptest, made from a seed, and the check of any packing.
//!
//! ```
//! use nixply_pack::{Budget, PackOptions, Packer, pack};
//! use nixply_testkit::closures::{check_packing, random_closure};
//!
//! let closure = random_closure(7, 100, 400);
//! let budget = Budget { max_layers: 20, reserved_layers: 1 };
//! let packing = pack(&closure, &PackOptions::new(Packer::Size, budget)).unwrap();
//! check_packing(&closure, &packing, budget);
//! ```

#![expect(
    clippy::expect_used,
    reason = "a test whose own input is no closure has to end there"
)]

use nixply_pack::{Budget, Packing};
use nixply_store::{Closure, NarHash, PathInfo, StoreDir, StorePath};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, BTreeSet};

/// The digits of a store path's hash part, ascending.
const BASE32_DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Names that collide, are each other's beginnings, or have characters that sort around `-`.
const NAMES: [&str; 12] = [
    "a",
    "a-",
    "a-1.0",
    "a+x",
    "a.b",
    "a=1",
    "lib",
    "lib-1.0",
    "lib-1.0-dev",
    "A",
    "_x",
    "zlib-1.2",
];

/// A store path as tests write it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestPath {
    /// Hash part, `-` and name.
    pub base_name: String,
    /// The size of the NAR, in bytes.
    pub nar_size_bytes: u64,
    /// Positions, in the same list, of what it refers to; its own for a self reference.
    pub references: Vec<usize>,
}

/// The closure of a list of paths in `/nix/store`. NAR hashes are derived from the base names.
///
/// # Panics
///
/// If the list is no closure.
#[must_use]
pub fn closure(paths: &[TestPath]) -> Closure {
    let store_path = |path: &TestPath| {
        StorePath::new(&path.base_name).expect("a test's base names are store paths")
    };
    let records = paths.iter().map(|path| {
        let info = PathInfo {
            path: store_path(path),
            nar_hash: nar_hash(&path.base_name),
            nar_size_bytes: path.nar_size_bytes,
            ca: None,
            deriver: None,
            signatures: Vec::new(),
            registration_time_secs: None,
        };
        let references = path.references.iter().map(|&to| store_path(&paths[to]));
        (info, references.collect())
    });
    Closure::new(StoreDir::default(), records.collect()).expect("a test's paths are a closure")
}

/// A NAR hash that depends on the base name alone. It is the hash of no NAR.
#[must_use]
pub fn nar_hash(base_name: &str) -> NarHash {
    let seed = base_name
        .bytes()
        .fold(0, |state, byte| SplitMix(state ^ u64::from(byte)).next());
    let mut random = SplitMix(seed);
    let mut bytes = [0; 32];
    for word in bytes.chunks_mut(8) {
        word.copy_from_slice(&random.next().to_le_bytes());
    }
    NarHash::from_bytes(bytes)
}

/// A closure of `n_paths` paths with `n_references` references, or as many as such a graph can have.
///
/// Shaped as real ones: half of the references go to few paths near the bottom, as to a C library; sizes span from
/// 100 bytes to 100 MB; some names occur several times; input order says nothing about depth. The same arguments give the
/// same closure on every machine.
///
/// # Panics
///
/// If `n_paths` is 0.
#[must_use]
pub fn random_closure(seed: u64, n_paths: usize, n_references: usize) -> Closure {
    closure(&random_paths(seed, n_paths, n_references))
}

/// The list behind [`random_closure`]: a path refers to earlier ones only.
#[must_use]
pub fn random_paths(seed: u64, n_paths: usize, n_references: usize) -> Vec<TestPath> {
    let mut random = SplitMix(seed);
    let mut references_left = n_references;
    let mut paths = Vec::with_capacity(n_paths);
    for position in 0..n_paths {
        let degree = references_left.div_ceil(n_paths - position).min(position);
        references_left -= degree;
        let mut references = BTreeSet::new();
        while references.len() < degree {
            let mut to = random.below(position);
            if random.below(2) == 0 {
                to = to * random.below(position) / position;
                to = to * random.below(position) / position;
            }
            while !references.insert(to) {
                to = (to + 1) % position;
            }
        }
        let magnitude = random.below(21);
        paths.push(TestPath {
            base_name: format!(
                "{}-package{}-{}",
                random.hash_part(),
                random.below(n_paths),
                random.below(3)
            ),
            nar_size_bytes: 100 + (random.next() >> 44 >> (20 - magnitude)) * 100,
            references: references.into_iter().collect(),
        });
    }
    paths
}

/// Lists of paths of every shape that packers stumble over: chains, antichains, stars both ways, rows of diamonds,
/// random graphs with many roots or one; equal names, equal sizes, empty NARs, self references. In no particular order.
pub fn any_paths() -> impl Strategy<Value = Vec<TestPath>> {
    any_shape()
        .prop_flat_map(|shape| {
            let len = shape.len();
            let details = (
                select(&NAMES[..]),
                prop_oneof![
                    Just(0),
                    Just(96),
                    Just(4096),
                    (0..40_u32, 1..=16_u64).prop_map(|(magnitude, size)| size << magnitude >> 4),
                    1..1_u64 << 40,
                ],
                any::<bool>(),
            );
            (Just(shape), vec(details, len), any::<u64>())
        })
        .prop_map(|(shape, details, seed)| {
            let mut random = SplitMix(seed);
            let mut paths = Vec::with_capacity(shape.len());
            for (position, (mut references, (name, nar_size_bytes, refers_to_itself))) in
                shape.into_iter().zip(details).enumerate()
            {
                if refers_to_itself {
                    references.push(position);
                }
                paths.push(TestPath {
                    base_name: format!("{}-{name}", random.hash_part()),
                    nar_size_bytes,
                    references,
                });
            }
            paths
        })
        .prop_flat_map(|paths| {
            let order: Vec<usize> = (0..paths.len()).collect();
            (Just(paths), Just(order).prop_shuffle())
        })
        .prop_map(|(paths, order)| reordered(&paths, &order))
}

/// Lists of 60 to 160 paths as [`random_paths`] makes them, so that 60 layers and more are too few for all.
pub fn any_many_paths() -> impl Strategy<Value = Vec<TestPath>> {
    (any::<u64>(), 60..160_usize, 0..8_usize)
        .prop_map(|(seed, n_paths, degree)| random_paths(seed, n_paths, n_paths * degree))
}

/// Package sets over some paths: up to six, each with some roots, or none; equal ones and such that leave paths out
/// among them.
///
/// # Panics
///
/// If a base name is none of a store path.
pub fn any_sets(
    paths: &[TestPath],
) -> impl Strategy<Value = BTreeMap<String, Vec<StorePath>>> + use<> {
    let store_paths: Vec<StorePath> = (paths.iter())
        .map(|path| StorePath::new(&path.base_name).expect("a test's base names are store paths"))
        .collect();
    let roots = vec(select(store_paths), 0..5);
    vec(roots, 1..7).prop_map(|mut sets| {
        if sets.len() > 3 {
            let equal = sets[1].clone();
            sets[2] = equal;
        }
        let names = (0..).map(|number| format!("set{number}"));
        names.zip(sets).collect()
    })
}

/// The same paths with `order[i]` at place `i`.
///
/// # Panics
///
/// If `order` leaves a path out.
#[must_use]
pub fn reordered(paths: &[TestPath], order: &[usize]) -> Vec<TestPath> {
    let mut place = vec![usize::MAX; paths.len()];
    for (to, &from) in order.iter().enumerate() {
        place[from] = to;
    }
    let moved = |&from: &usize| TestPath {
        references: paths[from].references.iter().map(|&r| place[r]).collect(),
        ..paths[from].clone()
    };
    order.iter().map(moved).collect()
}

/// Budgets around the size of a closure of `n_paths`: one layer for paths, one too few for all, just enough, one more,
/// and anything; with some layers reserved.
pub fn any_budget(n_paths: usize) -> impl Strategy<Value = Budget> {
    let available = prop_oneof![
        Just(1),
        Just(n_paths.saturating_sub(1).max(1)),
        Just(n_paths),
        Just(n_paths + 1),
        1..=n_paths + 2,
    ];
    (available, 0..4_usize).prop_map(|(available, reserved_layers)| Budget {
        max_layers: available + reserved_layers,
        reserved_layers,
    })
}

/// For each path the earlier ones that it refers to.
type Shape = Vec<Vec<usize>>;

fn any_shape() -> impl Strategy<Value = Shape> {
    let shape = |references: fn(usize, usize) -> Vec<usize>| {
        (1..30_usize).prop_map(move |len| (0..len).map(|at| references(at, len)).collect())
    };
    prop_oneof![
        // A chain, an antichain, a star around its lowest path, a star around its highest.
        1 => shape(|at, _| at.checked_sub(1).into_iter().collect()),
        1 => shape(|_, _| Vec::new()),
        1 => shape(|at, _| if at == 0 { Vec::new() } else { vec![0] }),
        1 => shape(|at, len| if at + 1 == len { (0..at).collect() } else { Vec::new() }),
        // Diamonds on top of each other: 0; 1 and 2 on it; 3 on both; 4 and 5 on it …
        1 => shape(|at, _| match at % 3 {
            0 if at == 0 => Vec::new(),
            0 => vec![at - 2, at - 1],
            side => vec![at - side],
        }),
        5 => (1..30_usize, 0..100_u32).prop_flat_map(|(len, percent)| {
            let row = move |at: usize| {
                vec(0..100_u32, at).prop_map(move |draws| {
                    (0..at).filter(|&to| draws[to] < percent).collect()
                })
            };
            (0..len).map(row).collect::<Vec<_>>()
        }),
    ]
}

/// Checks what must hold of every packing of a closure.
///
/// # Panics
///
/// With the invariant that is broken.
pub fn check_packing(closure: &Closure, packing: &Packing, budget: Budget) {
    assert!(
        packing.layers.len() <= budget.available(),
        "{} layers for store paths, {} allowed",
        packing.layers.len(),
        budget.available()
    );
    let mut seen = BTreeSet::new();
    for (number, layer) in packing.layers.iter().enumerate() {
        assert!(!layer.paths.is_empty(), "layer {number} is empty");
        for path in &layer.paths {
            assert!(
                path.as_usize() < closure.paths().len(),
                "layer {number} has {path:?}, which is not in the closure"
            );
            assert!(
                seen.insert(path),
                "`{}` is packed twice",
                closure.info(*path).path
            );
        }
    }
    for path in closure.indices() {
        assert!(
            seen.contains(&path),
            "`{}` is in no layer",
            closure.info(path).path
        );
    }
}

/// `SplitMix64` (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): the same numbers everywhere.
pub(crate) struct SplitMix(u64);

impl SplitMix {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0. The bias of the remainder is far below what a test could see.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    pub(crate) fn hash_part(&mut self) -> String {
        (0..32)
            .map(|_| char::from(BASE32_DIGITS[self.below(32)]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_closure_has_what_was_asked_for() {
        let closure = random_closure(1, 500, 3000);
        assert_eq!(closure.paths().len(), 500);
        assert_eq!(closure.reference_count(), 3000);
    }

    #[test]
    fn references_are_as_many_as_fit() {
        assert_eq!(random_closure(1, 4, 100).reference_count(), 6);
    }

    #[test]
    fn a_seed_means_the_same_closure_everywhere() {
        let paths = random_paths(42, 3, 2);
        let text: Vec<String> = paths
            .iter()
            .map(|p| format!("{} {} {:?}", p.base_name, p.nar_size_bytes, p.references))
            .collect();
        assert_eq!(
            text,
            [
                "3jlj6x4mfzy6pwjmx708rmihimz73myx-package1-1 19924200 []",
                "42rcikaapfg184vmb1shsn66ayklnx6a-package1-0 85600 [0]",
                "fwvxx43kssl2sp7khympcbqsz02sz2q3-package2-2 495400 [0]",
            ]
        );
    }

    #[test]
    #[should_panic(expected = "is in no layer")]
    fn a_lost_path_is_noticed() {
        let closure = random_closure(1, 3, 2);
        let budget = Budget {
            max_layers: 2,
            reserved_layers: 0,
        };
        let options = nixply_pack::PackOptions::new(nixply_pack::Packer::Size, budget);
        let mut packing = nixply_pack::pack(&closure, &options).unwrap();
        packing.layers[1].paths.pop();
        check_packing(&closure, &packing, budget);
    }
}
