//! What holds of every packer, whatever the closure.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{Budget, Catalog, PackError, PackOptions, Packer, Packing};
use nixply_store::Closure;
use nixply_testkit::closures::{
    TestPath, any_budget, any_paths, check_packing, closure, reordered,
};
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::BTreeMap;

/// The digits of a store path's hash part, ascending.
const BASE32_DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Packs; `fleet` with a catalog of two sets, which leaves out what the last root alone needs.
fn pack(closure: &Closure, options: &PackOptions<'_>) -> Result<Packing, PackError> {
    let catalog = (options.packer == Packer::Fleet).then(|| {
        let mut roots: Vec<_> = closure.by_name();
        roots.retain(|&path| closure.referrers(path).len() == 0);
        let path = |at: usize| closure.info(roots[at]).path.clone();
        let sets = BTreeMap::from([
            (
                "all but one".to_owned(),
                (0..(roots.len() - 1).max(1)).map(path).collect(),
            ),
            ("first".to_owned(), vec![path(0)]),
        ]);
        Catalog::new(closure, &sets, 2).unwrap()
    });
    let options = PackOptions {
        catalog: catalog.as_ref(),
        ..*options
    };
    nixply_pack::pack(closure, &options)
}

fn any_packer() -> impl Strategy<Value = Packer> {
    select(&Packer::ALL[..])
}

fn any_paths_and_budget() -> impl Strategy<Value = (Vec<TestPath>, Budget)> {
    any_paths().prop_flat_map(|paths| {
        let budget = any_budget(paths.len());
        (Just(paths), budget)
    })
}

/// The same paths under other hash parts of the same order.
fn renamed(paths: &[TestPath]) -> Vec<TestPath> {
    let mut hash_parts: Vec<&str> = paths.iter().map(|path| &path.base_name[..32]).collect();
    hash_parts.sort_unstable();
    let other_hash_part = |number: usize| {
        let digit = |at: u32| char::from(BASE32_DIGITS[number >> (5 * at) & 31]);
        format!(
            "{:0>28}{}{}{}{}",
            "",
            digit(3),
            digit(2),
            digit(1),
            digit(0)
        )
    };
    let renamed = |path: &TestPath| {
        let number = hash_parts.binary_search(&&path.base_name[..32]).unwrap();
        TestPath {
            base_name: other_hash_part(number) + &path.base_name[32..],
            ..path.clone()
        }
    };
    paths.iter().map(renamed).collect()
}

