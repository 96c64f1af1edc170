//! Documents that are read and written: pins, draws, fleet files, gates.

use crate::support::{base_name, documents, pin};
use nixply_reuse::gates::read_gates;
use nixply_reuse::{FleetFile, Pin, draw_projects, read_draws};
use std::collections::BTreeMap;
use std::error::Error as _;

#[test]
fn a_closure_without_nar_hashes_is_read() {
    let read = pin(
        "now",
        &[("a", 5, &["b", "a"]), ("b", 6, &[])],
        &[("set", &["a"])],
    );
    let names: Vec<_> = read
        .closure
        .paths()
        .iter()
        .map(|info| info.path.name())
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(read.closure.nar_size_bytes(), 11);
    let again = pin(
        "now",
        &[("b", 6, &[]), ("a", 5, &["b"])],
        &[("set", &["a"])],
    );
    assert_eq!(
        read.closure, again.closure,
        "the order of records does not matter"
    );
}

#[test]
fn broken_pins_are_refused_by_name() {
    let (closure, sets) = documents(&[("a", 5, &["b"])], &[("set", &["a"])]);
    let error = Pin::read("week-1", closure.as_bytes(), sets.as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "the records of `week-1` make no closure");
    assert!(
        error
            .source()
            .unwrap()
            .to_string()
            .contains(&base_name("b"))
    );
    let (closure, _) = documents(&[("a", 5, &[])], &[]);
    let error =
        Pin::read("week-1", closure.as_bytes(), b"{\"set\": [\"/usr/bin/a\"]}").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`week-1` names something that is no store path"
    );
    let error = Pin::read("week-1", closure.as_bytes(), b"[]").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`week-1` is not an object of package sets, each an array of store paths"
    );
    let error = Pin::read("week-1", b"[{\"path\": 1}]", b"{}").unwrap_err();
    assert_eq!(error.to_string(), "`week-1` is not a closure");
}

#[test]
fn images_of_a_pin_join_into_one_closure() {
    let read = pin(
        "now",
        &[("a", 5, &["c"]), ("b", 6, &["c"]), ("c", 7, &[])],
        &[("x", &["a"]), ("y", &["b"])],
    );
    let image = |set: &str| read.closure.restrict(&read.sets[set]).unwrap();
    let images = BTreeMap::from([("x".to_owned(), image("x")), ("y".to_owned(), image("y"))]);
    let joined = Pin::of_images("now", &images).unwrap();
    assert_eq!(joined.closure, read.closure);
    assert_eq!(joined.sets, read.sets);
}

fn file() -> FleetFile {
    let first = pin(
        "1",
        &[("a", 5, &["b"]), ("b", 6, &[])],
        &[("set", &["a"]), ("other", &["b"])],
    );
    let second = pin(
        "2",
        &[("c", 9, &["b"]), ("b", 6, &[])],
        &[("set", &["c"]), ("other", &["b"])],
    );
    let draws = br#"{"d": {"p": {"sets": ["set"], "app_nar_size_bytes": 3}}}"#;
    FleetFile {
        pins: vec![first, second],
        draws: read_draws("draws", draws).unwrap(),
    }
}

#[test]
fn a_fleet_file_gives_itself() {
    let written = file();
    let json = written.to_json().unwrap();
    assert!(FleetFile::is_fleet_file(json.as_bytes()));
    let read = FleetFile::read("fleet.json", json.as_bytes()).unwrap();
    assert_eq!(read.draws, written.draws);
    for (a, b) in read.pins.iter().zip(&written.pins) {
        assert_eq!(
            (&a.name, &a.closure, &a.sets),
            (&b.name, &b.closure, &b.sets)
        );
    }
    assert_eq!(read.to_json().unwrap(), json);
    insta::assert_snapshot!(json);
}

#[test]
fn broken_fleet_files_are_refused() {
    let json = file().to_json().unwrap();
    let error = |json: &str| {
        let error = FleetFile::read("f", json.as_bytes()).unwrap_err();
        let cause = error.source().map(|source| format!(": {source}"));
        format!("{error}{}", cause.unwrap_or_default())
    };
    let position = error(&json.replace("\"set\":[2]", "\"set\":[3]"));
    assert_eq!(position, "`f` names path 3 of 3, counted from 0");
    assert_eq!(
        error(&json.replace("fleet/1", "fleet/2")),
        "`f` has the schema `nixply.fleet/2`: expected `nixply.fleet/1`"
    );
    assert!(
        error(&json.replace(",6,[]]", ",6,[0]]"))
            .starts_with("the records of `1 of f` make no closure")
    );
    assert!(
        error(&json.replace("-a\"", "/a\""))
            .starts_with("`f` names something that is no store path")
    );
    assert!(error("{}").starts_with("`f` is not a fleet file"));
    assert!(!FleetFile::is_fleet_file(
        b"{\"schema\": \"nixply.plan/1\"}"
    ));
}

#[test]
fn pins_that_disagree_have_no_file() {
    let mut file = file();
    file.pins
        .push(pin("3", &[("b", 7, &[])], &[("set", &["b"])]));
    let error = file.to_json().unwrap_err();
    assert!(error.to_string().starts_with("pin `3` has `"), "{error}");
}

#[test]
fn a_draw_follows_from_its_seed() {
    let names: Vec<String> = (0..30).map(|n| format!("set{n:02}")).collect();
    let sets: Vec<(&str, &[&str])> = names
        .iter()
        .map(|name| (name.as_str(), &["a"][..]))
        .collect();
    let pins = [
        pin("1", &[("a", 1, &[])], &sets),
        pin("2", &[("a", 1, &[])], &sets[1..]),
    ];
    let drawn = draw_projects(&pins, 7, 40);
    assert_eq!(drawn, draw_projects(&pins, 7, 40));
    assert_ne!(drawn, draw_projects(&pins, 8, 40));
    assert_eq!(
        drawn[..5],
        draw_projects(&pins, 7, 5),
        "more projects change none"
    );
    let counts: Vec<usize> = drawn.iter().map(|project| project.sets.len()).collect();
    assert_eq!(
        (counts.iter().min(), counts.iter().max()),
        (Some(&4), Some(&12))
    );
    for project in &drawn {
        assert!(project.sets.is_sorted(), "{project:?}");
        assert!(
            !project.sets.contains(&"set00".to_owned()),
            "only one pin has it"
        );
        assert!((1_000_000..33_000_000).contains(&project.app_nar_size_bytes));
    }
}

#[test]
fn gates_take_no_unknown_measure() {
    let gate = r#"{"planner":"solo","draw":"d","max_layers":1,"push":1,"pull":1,"cross":1,"deploy":1,"chain":1"#;
    assert_eq!(
        read_gates("g", format!("[{gate}}}]").as_bytes())
            .unwrap()
            .len(),
        1
    );
    let error = read_gates("g", format!("[{gate},\"puhs\":1}}]").as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "`g` is not an array of gates");
}
