//! `nixply explain`: layers and paths, with and without what a plan and a closure tell.

use crate::weeks::{base_name, export, like_nix2container, sandbox, unchanged};
use serde_json::{Value, json};

fn assert_narrow(text: &str) {
    // Store paths stand alone on lines of their own, so that they can be copied.
    let wide = text
        .lines()
        .find(|line| line.chars().count() > 80 && !line.starts_with("/nix/store/"));
    assert_eq!(wide, None);
}

#[test]
fn layers_by_their_reasons() {
    let sandbox = sandbox();
    let mut text = sandbox.show(&["explain", "week1.json"]);
    text.push('\n');
    text.push_str(&sandbox.show(&["explain", "closure.json"]));
    assert_narrow(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn paths_and_what_they_are_there_for() {
    let sandbox = sandbox();
    let mut text = String::new();
    for path in ["zlib", "libunistring", "app", "openssl-3.0.13"] {
        text.push_str(&sandbox.show(&["explain", "week1.json", path]));
        text.push('\n');
    }
    // `libc` rides on `lib`, which uses it.
    for path in ["libc", "lib"] {
        text.push_str(&sandbox.show(&["explain", "closure.json", path]));
        text.push('\n');
    }
    assert_narrow(&text);
    insta::assert_snapshot!(text);
    let all = sandbox.stdout(&["explain", "week1.json", "glibc", "--all"]);
    assert_eq!(
        all.matches("(root)").count(),
        9,
        "a chain for each direct user: {all}"
    );
}

#[test]
fn names_that_fit_no_path_or_several() {
    let sandbox = sandbox();
    let old = std::fs::read_to_string(sandbox.path("week1.json")).unwrap();
    let new = std::fs::read_to_string(sandbox.path("week2.json")).unwrap();
    let both = [old.trim_end_matches(']'), ",", new.trim_start_matches('[')].concat();
    sandbox.write("both.json", &both);
    let mut text = String::new();
    for name in [
        "openssl", "opensl", "firefox", "b1b1", "b1b1b", "zlib-1.3", "zlib-1.2", "",
    ] {
        text.push_str(&sandbox.show(&["explain", "both.json", name]));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_path_as_json() {
    let sandbox = sandbox();
    let json = sandbox.stdout(&["explain", "week1.json", "ncurses", "--json"]);
    insta::assert_snapshot!(json);
}

#[test]
fn an_image_as_json() {
    let sandbox = sandbox();
    let json = sandbox.stdout(&[
        "explain",
        "closure.json",
        "--json",
        "--platform",
        "linux/amd64",
    ]);
    insta::assert_snapshot!(json);
}

#[test]
fn an_image_tells_less_than_its_plan_and_says_how_to_learn_more() {
    let sandbox = sandbox();
    sandbox.stdout(&[
        "plan",
        "week1.json",
        "--max-layers",
        "6",
        "--packer",
        "auto-layer",
        "-o",
        "small.plan",
    ]);
    export(&sandbox, "small.plan", "image", unchanged);
    let mut text = sandbox.show(&["explain", "image"]);
    text.push('\n');
    text.push_str(&sandbox.show(&["explain", "image", "zlib"]));
    text.push('\n');
    text.push_str(&sandbox.show(&["explain", "image", "--closure", "week1.json"]));
    text.push('\n');
    text.push_str(&sandbox.show(&["explain", "image", "zlib", "--closure", "week1.json"]));
    assert_narrow(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn layers_that_say_nothing_are_read_when_asked() {
    let sandbox = sandbox();
    export(&sandbox, "week1.json", "image", like_nix2container);
    let output = sandbox.run(&["explain", "image", "zlib"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr.contains("--read-layers"), "{stderr}");
    let json = sandbox.stdout(&[
        "explain",
        "image",
        "zlib",
        "--json",
        "--read-layers",
        "--closure",
        "week1.json",
    ]);
    let explained: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        explained["path"],
        format!("/nix/store/{}", base_name(1, "zlib-1.3.1"))
    );
    assert_eq!(explained["nar_size_bytes"], json!(129_240));
    assert_eq!(explained["chains"].as_array().unwrap().len(), 2);
}

#[test]
fn a_closure_has_its_own_references() {
    let sandbox = sandbox();
    let own = sandbox.stdout(&["explain", "week2.json", "zlib"]);
    let given = ["explain", "week2.json", "zlib", "--closure", "week1.json"];
    assert_eq!(sandbox.stdout(&given), own);
    assert!(own.contains("(root)"), "{own}");
    // What the wrong closure says of a plan is not taken for the truth, either.
    sandbox.stdout(&["plan", "week2.json", "-o", "week2.plan"]);
    let wrong = sandbox.run(&["explain", "week2.plan", "zlib", "--closure", "week1.json"]);
    let (stdout, stderr) = (
        String::from_utf8(wrong.stdout).unwrap(),
        String::from_utf8(wrong.stderr).unwrap(),
    );
    assert!(stdout.contains("`week1.json` lacks some"), "{stdout}");
    assert!(stderr.starts_with("warning: --closure: "), "{stderr}");
}

#[test]
fn layers_are_explained_as_they_will_be_pushed() {
    let sandbox = sandbox();
    let options = ["--packer", "size", "--max-layers", "3"];
    let plan = [&["plan", "week1.json", "-o", "size.plan"][..], &options];
    sandbox.stdout(&plan.concat());
    let json = |arguments: &[&str]| -> Value {
        let text = sandbox.stdout(&[&["explain", "--json"][..], arguments].concat());
        serde_json::from_str(&text).unwrap()
    };
    let on_the_fly = json(&[&["week1.json"][..], &options].concat());
    let planned = json(&["size.plan", "--closure", "week1.json"]);
    assert_eq!(on_the_fly["layers"], planned["layers"]);
    assert_eq!(on_the_fly["packer"], planned["packer"]);
}

#[test]
fn a_long_package_line_is_wrapped() {
    let sandbox = sandbox();
    let name = format!("a-long-name-{}-1.0", "x".repeat(50));
    let path = format!("/nix/store/{}-{name}", "1".repeat(32));
    let closure = json!([{
        "path": path, "narHash": format!("sha256:{}", "1".repeat(64)),
        "narSize": 1_000_000, "references": [], "valid": true,
    }]);
    sandbox.write("long.json", &closure.to_string());
    assert_narrow(&sandbox.stdout(&["explain", "long.json", &path]));
}