fn packed_names(closure: &Closure, packer: Packer, budget: Budget) -> Vec<Vec<String>> {
    let packing = pack(closure, &PackOptions::new(packer, budget)).unwrap();
    let name = |path: &_| closure.info(*path).path.base_name().to_owned();
    let layers = packing.layers.iter();
    layers
        .map(|layer| layer.paths.iter().map(name).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn each_path_is_packed_once_within_the_budget(
        (paths, budget) in any_paths_and_budget(),
        packer in any_packer(),
    ) {
        let closure = closure(&paths);
        match pack(&closure, &PackOptions::new(packer, budget)) {
            Ok(packing) => {
                prop_assert_eq!(packing.packer, packer.id());
                check_packing(&closure, &packing, budget);
            }
            Err(error) => {
                prop_assert_eq!(packer, Packer::PerPath);
                prop_assert!(budget.available() < paths.len());
                prop_assert_eq!(error, PackError::NoRoom {
                    max_layers: budget.max_layers,
                    reserved_layers: budget.reserved_layers,
                    needed: budget.reserved_layers + paths.len(),
                });
            }
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(
        (paths, order) in any_paths().prop_flat_map(|paths| {
            let order: Vec<usize> = (0..paths.len()).collect();
            (Just(paths), Just(order).prop_shuffle())
        }),
        packer in any_packer(),
        extra in 0..30_usize,
    ) {
        let enough = if packer == Packer::PerPath { paths.len() } else { 1 };
        let budget = Budget { max_layers: enough + extra, reserved_layers: 0 };
        prop_assert_eq!(
            pack(&closure(&paths), &PackOptions::new(packer, budget)),
            pack(&closure(&reordered(&paths, &order)), &PackOptions::new(packer, budget))
        );
    }

    #[test]
    fn other_hashes_of_the_same_order_change_no_plan(
        paths in any_paths(),
        packer in any_packer(),
        extra in 0..30_usize,
    ) {
        let enough = if packer == Packer::PerPath { paths.len() } else { 1 };
        let budget = Budget { max_layers: enough + extra, reserved_layers: 0 };
        prop_assert_eq!(
            pack(&closure(&paths), &PackOptions::new(packer, budget)),
            pack(&closure(&renamed(&paths)), &PackOptions::new(packer, budget))
        );
    }

    /// Where names are unique, nothing but names, sizes and references decides: any other hashes give the same plan.
    /// nix2container breaks ties by hash, and auto-layer takes equal sizes in the order of hashes.
    #[test]
    fn unique_names_make_hashes_irrelevant(
        paths in any_paths(),
        order in any::<u64>(),
        packer in select(vec![Packer::Popularity, Packer::Size, Packer::PerPath]),
        extra in 0..30_usize,
    ) {
        let named = |rotation: usize| -> Vec<TestPath> {
            let hash = |at: usize| format!("{:0>31}{}", "", char::from(BASE32_DIGITS[at]));
            paths.iter().enumerate().map(|(at, path)| TestPath {
                base_name: format!("{}-{}{at}", hash((at + rotation) % 32), &path.base_name[33..]),
                ..path.clone()
            }).collect()
        };
        let enough = if packer == Packer::PerPath { paths.len() } else { 1 };
        let budget = Budget { max_layers: enough + extra, reserved_layers: 0 };
        let names_alone = |layers: Vec<Vec<String>>| -> Vec<Vec<String>> {
            layers.iter().map(|layer| layer.iter().map(|name| name[33..].to_owned()).collect()).collect()
        };
        let rotation = usize::try_from(order % 32).unwrap();
        prop_assert_eq!(
            names_alone(packed_names(&closure(&named(0)), packer, budget)),
            names_alone(packed_names(&closure(&named(rotation)), packer, budget))
        );
    }

    #[test]
    fn per_path_puts_references_below(paths in any_paths()) {
        let closure = closure(&paths);
        let budget = Budget { max_layers: paths.len(), reserved_layers: 0 };
        let packing = pack(&closure, &PackOptions::new(Packer::PerPath, budget)).unwrap();
        let layers: Vec<_> = packing.layers.into_iter().flat_map(|layer| layer.paths).collect();
        let mut below = vec![false; layers.len()];
        for path in layers {
            for reference in closure.references(path) {
                prop_assert!(below[reference.as_usize()]);
            }
            below[path.as_usize()] = true;
        }
    }
}

/// A row of `n` diamonds, named by their height: the number of walks doubles with each.
fn diamonds(n: usize) -> Vec<TestPath> {
    let hash = |at: usize| {
        let digit = |place: u32| char::from(BASE32_DIGITS[at >> (5 * place) & 31]);
        format!("{:0>30}{}{}", "", digit(1), digit(0))
    };
    (0..=3 * n)
        .map(|at| TestPath {
            base_name: format!("{}-height{:04}", hash(at), at.div_ceil(3)),
            nar_size_bytes: 4096,
            references: match at % 3 {
                0 if at == 0 => vec![],
                0 => vec![at - 2, at - 1],
                side => vec![at - side],
            },
        })
        .collect()
}

/// 2^100 walks and more, which neither 64 bits nor a float can tell apart: lower paths are always more popular.
#[test]
fn popularity_counts_beyond_64_bits() {
    let paths = diamonds(100);
    let closure = closure(&paths);
    let budget = Budget {
        max_layers: paths.len(),
        reserved_layers: 0,
    };
    let order = packed_names(&closure, Packer::Popularity, budget).concat();
    let expected: Vec<&str> = paths.iter().map(|path| path.base_name.as_str()).collect();
    // Within a diamond both sides are equally popular, and the path above them is less so.
    assert_eq!(order, expected);
}

#[test]
fn too_few_layers_say_how_many_are_needed() {
    let closure = closure(&diamonds(1));
    let budget = |max_layers| Budget {
        max_layers,
        reserved_layers: 2,
    };
    let error = |packer, max_layers| {
        pack(&closure, &PackOptions::new(packer, budget(max_layers)))
            .unwrap_err()
            .to_string()
    };
    let one_of_one = Budget {
        max_layers: 1,
        reserved_layers: 1,
    };
    let error_of_one = pack(&closure, &PackOptions::new(Packer::Solo, one_of_one)).unwrap_err();
    assert_eq!(
        error_of_one.to_string(),
        "1 layer is too few: 1 goes to the base image and the root files, expected at least 2 in all"
    );
    for packer in Packer::ALL {
        let needed = if packer == Packer::PerPath { 6 } else { 3 };
        assert_eq!(
            error(packer, 2),
            format!(
                "2 layers are too few: 2 go to the base image and the root files, expected at least {needed} in all"
            )
        );
        assert!(pack(&closure, &PackOptions::new(packer, budget(needed))).is_ok());
    }
    assert!(error(Packer::PerPath, 5).ends_with("expected at least 6 in all"));
}
