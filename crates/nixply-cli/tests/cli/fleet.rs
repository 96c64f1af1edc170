//! Planning with what a packer takes beside the closure: a catalog, an earlier image, volatile paths.

use crate::support::{APP, DATA, LIB, LIBC, Sandbox};
use nixply_testkit::registry::RegistryProcess;
use serde_json::Value;
use std::process::Output;

/// A sandbox with a catalog that knows all but `app`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write(
        "sets.json",
        &format!(
            r#"{{"library": ["/nix/store/{LIB}"], "files": ["/nix/store/{DATA}", "/nix/store/{LIBC}"]}}"#
        ),
    );
    sandbox.make_catalog("sets.json", 4, "catalog.json");
    sandbox
}

fn plan(sandbox: &Sandbox, image: &str, more: &[&str]) -> Value {
    let arguments = [&["plan", image, "--json"][..], more].concat();
    serde_json::from_str(&sandbox.stdout(&arguments)).unwrap()
}

/// The base names of a plan's layers, bottom first.
fn layers(plan: &Value) -> Vec<Vec<String>> {
    let base_name = |path: &Value| {
        let path = path["path"].as_str().unwrap();
        path.rsplit('/').next().unwrap().to_owned()
    };
    let layers = plan["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            layer["paths"]
                .as_array()
                .unwrap()
                .iter()
                .map(base_name)
                .collect()
        })
        .collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_plan_with_a_catalog_says_why() {
    let sandbox = sandbox();
    let text = sandbox.show(&[
        "plan",
        "closure.json",
        "--catalog",
        "catalog.json",
        "--json",
        "--platform",
        "linux/amd64",
    ]);
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "[VERSION]"));
}

#[test]
fn auto_is_fleet_with_a_catalog_and_solo_without() {
    let sandbox = sandbox();
    let packer = |more: &[&str]| plan(&sandbox, "closure.json", more)["packer"]["name"].clone();
    assert_eq!(packer(&[]), "solo");
    assert_eq!(packer(&["--catalog", "catalog.json"]), "fleet");
    let both = ["--packer", "auto", "--catalog", "catalog.json"];
    assert_eq!(packer(&both), "fleet");
}

#[test]
fn the_catalog_alone_changes_no_key() {
    let sandbox = sandbox();
    let keys = |plan: &Value| {
        let layers = plan["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["key"].clone()).collect::<Vec<_>>()
    };
    // One layer for all: the same layer whatever decides.
    let one = ["--max-layers", "1"];
    let solo = plan(&sandbox, "closure.json", &one);
    let fleet = plan(
        &sandbox,
        "closure.json",
        &[&one[..], &["--catalog", "catalog.json"]].concat(),
    );
    assert_ne!(solo["packer"], fleet["packer"]);
    assert_eq!(keys(&solo), keys(&fleet));
    assert_eq!(keys(&solo).len(), 1);
}

#[test]
fn a_stale_catalog_is_a_note() {
    let sandbox = sandbox();
    let stale = std::fs::read_to_string(sandbox.path("catalog.json"))
        .unwrap()
        .replace(LIBC, "5555555555555555555555555555555f-libc-2.35")
        .replace(LIB, "6666666666666666666666666666666f-lib-1");
    sandbox.write("stale.json", &stale);
    let arguments = ["plan", "closure.json", "--catalog", "stale.json", "--json"];
    let output = sandbox.run(&arguments);
    assert!(output.status.success());
    assert_eq!(
        stderr(&output),
        "note: the catalog knows 1 of 4 store paths (0 % of the bytes); the others are packed without it\n\
         hint: make the catalog again for this pin: `nixply catalog`\n"
    );
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["packer"]["name"], "fleet");
    let mut paths = layers(&plan).concat();
    paths.sort();
    assert_eq!(paths, [APP, LIB, LIBC, DATA]);

    // The application is nobody else's, so that no catalog can know it: nothing to say.
    let fresh = sandbox.run(&["plan", "closure.json", "--catalog", "catalog.json"]);
    assert_eq!(stderr(&fresh), "");
}

