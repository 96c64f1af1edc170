//! The closure's own rules, without any form around it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use nixply_store::{
    Closure, ClosureError, MissingReference, NarHash, PathIdx, PathInfo, StoreDir, StorePath,
};

/// A store path whose hash part orders it by `n`.
fn path(n: usize, name: &str) -> StorePath {
    StorePath::new(&format!("{n:0>32}-{name}")).unwrap()
}

type Record = (PathInfo, Vec<StorePath>);

fn record(path: &StorePath, references: &[&StorePath]) -> Record {
    let info = PathInfo {
        path: path.clone(),
        nar_hash: NarHash::from_bytes([7; 32]),
        nar_size_bytes: 1,
        ca: None,
        deriver: None,
        signatures: Vec::new(),
        registration_time_secs: None,
    };
    (info, references.iter().map(|p| (*p).clone()).collect())
}

fn closure(records: Vec<Record>) -> Result<Closure, ClosureError> {
    Closure::new(StoreDir::default(), records)
}

fn names(closure: &Closure, indices: &[PathIdx]) -> Vec<String> {
    indices
        .iter()
        .map(|&idx| closure.info(idx).path.name().to_owned())
        .collect()
}

#[test]
fn neighbours_are_ascending_whatever_the_order_of_input() {
    let paths: Vec<StorePath> = (0..6).map(|n| path(n, "x")).collect();
    let closure = closure(vec![
        record(&paths[5], &[&paths[0], &paths[4], &paths[2]]),
        record(&paths[3], &[&paths[2], &paths[3], &paths[2], &paths[0]]),
        record(&paths[0], &[]),
        record(&paths[4], &[&paths[0]]),
        record(&paths[2], &[&paths[0]]),
        record(&paths[1], &[&paths[0]]),
    ])
    .unwrap();
    let references = |n| {
        closure
            .references(PathIdx(n))
            .map(|i| i.0)
            .collect::<Vec<_>>()
    };
    let referrers = |n| {
        closure
            .referrers(PathIdx(n))
            .map(|i| i.0)
            .collect::<Vec<_>>()
    };
    assert_eq!(references(5), [0, 2, 4]);
    assert_eq!(references(3), [0, 2]);
    assert!(references(0).is_empty());
    assert_eq!(referrers(0), [1, 2, 3, 4, 5]);
    assert_eq!(referrers(2), [3, 5]);
    assert!(referrers(5).is_empty());
    assert_eq!(closure.roots(), [PathIdx(1), PathIdx(3), PathIdx(5)]);
    assert_eq!(closure.reference_count(), 8);
}

#[test]
fn equal_names_follow_their_hash_in_topological_order() {
    let (b2, b1, a9, z0) = (path(2, "b"), path(1, "b"), path(9, "a"), path(0, "z"));
    let closure = closure(vec![
        record(&b2, &[]),
        record(&z0, &[]),
        record(&a9, &[&b2]),
        record(&b1, &[]),
    ])
    .unwrap();
    let order: Vec<&StorePath> = closure
        .topological_order()
        .into_iter()
        .map(|idx| &closure.info(idx).path)
        .collect();
    assert_eq!(order, [&b1, &b2, &a9, &z0]);
}

#[test]
fn a_part_is_what_its_roots_reach() {
    let [app, tool, lib, data, libc] =
        ["app", "tool", "lib", "data", "libc"].map(|name| path(0, name));
    let whole = closure(vec![
        record(&app, &[&lib]),
        record(&tool, &[&lib, &data]),
        record(&lib, &[&libc]),
        record(&data, &[]),
        record(&libc, &[]),
    ])
    .unwrap();
    assert_eq!(
        whole.restrict(std::slice::from_ref(&app)).unwrap(),
        closure(vec![
            record(&app, &[&lib]),
            record(&lib, &[&libc]),
            record(&libc, &[])
        ])
        .unwrap()
    );
    let part = whole
        .restrict(&[data.clone(), lib.clone(), data.clone()])
        .unwrap();
    assert_eq!(
        names(&part, &part.indices().collect::<Vec<_>>()),
        ["data", "lib", "libc"]
    );
    assert_eq!(names(&part, &part.roots()), ["data", "lib"]);
    assert_eq!(whole.restrict(&[app, tool]).unwrap(), whole);
    let missing = path(1, "x");
    assert_eq!(
        whole.restrict(&[lib, missing.clone()]),
        Err(ClosureError::UnknownRoot { root: missing })
    );
    assert_eq!(whole.restrict(&[]), Err(ClosureError::Empty));
}

