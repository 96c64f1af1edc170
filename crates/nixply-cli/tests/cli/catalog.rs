//! `nixply catalog`: making catalogs, and telling whether one fits.

use crate::support::{APP, DATA, LIB, LIBC, Sandbox};
use serde_json::Value;

/// Two package sets of the sandbox's closure, of which `app` is in none.
fn sets() -> String {
    format!(
        r#"{{"library": ["/nix/store/{LIB}"], "files": ["/nix/store/{DATA}", "/nix/store/{LIBC}"]}}"#
    )
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("sets.json", &sets());
    sandbox
}

#[test]
fn a_catalog_of_package_sets() {
    let sandbox = sandbox();
    insta::assert_snapshot!(sandbox.show(&[
        "catalog",
        "closure.json",
        "--sets",
        "sets.json",
        "--level",
        "4"
    ]));
}

#[test]
fn a_level_is_proposed_and_told() {
    let sandbox = sandbox();
    let arguments = [
        "catalog",
        "closure.json",
        "--sets",
        "sets.json",
        "-o",
        "catalog.json",
    ];
    insta::assert_snapshot!(sandbox.show(&arguments));
    let catalog: Value =
        serde_json::from_slice(&std::fs::read(sandbox.path("catalog.json")).unwrap()).unwrap();
    let level = catalog["level"].to_string();
    let pinned = sandbox.run(&[&arguments[..4], &["--level", &level]].concat());
    assert!(pinned.stderr.is_empty(), "{pinned:?}");
    assert_eq!(
        pinned.stdout,
        std::fs::read(sandbox.path("catalog.json")).unwrap(),
        "the level that was proposed makes the same catalog"
    );
}

#[test]
fn what_makes_no_catalog() {
    let sandbox = sandbox();
    let unknown = "5555555555555555555555555555555f-x";
    for (file, content) in [
        ("text.json", "no JSON".to_owned()),
        ("array.json", format!(r#"["/nix/store/{LIB}"]"#)),
        ("empty.json", "{}".to_owned()),
        ("empty-set.json", r#"{"library": []}"#.to_owned()),
        (
            "unknown.json",
            format!(r#"{{"library": ["/nix/store/{LIB}", "/nix/store/{unknown}"]}}"#),
        ),
        (
            "elsewhere.json",
            format!(r#"{{"library": ["/gnu/store/{LIB}"]}}"#),
        ),
        (
            "twice.json",
            format!(r#"{{"library": ["/nix/store/{LIB}"], "library": ["/nix/store/{DATA}"]}}"#),
        ),
    ] {
        sandbox.write(file, &content);
    }
    sandbox.stdout(&["plan", "closure.json", "-o", "plan.json"]);
    let mut text = String::new();
    for sets in [
        "nowhere.json",
        "text.json",
        "array.json",
        "empty.json",
        "empty-set.json",
        "unknown.json",
        "elsewhere.json",
        "twice.json",
    ] {
        text.push_str(&sandbox.show(&["catalog", "closure.json", "--sets", sets, "--level", "4"]));
        text.push('\n');
    }
    for arguments in [
        &["catalog", "plan.json", "--sets", "sets.json"][..],
        &["catalog", "closure.json"],
        &[
            "catalog",
            "closure.json",
            "--sets",
            "sets.json",
            "--level",
            "21",
        ],
        &[
            "catalog",
            "closure.json",
            "--sets",
            "sets.json",
            "--level",
            "4",
            "--max-layers",
            "60",
        ],
        &["catalog", "closure.json", "--sets", "sets.json", "--json"],
        &["catalog", "closure.json", "--check", "sets.json"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_check_tells_what_a_catalog_knows() {
    let sandbox = sandbox();
    sandbox.make_catalog("sets.json", 4, "catalog.json");
    let text = [
        sandbox.show(&["catalog", "closure.json", "--check", "catalog.json"]),
        sandbox.show(&[
            "catalog",
            "--check",
            "catalog.json",
            "closure.json",
            "--json",
        ]),
    ];
    insta::assert_snapshot!(text.join("\n"));

    sandbox.write("all.json", &format!(r#"{{"all": ["/nix/store/{APP}"]}}"#));
    sandbox.make_catalog("all.json", 0, "all-catalog.json");
    let all = sandbox.run(&["catalog", "closure.json", "--check", "all-catalog.json"]);
    assert_eq!(all.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(all.stdout).unwrap(),
        "level 0, 1 package set: all\nthe catalog knows 4 of 4 store paths, 99.2 KiB of 99.2 KiB\n"
    );
}

#[test]
fn many_unknown_paths_are_counted() {
    let sandbox = sandbox();
    sandbox.make_catalog("sets.json", 4, "catalog.json");
    let records: Vec<String> = (0..23)
        .map(|n| {
            format!(
                r#"{{"path":"/nix/store/{n:032}-p{n}","narHash":"sha256-{}=","narSize":1,"references":[]}}"#,
                "A".repeat(43)
            )
        })
        .collect();
    sandbox.write("many.json", &format!("[{}]", records.join(",")));
    let check = ["catalog", "many.json", "--check", "catalog.json"];
    insta::assert_snapshot!(sandbox.show(&check));
    let all = sandbox.run(&[&check[..], &["--all"]].concat());
    let all = String::from_utf8(all.stdout).unwrap();
    assert!(
        all.ends_with("-p22\n") && all.matches("/nix/store/").count() == 23,
        "{all}"
    );
    let json = sandbox.run(&[&check[..], &["--json"]].concat());
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["unknown"].as_array().unwrap().len(), 23);
}
