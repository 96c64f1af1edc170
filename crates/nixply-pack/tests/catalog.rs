//! Catalogs that cannot be made or read, and the level that is proposed.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::Catalog;
use nixply_store::StorePath;
use nixply_testkit::closures::{TestPath, closure, random_paths, reordered};
use nixply_testkit::recorded::Sets;
use serde_json::{Value, json};

fn base_name(digit: char, name: &str) -> String {
    format!("{}-{name}", digit.to_string().repeat(32))
}

/// A good catalog: `b` rides on `a`.
fn good() -> Value {
    json!({
        "schema": "nixply.catalog/1",
        "level": 4,
        "store_dir": "/nix/store",
        "sets": ["one", "two"],
        "atoms": [
            {"sets": ["one"], "groups": [{"paths": [base_name('1', "a")]}]},
            {"sets": ["one", "two"], "groups": [{"rides_on": base_name('1', "a"), "paths": [base_name('2', "b")]}]},
        ],
    })
}

/// The message of the error in reading what `change` makes of the good catalog.
fn refused(change: impl FnOnce(&mut Value)) -> String {
    let mut catalog = good();
    change(&mut catalog);
    Catalog::from_json(catalog.to_string().as_bytes())
        .unwrap_err()
        .to_string()
}

#[test]
fn unknown_fields_are_ignored() {
    let expected = Catalog::from_json(good().to_string().as_bytes()).unwrap();
    let mut catalog = good();
    catalog["generator"] = json!("a later version");
    catalog["atoms"][0]["note"] = json!(1);
    catalog["atoms"][0]["groups"][0]["note"] = json!([]);
    let read = Catalog::from_json(catalog.to_string().as_bytes()).unwrap();
    assert_eq!(read, expected);
    let b = StorePath::new(&base_name('2', "b")).unwrap();
    let group = read.group_of(&b).unwrap();
    assert_eq!(group.host.as_ref().unwrap().name(), "a");
    assert_eq!(
        (read.level(), read.path_count(), &group.sets[..]),
        (4, 2, &[0, 1][..])
    );
}

#[test]
fn what_is_no_catalog_is_refused() {
    let error = Catalog::from_json(b"{").unwrap_err().to_string();
    assert_eq!(error, "the catalog cannot be read");
    assert_eq!(
        refused(|catalog| catalog["level"] = json!("4")),
        "the catalog cannot be read"
    );
    assert_eq!(
        refused(|catalog| catalog["schema"] = json!("nixply.catalog/2")),
        "this catalog has schema `nixply.catalog/2`, expected `nixply.catalog/1`"
    );
    assert_eq!(
        Catalog::from_json(b"{}").unwrap_err().to_string(),
        "this catalog has schema ``, expected `nixply.catalog/1`"
    );
    assert_eq!(
        refused(|catalog| catalog["level"] = json!(21)),
        "level 21 is too high: expected at most 20"
    );
}

#[test]
fn paths_and_store_directories_are_checked() {
    assert_eq!(
        refused(|catalog| catalog["store_dir"] = json!("nix/store")),
        "the catalog names `nix/store`, which is not a store path or a store directory"
    );
    for (group, field) in [(0, "paths"), (1, "rides_on")] {
        let error = refused(|catalog| {
            let value = &mut catalog["atoms"][group]["groups"][0][field];
            *value = if value.is_array() {
                json!(["short-a"])
            } else {
                json!("short-a")
            };
        });
        assert_eq!(
            error,
            "the catalog names `short-a`, which is not a store path or a store directory"
        );
    }
    let twice = format!("the catalog names `{}` twice", base_name('1', "a"));
    let a = || json!(base_name('1', "a"));
    let in_one =
        |catalog: &mut Value| catalog["atoms"][0]["groups"][0]["paths"] = json!([a(), a()]);
    assert_eq!(refused(in_one), twice);
    let in_two = |catalog: &mut Value| catalog["atoms"][1]["groups"][0] = json!({"paths": [a()]});
    assert_eq!(refused(in_two), twice);
}

