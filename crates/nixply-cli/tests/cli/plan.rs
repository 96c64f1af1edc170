//! `nixply plan` and `nixply inspect` of what is not made yet.

use crate::support::{APP, LIB, Sandbox};
use std::io::Write as _;
use std::process::Stdio;

const PLATFORM: [&str; 2] = ["--platform", "linux/amd64"];

#[test]
fn a_closure_as_a_table() {
    let sandbox = Sandbox::new();
    let arguments = [
        &[
            "plan",
            "closure.json",
            "--packer",
            "size",
            "--max-layers",
            "3",
        ],
        &PLATFORM[..],
    ];
    insta::assert_snapshot!(sandbox.show(&arguments.concat()));
}

#[test]
fn a_closure_as_json() {
    let sandbox = Sandbox::new();
    let arguments = [
        &[
            "plan",
            "closure.json",
            "--packer",
            "popularity",
            "--json",
            "--cmd",
            "/bin/app",
        ],
        &PLATFORM[..],
    ];
    let text = sandbox.show(&arguments.concat());
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]"));
}

#[test]
fn a_part_of_a_closure() {
    let sandbox = Sandbox::new();
    let root = format!("/nix/store/{LIB}");
    let json = sandbox.stdout(&["plan", "closure.json", "--root", &root, "--json"]);
    assert!(json.contains(LIB) && !json.contains(APP), "{json}");
}

#[test]
fn a_plan_gives_itself() {
    let sandbox = Sandbox::new();
    sandbox.stdout(&["plan", "closure.json", "-o", "plan.json"]);
    let written = std::fs::read_to_string(sandbox.path("plan.json")).unwrap();
    assert_eq!(sandbox.stdout(&["plan", "plan.json", "--json"]), written);
    assert_eq!(sandbox.stdout(&["inspect", "plan.json", "--json"]), written);
    insta::assert_snapshot!(sandbox.show(&["plan", "plan.json", "--max-layers", "3"]));
}

