//! What goes wrong is named, with one thing to do about it and the documented exit code.

use crate::support::{APP, LIB, Sandbox};

#[test]
fn wrong_command_lines() {
    let sandbox = Sandbox::new();
    let mut text = String::new();
    for arguments in [
        &["plan"][..],
        &["plan", "closure.json", "--packer", "best"],
        &["plan", "closure.json", "--compression", "lzma"],
        &["plan", "closure.json", "--platform", "linux"],
        &["plan", "closure.json", "--env", "A"],
        &["plan", "closure.json", "--created", "yesterday"],
        &["plan", "closure.json", "--cmd", "[1]"],
        &["push", "closure.json", "app:v1"],
        &["push", "closure.json", "localhost:1/app:v1", "--tag", "-x"],
        &["export", "closure.json", "--format", "oci-dir", "-o", "-"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn wrong_words_in_a_specification() {
    let sandbox = Sandbox::new();
    let mut text = String::new();
    for (idx, fields) in [
        r#""config": {"cmd": ["/bin/app"]}"#,
        r#""config": {"Workdir": "/app"}"#,
        r#""config": {"Cmd": "/bin/app"}"#,
        r#""config": {"Runtime": "own"}"#,
        r#""root": {"files": {"/x": {"text": "", "user": "app"}}}"#,
        r#""created": "2024-01-01""#,
        r#""created": "@x""#,
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("image{idx}.json");
        let spec = format!(
            r#"{{"schema": "nixply.image/1", "closure": "closure.json", "platform": {{"os": "linux", "architecture": "amd64"}}, {fields}}}"#
        );
        sandbox.write(&name, &spec);
        text.push_str(fields);
        text.push('\n');
        text.push_str(&sandbox.show(&["plan", &name]));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn bad_input() {
    let sandbox = Sandbox::new();
    let closure = std::fs::read_to_string(sandbox.path("closure.json")).unwrap();
    sandbox.write("cut.json", &closure[..closure.len() / 2]);
    sandbox.write(
        "open.json",
        &closure.replace(
            &format!("/nix/store/{LIB}\": "),
            "/nix/store/5555555555555555555555555555555f-x\": ",
        ),
    );
    sandbox.write(
        "invalid.json",
        &format!("[{{\"path\": \"/nix/store/{APP}\", \"valid\": false}}]"),
    );
    sandbox.write("empty.json", "[]");
    sandbox.write("other.json", "{\"a\": 1}");
    sandbox.write("plan2.json", "{\"schema\": \"nixply.plan/2\"}");
    sandbox.write(
        "image3.json",
        r#"{"schema": "nixply.image/1", "closure": "closure.json", "packer": "best"}"#,
    );
    sandbox.write(
        "image4.json",
        r#"{"schema": "nixply.image/1", "store_paths": ["--option"]}"#,
    );
    sandbox.write(
        "image5.json",
        r#"{"schema": "nixply.image/1", "files": [{"path": "a", "type": "file", "text": ""}]}"#,
    );
    sandbox.write(
        "image2.json",
        "{\"schema\": \"nixply.image/1\", \"maxLayers\": 3}",
    );
    let mut text = String::new();
    for file in [
        "nowhere.json",
        "cut.json",
        "open.json",
        "invalid.json",
        "empty.json",
        "other.json",
        "plan2.json",
        "image2.json",
        "image3.json",
        "image4.json",
        "image5.json",
        "store",
    ] {
        text.push_str(&sandbox.show(&["plan", file]));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn what_cannot_be_done() {
    let sandbox = Sandbox::new();
    let unknown = "/nix/store/5555555555555555555555555555555f-x";
    let mut text = String::new();
    for arguments in [
        &[
            "plan",
            "closure.json",
            "--packer",
            "per-path",
            "--max-layers",
            "3",
        ][..],
        &["plan", "closure.json", "--max-layers", "0"],
        &["plan", "closure.json", "--root", unknown],
        &["plan", ".#x"],
        &["load", "closure.json"],
        &[
            "load",
            "closure.json",
            "--into",
            "podman",
            "--physical-store",
            "store",
        ],
        &["verify", "closure.json"],
        &["push", "docker://localhost:1/x", "localhost:1/y"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn documents_in_the_wrong_place_are_told() {
    let sandbox = Sandbox::new();
    sandbox.write("empty.json", "");
    sandbox.write(
        "sets.json",
        &format!(r#"{{"library": ["/nix/store/{LIB}"]}}"#),
    );
    let make = ["catalog", "closure.json", "--sets", "sets.json"];
    sandbox.stdout(&[&make[..], &["--level", "4", "-o", "catalog.json"]].concat());
    sandbox.stdout(&["plan", "closure.json", "-o", "plan.json"]);
    let bench = ["bench", "reuse", "closure.json", "--packer", "solo"];
    sandbox.stdout(
        &[
            &bench[..],
            &["--json", "reuse.json", "--save", "fleet.json"],
        ]
        .concat(),
    );
    let mut text = String::new();
    for arguments in [
        &["plan", "empty.json"][..],
        &["plan", "/dev/null"],
        &["plan", "catalog.json"],
        &["plan", "sets.json"],
        &["plan", "reuse.json"],
        &["plan", "fleet.json"],
        &["bench", "reuse", "catalog.json"],
        &["plan", "closure.json", "--catalog", "empty.json"],
        &["plan", "closure.json", "--catalog", "closure.json"],
        &["plan", "closure.json", "--catalog", "sets.json"],
        &["plan", "closure.json", "--catalog", "plan.json"],
        &["catalog", "closure.json", "--sets", "empty.json"],
        &["catalog", "closure.json", "--sets", "catalog.json"],
        &["catalog", "closure.json", "--sets", "closure.json"],
        &["catalog", "closure.json", "--sets", "reuse.json"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn store_paths_of_options_are_named() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "image.json",
        r#"{"schema": "nixply.image/1", "closure": "closure.json", "roots": ["libc"]}"#,
    );
    let other_lib = "5555555555555555555555555555555f-lib-3";
    let mut text = String::new();
    for arguments in [
        &["plan", "closure.json", "--volatile", "lib"][..],
        &["plan", "closure.json", "--volatile", other_lib],
        &["plan", "closure.json", "--volatile", "project00"],
        &["plan", "closure.json", "--root", "lib-"],
        &["plan", "closure.json", "--root", "/gnu/store/x/../lib"],
        &["plan", "image.json"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn missing_store_paths_are_named() {
    let sandbox = Sandbox::new();
    let store = sandbox.store();
    std::fs::remove_dir_all(store.join(LIB)).unwrap();
    std::fs::remove_file(store.join(crate::support::DATA)).unwrap();
    insta::assert_snapshot!(sandbox.show(&[
        "export",
        "closure.json",
        "--format",
        "archive",
        "-o",
        "out.tar",
        "--physical-store",
        "store",
        "-q",
    ]));
    assert!(!sandbox.path("out.tar").exists());
}

#[test]
fn too_many_layers_for_docker_are_told() {
    let sandbox = Sandbox::new();
    let records: Vec<String> = (0..130)
        .map(|n| {
            format!(
                r#"{{"path":"/nix/store/{n:032}-p{n}","narHash":"sha256-{}=","narSize":1,"references":[]}}"#,
                "A".repeat(43)
            )
        })
        .collect();
    sandbox.write("many.json", &format!("[{}]", records.join(",")));
    let output = sandbox.run(&[
        "plan",
        "many.json",
        "--max-layers",
        "130",
        "--packer",
        "per-path",
    ]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        stderr,
        "warning: the image has 130 layers; Docker's graph drivers refuse more than 125\n"
    );
    assert!(output.status.success());
}