#[test]
fn groups_need_paths_and_known_sets() {
    let message = "the catalog has a group of no path, of no set, or of an unknown set: ";
    assert_eq!(
        refused(|catalog| catalog["atoms"][0]["sets"] = json!(["one", "three"])),
        format!("{message}one three")
    );
    assert_eq!(
        refused(|catalog| catalog["atoms"][0]["sets"] = json!([])),
        message
    );
    assert_eq!(
        refused(|catalog| catalog["atoms"][1]["groups"][0]["paths"] = json!([])),
        format!("{message}{}", base_name('1', "a"))
    );
}

#[test]
fn hosts_lead_to_an_end() {
    let message = |path: &str| {
        format!(
            "the catalog lets the group of `{path}` ride on itself or on a path that it does not know"
        )
    };
    let [a, b] = [base_name('1', "a"), base_name('2', "b")];
    assert_eq!(
        refused(|catalog| catalog["atoms"][0]["groups"][0]["rides_on"] = json!(b)),
        message(&a)
    );
    assert_eq!(
        refused(|catalog| catalog["atoms"][1]["groups"][0]["rides_on"] = json!(b)),
        message(&b)
    );
    let unknown = base_name('3', "c");
    assert_eq!(
        refused(|catalog| catalog["atoms"][1]["groups"][0]["rides_on"] = json!(unknown)),
        message(&b)
    );
}

fn store_path(path: &TestPath) -> StorePath {
    StorePath::new(&path.base_name).unwrap()
}

#[test]
fn sets_that_make_no_catalog_say_why() {
    let paths = random_paths(1, 5, 4);
    let whole = closure(&paths);
    let error = |sets: Sets, level| Catalog::new(&whole, &sets, level).unwrap_err().to_string();
    let good = || Sets::from([("one".to_owned(), vec![store_path(&paths[4])])]);
    assert_eq!(
        error(good(), 21),
        "level 21 is too high: expected at most 20"
    );
    assert_eq!(
        error(Sets::new(), 0),
        "there is no package set with a path in it"
    );
    assert_eq!(
        error(Sets::from([("none".to_owned(), Vec::new())]), 0),
        "there is no package set with a path in it"
    );
    let unknown = StorePath::new(&base_name('1', "a")).unwrap();
    assert_eq!(
        error(Sets::from([("one".to_owned(), vec![unknown])]), 0),
        format!(
            "package set `one`: `{}` is not in the closure",
            base_name('1', "a")
        )
    );
}

/// More than so many paths that the proposal looks at a part of them.
#[test]
fn the_least_score_is_proposed_whatever_order_and_hashes() {
    let paths = random_paths(5, 900, 2700);
    let sets = |paths: &[TestPath]| -> Sets {
        let set = |number: usize| {
            let roots = (0..12).map(|at| store_path(&paths[899 - number - 20 * at]));
            (format!("set{number:02}"), roots.collect())
        };
        (0..20).map(set).collect()
    };
    let proposal = |paths: &[TestPath], sets: &Sets| {
        Catalog::propose_level(&closure(paths), sets, 40).unwrap()
    };
    let first = proposal(&paths, &sets(&paths));
    let least = first.scores.iter().min().unwrap();
    let level = first
        .scores
        .iter()
        .position(|&score| score <= least + least / 50)
        .unwrap();
    assert_eq!(first.level as usize, level);
    assert_eq!(first.scores.len(), 13);
    assert!(first.scores.iter().any(|score| score > least));

    let order: Vec<usize> = (0..paths.len()).rev().collect();
    assert_eq!(proposal(&reordered(&paths, &order), &sets(&paths)), first);

    let renamed: Vec<TestPath> = (0_u64..)
        .zip(&paths)
        .map(|(at, path)| TestPath {
            base_name: format!(
                "{:0>32}{}",
                at.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                &path.base_name[32..]
            ),
            ..path.clone()
        })
        .collect();
    assert_eq!(proposal(&renamed, &sets(&renamed)), first);
}
