//! `nixply diff`: closures, plans and images, and the exit codes that a CI asks for.

use crate::support::Sandbox;
use crate::weeks::{export, like_dockertools, like_nix2container, sandbox, unchanged};
use nixply_testkit::registry::RegistryProcess;
use serde_json::{Value, json};

fn diff_json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let arguments = [&["diff", "--json"], arguments].concat();
    serde_json::from_str(&sandbox.stdout(&arguments)).unwrap()
}

/// The packages of a comparison: name, change, and the names of what is behind it.
fn packages(diff: &Value) -> Vec<String> {
    let packages = diff["packages"].as_array().unwrap();
    let because = |package: &Value| -> Vec<&str> {
        let indices = package["because_of"].as_array().unwrap().iter();
        indices
            .map(|idx| {
                let idx = usize::try_from(idx.as_u64().unwrap()).unwrap();
                packages[idx]["name"].as_str().unwrap()
            })
            .collect()
    };
    packages
        .iter()
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap();
            format!(
                "{} {} <- {}",
                text("name"),
                text("change"),
                because(package).join(" ")
            )
        })
        .collect()
}

#[test]
fn two_weeks_as_closures() {
    let sandbox = sandbox();
    let text = sandbox.show(&["diff", "week1.json", "week2.json"]);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn two_weeks_as_json() {
    let sandbox = sandbox();
    let mut diff = diff_json(&sandbox, &["week1.json", "week2.json"]);
    assert_eq!(diff["schema"], "nixply.diff/1");
    assert_eq!(
        packages(&diff),
        [
            "glibc version <- ",
            "openssl version <- ",
            "mailcap rebuilt <- ",
            "openssl-bin version <- ",
            "nss-cacert version <- ",
            "libyaml added <- ",
            "app version <- ",
            "python3.11-pyyaml removed <- ",
            "python3 rebuilt-by-reference <- glibc openssl mailcap",
            "gcc-lib rebuilt-by-reference <- glibc",
            "ncurses rebuilt-by-reference <- glibc",
            "bash rebuilt-by-reference <- glibc",
            "sqlite rebuilt-by-reference <- glibc",
            "python3-env rebuilt-by-reference <- glibc openssl mailcap nss-cacert",
            "python3.11-requests rebuilt-by-reference <- glibc openssl mailcap nss-cacert",
            "readline rebuilt-by-reference <- glibc",
            "zlib rebuilt-by-reference <- glibc",
        ]
    );
    // One of each shows all fields.
    for list in ["packages", "moved_layers"] {
        diff[list].as_array_mut().unwrap().truncate(1);
    }
    insta::assert_snapshot!(serde_json::to_string_pretty(&diff).unwrap());
}

#[test]
fn a_plan_has_no_references_and_takes_them_from_a_closure() {
    let sandbox = sandbox();
    for week in ["week1", "week2"] {
        sandbox.stdout(&[
            "plan",
            &format!("{week}.json"),
            "-o",
            &format!("{week}.plan"),
        ]);
    }
    insta::assert_snapshot!(sandbox.show(&["diff", "week1.plan", "week2.plan"]));
    let closures = diff_json(&sandbox, &["week1.json", "week2.json"]);
    let mut plans = diff_json(
        &sandbox,
        &["week1.plan", "week2.plan", "--closure", "week2.json"],
    );
    for (side, name) in [("old", "week1.json"), ("new", "week2.json")] {
        plans[side]["image"] = Value::from(name);
    }
    assert_eq!(plans, closures);
    let refused = sandbox.run(&[
        "diff",
        "week1.plan",
        "week2.plan",
        "--closure",
        "week2.plan",
    ]);
    assert_eq!(refused.status.code(), Some(3));
}

#[test]
fn two_images_are_compared_by_digest_and_in_stored_bytes() {
    let sandbox = sandbox();
    export(&sandbox, "week1.json", "old", unchanged);
    export(&sandbox, "week2.json", "new", unchanged);
    let diff = diff_json(&sandbox, &["old", "new", "--closure", "week2.json"]);
    assert_eq!(diff["identity"], "digest");
    assert_eq!(diff["new"]["sizes"], "stored");
    let closures = diff_json(&sandbox, &["week1.json", "week2.json"]);
    assert_eq!(diff["layers"], closures["layers"]);
    // Without NAR sizes packages of equal traffic come in another order.
    let sorted = |diff: &Value| {
        let mut packages = packages(diff);
        packages.sort();
        packages
    };
    assert_eq!(sorted(&diff).len(), sorted(&closures).len());
    insta::assert_snapshot!(sandbox.show(&["diff", "old", "new"]));
}

#[test]
fn an_image_and_its_closure_do_not_differ() {
    let sandbox = sandbox();
    export(&sandbox, "week1.json", "image", unchanged);
    let platform = ["--platform", "linux/amd64", "--exit-code"];
    for pair in [
        ["image", "week1.json"],
        ["week1.json", "image"],
        ["image", "image"],
    ] {
        let text = sandbox.show(&[&["diff"][..], &pair, &platform].concat());
        assert!(
            text.ends_with("\nThe images do not differ.\n--- stderr\n--- exit code 0\n"),
            "{text}"
        );
    }
}

#[test]
fn what_a_registry_holds_is_compared_with_what_would_be_pushed() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = sandbox();
    let reference = format!("{}/team/app:latest", registry.host());
    let options = [
        "--physical-store",
        "store",
        "-q",
        "--platform",
        "linux/amd64",
    ];
    let push = [
        &["push", "week1.json", &reference, "--compression", "zstd"][..],
        &options,
    ];
    sandbox.stdout(&push.concat());
    let image = format!("docker://{reference}");
    let same = diff_json(
        &sandbox,
        &[&image, "week1.json", "--platform", "linux/amd64"],
    );
    // What is planned on the fly is compressed as the image is.
    assert_eq!(same["identity"], "key");
    assert_eq!(same["differ"], json!(false), "{same}");
    let update = diff_json(
        &sandbox,
        &[&image, "week2.json", "--platform", "linux/amd64"],
    );
    let closures = diff_json(&sandbox, &["week1.json", "week2.json"]);
    assert_eq!(update["packages"], closures["packages"]);
    assert_eq!(update["push"], closures["push"]);
}

