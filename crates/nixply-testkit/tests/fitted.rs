//! The figures of `nixply_testkit::fitted` against those of the recorded closure that it is fitted to.

use nixply_store::{Closure, PathIdx, read_closure};
use nixply_testkit::closures::closure;
use nixply_testkit::fitted::{fitted_closure, fitted_fleet, fitted_paths, path_info_json};
use std::collections::BTreeMap;

/// The quantiles of the module's table, in percent.
const QUANTILES: [usize; 9] = [0, 10, 25, 50, 75, 90, 95, 99, 100];

fn quantiles(mut values: Vec<u64>) -> Vec<u64> {
    values.sort_unstable();
    let at = |percent: usize| values[(values.len() * percent / 100).min(values.len() - 1)];
    QUANTILES.into_iter().map(at).collect()
}

/// Everything reachable along `next`, with the start.
fn reached<I: Iterator<Item = PathIdx>>(
    start: PathIdx,
    len: usize,
    next: impl Fn(PathIdx) -> I,
) -> Vec<PathIdx> {
    let mut met = vec![false; len];
    met[start.as_usize()] = true;
    let mut found = vec![start];
    let mut done = 0;
    while let Some(&path) = found.get(done) {
        done += 1;
        for to in next(path) {
            if !std::mem::replace(&mut met[to.as_usize()], true) {
                found.push(to);
            }
        }
    }
    found
}

struct Figures {
    references: Vec<u64>,
    direct_users: Vec<u64>,
    dependencies: Vec<u64>,
    users: Vec<u64>,
    heights: Vec<u64>,
    sizes: Vec<u64>,
    mean_dependencies: u64,
    roots: usize,
    implied_percent: usize,
}

fn figures(closure: &Closure) -> Figures {
    let n = closure.paths().len();
    let all = |value: &dyn Fn(PathIdx) -> u64| quantiles(closure.indices().map(value).collect());
    let below = |path| reached(path, n, |path| closure.references(path));
    let above = |path| reached(path, n, |path| closure.referrers(path));
    let mut heights = vec![0_u64; n];
    for path in closure.topological_order() {
        let lower = closure
            .references(path)
            .map(|to| heights[to.as_usize()] + 1);
        heights[path.as_usize()] = lower.max().unwrap_or(0);
    }
    let mut implied = 0;
    let mut dependencies = 0;
    for path in closure.indices() {
        let mut through = vec![false; n];
        for to in closure.references(path) {
            for further in &below(to)[1..] {
                through[further.as_usize()] = true;
            }
        }
        implied += closure
            .references(path)
            .filter(|to| through[to.as_usize()])
            .count();
        dependencies += below(path).len() as u64;
    }
    Figures {
        references: all(&|path| closure.references(path).len() as u64),
        direct_users: all(&|path| closure.referrers(path).len() as u64),
        dependencies: all(&|path| below(path).len() as u64),
        users: all(&|path| above(path).len() as u64),
        heights: all(&|path| heights[path.as_usize()]),
        sizes: all(&|path| closure.info(path).nar_size_bytes),
        mean_dependencies: dependencies / n as u64,
        roots: closure.roots().len(),
        implied_percent: implied * 100 / closure.reference_count(),
    }
}

/// Each quantile within a factor of two, counted from 1 as small numbers jump.
#[track_caller]
fn assert_near(what: &str, found: &[u64], recorded: [u64; 9]) {
    let near = |(&found, recorded): (&u64, u64)| {
        (found + 1) <= 2 * (recorded + 1) && (recorded + 1) <= 2 * (found + 1)
    };
    assert!(
        found.iter().zip(recorded).all(near),
        "{what}: {found:?}, recorded {recorded:?}"
    );
}