#[test]
fn layers_of_a_prior_plan_stay() {
    let sandbox = sandbox();
    // What nobody would pack so by himself.
    sandbox.stdout(&[
        "plan",
        "closure.json",
        "--packer",
        "size",
        "--max-layers",
        "2",
        "-o",
        "prior.json",
    ]);
    let prior = plan(&sandbox, "prior.json", &[]);
    assert_eq!(layers(&prior), [vec![LIBC], vec![APP, LIB, DATA]]);
    let anchored = plan(
        &sandbox,
        "closure.json",
        &["--prior", "prior.json", "--packer", "solo"],
    );
    let reasons: Vec<&Value> = anchored["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["reason"])
        .collect();
    // The application changes with every version, so the layer that it stood in is no loss.
    assert_eq!(reasons[0], "prior");
    assert_eq!(layers(&anchored)[0], [LIBC]);
    assert!(
        reasons[1..].iter().all(|reason| *reason != "prior"),
        "{reasons:?}"
    );
}

#[test]
fn a_prior_image_is_read_wherever_it_is() {
    let sandbox = sandbox();
    let store = ["--physical-store", "store", "-q"];
    sandbox.stdout(&["plan", "closure.json", "-o", "prior.json"]);
    let expected = plan(&sandbox, "closure.json", &["--prior", "prior.json"]);
    let has_prior = |plan: &Value| {
        let layers = plan["layers"].as_array().unwrap().iter();
        layers.filter(|layer| layer["reason"] == "prior").count()
    };
    assert_eq!(has_prior(&expected), 2, "all but the volatile layer");
    for (format, output) in [("archive", "image.tar"), ("oci-dir", "layout")] {
        let export = ["export", "prior.json", "--format", format, "-o", output];
        sandbox.stdout(&[&export[..], &store].concat());
        assert_eq!(
            plan(&sandbox, "closure.json", &["--prior", output]),
            expected
        );
    }
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let image = format!("docker://{}/team/app:v1", registry.host());
    // The first push of a pipeline has nothing to go by.
    let first = sandbox.run(&["plan", "closure.json", "--prior", &image, "--json"]);
    assert!(first.status.success());
    assert_eq!(
        stderr(&first),
        format!("warning: there is no prior image `{image}`; going on without one\n")
    );
    let reference = image.strip_prefix("docker://").unwrap();
    sandbox.stdout(&[&["push", "prior.json", reference][..], &store].concat());
    assert_eq!(
        plan(&sandbox, "closure.json", &["--prior", &image]),
        expected
    );
}

#[test]
fn volatile_paths_are_named_whole_or_by_base_name() {
    let sandbox = sandbox();
    let whole = format!("/nix/store/{LIB}");
    let planned = plan(&sandbox, "closure.json", &["--volatile", &whole]);
    assert_eq!(
        planned["volatile"],
        serde_json::json!([
            { "path": format!("/nix/store/{APP}"), "reason": "uses-volatile" },
            { "path": whole, "reason": "given" },
        ])
    );
    assert_eq!(layers(&planned).last().unwrap(), &[APP, LIB]);
    assert_eq!(
        plan(&sandbox, "closure.json", &["--volatile", LIB]),
        planned
    );
}

#[test]
fn a_specification_has_the_same_fields() {
    let sandbox = sandbox();
    std::fs::create_dir(sandbox.path("project")).unwrap();
    sandbox.stdout(&["plan", "closure.json", "-o", "project/prior.json"]);
    sandbox.write(
        "project/image.json",
        &format!(
            r#"{{"schema": "nixply.image/1", "closure": "../closure.json", "catalog": "../catalog.json",
              "volatile": ["{APP}"], "prior": "prior.json"}}"#
        ),
    );
    let by_spec = plan(&sandbox, "project/image.json", &[]);
    let by_options = plan(
        &sandbox,
        "closure.json",
        &[
            "--catalog",
            "catalog.json",
            "--volatile",
            APP,
            "--prior",
            "project/prior.json",
        ],
    );
    assert_eq!(by_spec, by_options);
    assert_eq!(by_spec["packer"]["name"], "fleet");
    assert_eq!(by_spec["volatile"][0]["reason"], "given");
    // A packer of the command line leaves out what it has no use for.
    for (packer, volatile) in [("solo", 1), ("popularity", 0)] {
        let planned = plan(&sandbox, "project/image.json", &["--packer", packer]);
        assert_eq!(planned["packer"]["name"], packer);
        assert_eq!(planned["packer"].get("catalog"), None);
        let found = planned["volatile"].as_array().map_or(0, Vec::len);
        assert_eq!(found, volatile, "{packer}");
    }
}

#[test]
fn the_exact_mode_takes_a_catalog() {
    let sandbox = sandbox();
    let export = [
        "export",
        "closure.json",
        "--catalog",
        "catalog.json",
        "--layer-format",
        "dockertools",
        "--format",
        "oci-dir",
        "-o",
        "layout",
        "--physical-store",
        "store",
        "-q",
    ];
    sandbox.stdout(&export);
    let text = sandbox.stdout(&["verify", "layout", "--physical-store", "store"]);
    assert!(
        !text.contains("nothing says") && text.contains("\nverified "),
        "{text}"
    );
}

#[test]
fn what_does_not_go_together() {
    let sandbox = sandbox();
    let unknown = "5555555555555555555555555555555f-x";
    sandbox.stdout(&["plan", "closure.json", "-o", "plan.json"]);
    sandbox.write(
        "popular.json",
        r#"{"schema": "nixply.image/1", "closure": "closure.json", "packer": "popularity",
          "catalog": "catalog.json"}"#,
    );
    let mut text = String::new();
    for arguments in [
        &["plan", "plan.json", "--catalog", "catalog.json"][..],
        &["plan", "plan.json", "--prior", "plan.json"],
        &["plan", "plan.json", "--volatile", APP],
        &["plan", "closure.json", "--packer", "fleet"],
        &[
            "plan",
            "closure.json",
            "--packer",
            "popularity",
            "--catalog",
            "catalog.json",
        ],
        &[
            "plan",
            "closure.json",
            "--packer",
            "size",
            "--prior",
            "plan.json",
        ],
        &[
            "plan",
            "closure.json",
            "--packer",
            "size",
            "--volatile",
            APP,
        ],
        &["plan", "popular.json"],
        &["plan", "closure.json", "--volatile", unknown],
        &["plan", "closure.json", "--volatile", "app"],
        &["plan", "closure.json", "--catalog", "sets.json"],
        &["plan", "closure.json", "--catalog", "nowhere.json"],
        &["plan", "closure.json", "--prior", "nowhere.json"],
        &["plan", "closure.json", "--prior", "closure.json"],
        // Port 1 of the loopback address refuses connections: that is not an image that does not exist yet.
        &[
            "plan",
            "closure.json",
            "--prior",
            "docker://127.0.0.1:1/app:v1",
        ],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}