#[test]
fn what_another_tool_made_is_compared_by_store_paths() {
    let sandbox = sandbox();
    export(&sandbox, "week1.json", "foreign", like_dockertools);
    let same = diff_json(
        &sandbox,
        &["foreign", "week1.json", "--platform", "linux/amd64"],
    );
    assert_eq!(same["identity"], "store-paths");
    assert_eq!(
        (&same["differ"], &same["push"]["layers"]),
        (&json!(false), &json!(0))
    );
    let update = diff_json(&sandbox, &["foreign", "week2.json"]);
    let closures = diff_json(&sandbox, &["week1.json", "week2.json"]);
    assert_eq!(update["layers"], closures["layers"]);
    assert_eq!(update["packages"], closures["packages"]);
}

#[test]
fn layers_that_say_nothing_are_read_when_asked() {
    let sandbox = sandbox();
    export(&sandbox, "week1.json", "old", like_nix2container);
    export(&sandbox, "week2.json", "new", like_nix2container);
    let blind = diff_json(&sandbox, &["old", "new"]);
    assert_eq!(
        (&blind["paths_known"], &blind["packages"]),
        (&json!(false), &json!([]))
    );
    let text = sandbox.stdout(&["diff", "old", "new"]);
    assert!(text.contains("--read-layers"), "{text}");
    let read = diff_json(
        &sandbox,
        &["old", "new", "--read-layers", "--closure", "week2.json"],
    );
    assert_eq!(read["paths_known"], json!(true));
    assert_eq!(read["push"], blind["push"]);
    assert!(packages(&read).contains(&"openssl version <- ".to_owned()));
    export(&sandbox, "week1.json", "named", unchanged);
    let named = diff_json(&sandbox, &["named", "new", "--read-layers"]);
    assert_eq!(named["paths_known"], json!(true));
}

#[test]
fn another_compression_is_told_from_another_image() {
    let sandbox = sandbox();
    sandbox.stdout(&[
        "plan",
        "week1.json",
        "--compression",
        "zstd",
        "-o",
        "zstd.plan",
    ]);
    let diff = diff_json(&sandbox, &["week1.json", "zstd.plan"]);
    let n_layers = diff["new"]["layers"].clone();
    assert_eq!(diff["layers"]["recompressed"], n_layers);
    assert_eq!(diff["push"]["layers"], n_layers);
    assert_eq!(diff["pull"]["layers"], 0);
}

#[test]
fn a_config_that_differs_is_a_difference() {
    let sandbox = sandbox();
    sandbox.stdout(&["plan", "week1.json", "--user", "app", "-o", "user.plan"]);
    let text = sandbox.show(&["diff", "week1.json", "user.plan", "--exit-code"]);
    assert!(text.contains("another User\n"), "{text}");
    assert!(text.ends_with("--- stderr\n--- exit code 1\n"), "{text}");
}

#[test]
fn exit_codes_for_a_ci() {
    let sandbox = sandbox();
    let code = |more: &[&str]| {
        let arguments = [&["diff", "week1.json", "week2.json"], more].concat();
        let output = sandbox.run(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), stderr)
    };
    let quiet = |code| (code, String::new());
    assert_eq!(code(&[]), quiet(0));
    assert_eq!(code(&["--exit-code"]), quiet(1));
    assert_eq!(code(&["--max-push", "1GiB", "--max-pull", "1GB"]), quiet(0));
    let (status, stderr) = code(&["--exit-code", "--max-push", "100MiB"]);
    assert_eq!(status, 5);
    insta::assert_snapshot!(stderr);
    assert_eq!(code(&["--max-pull", "0"]).0, 5);
    let (status, stderr) = code(&["--max-pull", "1.5GiB"]);
    assert_eq!(status, 2, "{stderr}");
}