#[test]
fn a_closure_of_the_recorded_size_has_the_recorded_figures() {
    for seed in 1..=3 {
        let closure = fitted_closure(seed, 782, 3702);
        assert_eq!(closure.reference_count(), 3702);
        let found = figures(&closure);
        assert_near(
            "references",
            &found.references,
            [0, 1, 1, 3, 5, 9, 16, 31, 87],
        );
        assert_near(
            "users",
            &found.direct_users,
            [0, 1, 1, 2, 3, 6, 14, 51, 561],
        );
        let dependencies = [1, 2, 4, 13, 20, 51, 107, 171, 306];
        assert_near("dependencies", &found.dependencies, dependencies);
        // The middle is the loosest part of the fit: 5 recorded, 9 to 12 drawn.
        assert_near(
            "all users",
            &found.users,
            [1, 2, 3, 8, 16, 54, 94, 280, 756],
        );
        assert_eq!(found.heights, [0, 1, 2, 4, 7, 11, 13, 17, 23]);
        assert!((15..=30).contains(&found.mean_dependencies), "recorded: 22");
        assert!(
            (50..=150).contains(&found.roots),
            "{}; recorded: 72",
            found.roots
        );
        assert!((45..=58).contains(&found.implied_percent), "recorded: 52");
        // In units of 64 bytes, so that counting from 1 does not matter.
        let recorded = [
            100, 1002, 3374, 10961, 49388, 429_504, 1_059_251, 3_088_332, 14_177_889,
        ];
        let sizes: Vec<u64> = found.sizes.iter().map(|size| size / 64).collect();
        assert_near("sizes", &sizes, recorded);
    }
}

/// A larger closure has more packages, not deeper ones.
#[test]
fn heights_and_dependencies_do_not_grow_with_the_closure() {
    let found = figures(&fitted_closure(1, 4_000, 21_600));
    assert_eq!(found.heights, [0, 1, 2, 4, 7, 11, 13, 17, 23]);
    assert!((15..=45).contains(&found.mean_dependencies));
    assert!(found.users[8] > 3_000, "nearly all use the C library");
}

#[test]
fn names_end_and_repeat_as_recorded() {
    let closure = fitted_closure(1, 7_820, 37_020);
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    let mut outputs = 0;
    for info in closure.paths() {
        let name = info.path.name();
        *uses.entry(name).or_default() += 1;
        outputs += usize::from(
            ["-dev", "-bin", "-lib"]
                .iter()
                .any(|end| name.ends_with(end)),
        );
    }
    // Recorded of 782: 80 such outputs, 35 paths that share their name.
    assert!((600..=1_000).contains(&outputs), "{outputs}");
    let shared: usize = uses.values().filter(|&&uses| uses > 1).sum();
    assert!((250..=700).contains(&shared), "{shared}");
}

#[test]
fn any_size_works_and_a_seed_means_the_same_everywhere() {
    for n_paths in [1, 2, 3, 7, 40] {
        for n_references in [0, 10, 10_000] {
            let paths = fitted_paths(1, n_paths, n_references);
            assert_eq!(paths.len(), n_paths);
            assert_eq!(closure(&paths).paths().len(), n_paths);
        }
    }
    let text: Vec<String> = fitted_paths(42, 4, 5)
        .iter()
        .map(|p| format!("{} {} {:?}", p.base_name, p.nar_size_bytes, p.references))
        .collect();
    // Another text here means that every closure drawn since is another one.
    assert_eq!(
        text,
        [
            "184vmb1shsn66ayklnx6avjc2xgfwvxx-nupeto-1.13.1 1016296 []",
            "43kssl2sp7khympcbqsz02sz2q3l9nyx-kacoretozen-3.23.4 215920 [0]",
            "rdh2r3fnnfdgc956pw1mdffyxwsjq5z2-kacoretozen-3.23.4-dev 667536 [0, 1]",
            "rhjmbzgbw9s1kdryjwrb339zxasmqalh-ridiya-5.28.5 701504 [0, 2]",
        ]
    );
}

#[test]
fn the_sets_of_a_fleet_hold_every_path_as_often_as_recorded() {
    let fleet = fitted_fleet(1, 782, 3702, 71);
    assert_eq!(fleet.sets.len(), 71);
    let mut memberships = vec![0_u64; 782];
    for roots in fleet.sets.values() {
        for path in fleet.closure.reachable_from(
            &roots
                .iter()
                .filter_map(|root| fleet.closure.find(root))
                .collect::<Vec<_>>(),
        ) {
            memberships[path.as_usize()] += 1;
        }
    }
    let found = quantiles(memberships);
    assert!(found[0] > 0, "a path is in no set");
    // Recorded: 1, 1, 1, 2, 6, 18, 25, 70, 71.
    assert!(found[3] <= 4 && (3..=14).contains(&found[4]), "{found:?}");
    assert!((9..=40).contains(&found[5]) && found[8] >= 65, "{found:?}");
}

#[test]
fn the_json_is_read_back_as_the_closure() {
    let paths = fitted_paths(3, 500, 2_000);
    let read = read_closure(path_info_json(&paths).as_bytes());
    assert_eq!(read.ok(), Some(closure(&paths)));
}