#[test]
fn equality_is_about_what_planning_uses() {
    let (a, b) = (path(0, "a"), path(1, "b"));
    let records = || vec![record(&a, &[&b]), record(&b, &[])];
    let one = closure(records()).unwrap();
    let mut other = records();
    other[0].0.registration_time_secs = Some(1);
    other[0].0.deriver = Some(b.clone());
    other[1].0.ca = Some("text:sha256:x".to_owned());
    other[1].0.signatures = vec!["k:s".to_owned()];
    assert_eq!(one, closure(other).unwrap());
    let changed: [fn(&mut Record); 3] = [
        |(info, _)| info.nar_size_bytes = 2,
        |(info, _)| info.nar_hash = NarHash::from_bytes([8; 32]),
        |(_, references)| references.clear(),
    ];
    for change in changed {
        let mut other = records();
        change(&mut other[0]);
        assert_ne!(one, closure(other).unwrap());
    }
    assert_ne!(
        one,
        Closure::new(StoreDir::new("/x").unwrap(), records()).unwrap()
    );
    assert_ne!(one, one.restrict(&[b]).unwrap());
}

#[test]
fn duplicates_merge_their_metadata_in_any_order() {
    let a = path(0, "a");
    let with = |ca: Option<&str>, time, signatures: &[&str]| {
        let (mut info, references) = record(&a, &[]);
        info.ca = ca.map(str::to_owned);
        info.registration_time_secs = time;
        info.signatures = signatures.iter().map(|&s| s.to_owned()).collect();
        (info, references)
    };
    let one = with(None, Some(9), &["b:2", "a:1"]);
    let two = with(Some("c"), Some(4), &["b:2"]);
    let three = with(None, None, &["c:3"]);
    let merged = closure(vec![one.clone(), two.clone(), three.clone()]).unwrap();
    assert_eq!(
        merged.paths(),
        [with(Some("c"), Some(4), &["a:1", "b:2", "c:3"]).0]
    );
    assert_eq!(
        closure(vec![three, two, one]).unwrap().paths(),
        merged.paths()
    );
}

#[test]
fn missing_references_are_counted_and_the_first_kept() {
    let a = path(0, "a");
    let missing: Vec<StorePath> = (1..=30).map(|n| path(n, "x")).collect();
    let references: Vec<&StorePath> = missing.iter().rev().chain(&missing).collect();
    let error = closure(vec![record(&a, &references)]).unwrap_err();
    let kept = missing[..20].iter().map(|missing| MissingReference {
        referrer: a.clone(),
        missing: missing.clone(),
    });
    assert_eq!(
        error,
        ClosureError::MissingReferences {
            references: kept.collect(),
            count: 30
        }
    );
    assert!(error.to_string().ends_with(", 10 more"), "{error}");
}

#[test]
fn a_long_circle_is_printed_in_part() {
    let paths: Vec<StorePath> = (0..100).map(|n| path(n, "x")).collect();
    let records = (0..100).map(|n| record(&paths[n], &[&paths[(n + 1) % 100]]));
    let error = closure(records.collect()).unwrap_err();
    let ClosureError::Cycle { cycle } = &error else {
        panic!("{error}");
    };
    assert_eq!(cycle.len(), 101);
    assert_eq!(cycle[..100], paths);
    let message = error.to_string();
    assert!(message.contains(" -> (81 more) -> "), "{message}");
    assert!(message.ends_with(paths[0].base_name()), "{message}");
}

#[test]
fn sizes_that_do_not_add_up_in_64_bits_are_refused() {
    let (a, b) = (path(0, "a"), path(1, "b"));
    let sized = |sizes: [u64; 2]| {
        let mut records = vec![record(&a, &[]), record(&b, &[])];
        records[0].0.nar_size_bytes = sizes[0];
        records[1].0.nar_size_bytes = sizes[1];
        closure(records)
    };
    assert_eq!(sized([u64::MAX, 1]), Err(ClosureError::TooLarge));
    assert_eq!(sized([u64::MAX - 1, 1]).unwrap().nar_size_bytes(), u64::MAX);
}

#[test]
fn a_chain_of_100_000_paths_does_not_overflow_the_stack() {
    let paths: Vec<StorePath> = (0..100_000).map(|n| path(n, "x")).collect();
    let records = |back: Option<usize>| -> Vec<_> {
        (0..paths.len())
            .map(|n| match paths.get(n + 1).or(back.map(|n| &paths[n])) {
                Some(next) => record(&paths[n], &[next]),
                None => record(&paths[n], &[]),
            })
            .collect()
    };
    let chain = closure(records(None)).unwrap();
    assert_eq!(chain.roots(), [PathIdx(0)]);
    assert_eq!(chain.reachable_from(&[PathIdx(0)]).len(), 100_000);
    assert_eq!(chain.topological_order()[0], PathIdx(99_999));
    assert_eq!(chain.restrict(&paths[1..2]).unwrap().paths().len(), 99_999);
    let Err(ClosureError::Cycle { cycle }) = closure(records(Some(0))) else {
        panic!("the chain bites its tail");
    };
    assert_eq!(cycle.len(), 100_001);
}