#[test]
fn standard_input_is_read() {
    let sandbox = Sandbox::new();
    let mut child = sandbox
        .command(&["plan", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let closure = std::fs::read(sandbox.path("closure.json")).unwrap();
    child.stdin.take().unwrap().write_all(&closure).unwrap();
    let output = child.wait_with_output().unwrap();
    let expected = sandbox.stdout(&["plan", "closure.json", "--json"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn a_specification_and_options_that_win_over_it() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("etc")).unwrap();
    sandbox.write("etc/motd", "hello\n");
    sandbox.write(
        "image.json",
        r#"{
          "schema": "nixply.image/1", "name": "example.org/app", "closure": "closure.json", "packer": "size",
          "max_layers": 3, "compression": "zstd:5", "platform": {"os": "linux", "architecture": "arm64"},
          "config": {"Env": ["A=1", "B=2"], "User": "app"},
          "files": [
            {"path": "/etc/motd", "type": "file", "source": "etc/motd", "mode": "0600"},
            {"path": "/tmp", "type": "directory", "mode": "1777"}
          ]
        }"#,
    );
    let json = sandbox.stdout(&[
        "plan",
        "image.json",
        "--json",
        "--env",
        "A=3",
        "--tag",
        "v2",
    ]);
    let json = json.replace(
        &sandbox
            .path("")
            .canonicalize()
            .unwrap()
            .display()
            .to_string(),
        "[DIR]",
    );
    insta::assert_snapshot!(json.replace(env!("CARGO_PKG_VERSION"), "[VERSION]"));
}

#[test]
fn every_packer_takes_the_closure() {
    let sandbox = Sandbox::new();
    for packer in [
        "auto",
        "solo",
        "auto-layer",
        "popularity",
        "nix2container",
        "size",
        "per-path",
    ] {
        let json = sandbox.stdout(&["plan", "closure.json", "--packer", packer, "--json"]);
        assert_eq!(json.matches("\"nar_hash\"").count(), 4, "{packer}: {json}");
    }
}

#[test]
fn every_form_of_a_closure_gives_the_same_plan() {
    let sandbox = Sandbox::new();
    let forms = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/closure-forms/same"
    );
    let mut plans = Vec::new();
    for entry in std::fs::read_dir(forms).unwrap() {
        let path = entry.unwrap().path();
        plans.push((
            path.clone(),
            sandbox.stdout(&["plan", path.to_str().unwrap(), "--json"]),
        ));
    }
    assert!(plans.len() >= 19, "{} forms", plans.len());
    let (first, expected) = &plans[0];
    for (path, plan) in &plans {
        assert!(
            plan == expected,
            "{} and {} differ",
            first.display(),
            path.display()
        );
    }
}

#[test]
fn every_command_finds_a_store_that_lies_elsewhere() {
    let sandbox = Sandbox::new();
    let spec = serde_json::json!({
        "schema": "nixply.image/1",
        "closure": "closure.json",
        "contents": [format!("/nix/store/{LIB}")],
        "perms": [{ "path": format!("/nix/store/{APP}"), "regex": ".*/bin/app", "mode": "4755" }],
    });
    sandbox.write("image.json", &spec.to_string());
    let elsewhere = |arguments: &[&str]| {
        let elsewhere = [arguments, &["--physical-store", "store"]].concat();
        sandbox.stdout(&elsewhere)
    };
    let plan = elsewhere(&["plan", "image.json", "--json"]);
    assert!(plan.contains("4755"), "{plan}");
    assert_eq!(elsewhere(&["inspect", "image.json", "--json"]), plan);
    sandbox.write("plan.json", &plan);
    let both = [
        elsewhere(&["explain", "image.json", "lib"]),
        sandbox.stdout(&["explain", "plan.json", "lib", "--closure", "closure.json"]),
    ];
    let [planned_here, planned] = both.map(|text| text.replace("plan.json", "image.json"));
    assert_eq!(planned_here, planned);
    elsewhere(&["diff", "plan.json", "image.json", "--exit-code"]);
    // Where the store directory says, there is nothing to link.
    for command in [
        &["inspect", "image.json"][..],
        &["explain", "image.json"],
        &["diff", "plan.json", "image.json"],
    ] {
        let failed = sandbox.run(command);
        let said = String::from_utf8_lossy(&failed.stderr);
        assert!(!failed.status.success() && said.contains(LIB), "{said}");
    }
}

/// The base names of each layer's paths, as a plan has them.
fn layers(plan: &str) -> Vec<Vec<String>> {
    let plan: serde_json::Value = serde_json::from_str(plan).unwrap();
    let base_name = |path: &serde_json::Value| {
        let path = path["path"].as_str().unwrap();
        path.rsplit('/').next().unwrap().to_owned()
    };
    let layers = plan["layers"].as_array().unwrap();
    let paths = |layer: &serde_json::Value| layer["paths"].as_array().unwrap().clone();
    layers
        .iter()
        .map(|layer| paths(layer).iter().map(base_name).collect())
        .collect()
}

#[test]
fn a_layering_pipeline_decides_by_file_and_by_specification() {
    let sandbox = Sandbox::new();
    let steps = format!(
        r#"[["split_paths", ["/nix/store/{LIB}"]], ["over", "rest", ["split_every", 1]], ["flatten"], ["reverse"]]"#
    );
    sandbox.write("steps.json", &steps);
    let by_file = sandbox.stdout(&[
        "plan",
        "closure.json",
        "--layering-pipeline",
        "steps.json",
        "--json",
    ]);
    let found = layers(&by_file);
    assert!(found.len() > 2, "{found:?}");
    assert_eq!(found[0], [APP]);
    assert!(
        found.last().unwrap().iter().any(|path| path == LIB),
        "{found:?}"
    );
    let spec = |fields: &str| {
        format!(r#"{{"schema": "nixply.image/1", "closure": "closure.json", {fields}}}"#)
    };
    sandbox.write(
        "image.json",
        &spec(&format!(r#""layering_pipeline": {steps}"#)),
    );
    assert_eq!(sandbox.stdout(&["plan", "image.json", "--json"]), by_file);
    let plan: serde_json::Value = serde_json::from_str(&by_file).unwrap();
    assert_eq!(plan["packer"]["name"], "pipeline");
    assert!(
        plan["packer"]["pipeline"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    // The command line wins.
    let by_size = sandbox.stdout(&["plan", "image.json", "--packer", "size", "--json"]);
    assert!(by_size.contains(r#""name": "size""#), "{by_size}");
}

#[test]
fn what_is_wrong_with_a_layering_pipeline_is_said() {
    let sandbox = Sandbox::new();
    sandbox.write("none.json", "{");
    sandbox.write(
        "unknown.json",
        r#"[["popularity_contest"], ["limit_layer", 2]]"#,
    );
    sandbox.write("input.json", r#"[["limit_layers", 2]]"#);
    sandbox.write("many.json", r#"[["split_every", 1]]"#);
    sandbox.write(
        "image.json",
        r#"{"schema": "nixply.image/1", "closure": "closure.json", "packer": "size", "layering_pipeline": []}"#,
    );
    let mut said = String::new();
    for file in ["none.json", "unknown.json", "input.json"] {
        said += &sandbox.show(&["plan", "closure.json", "--layering-pipeline", file]);
    }
    let many = [
        "plan",
        "closure.json",
        "--layering-pipeline",
        "many.json",
        "--max-layers",
        "2",
    ];
    said += &sandbox.show(&many);
    said += &sandbox.show(&["plan", "image.json"]);
    insta::assert_snapshot!(said);
}
