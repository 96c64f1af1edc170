//! `nixply diff`: closures, plans and images, and the exit codes that a CI asks for.

use crate::support::Sandbox;
use crate::weeks::{base_name, export, like_dockertools, like_nix2container, sandbox, unchanged};
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
    // Of a plan, Nix is asked for the closure of what it holds.
    assert_eq!(refused.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(
        stderr.contains("cannot ask Nix for the closure of"),
        "{stderr}"
    );
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

/// A catalog that knows what both weeks have in common.
fn with_catalog() -> Sandbox {
    let sandbox = sandbox();
    let set = |name: &str| format!("/nix/store/{}", base_name(1, name));
    let sets = json!({
        "shell": [set("bash-5.2p26")],
        "python": [set("python3-3.11.9"), set("bash-5.2p26")],
        "data": [set("tzdata-2024a"), set("mailcap-2.1.54")],
    });
    sandbox.write("sets.json", &sets.to_string());
    let catalog = [
        "catalog",
        "week1.json",
        "--sets",
        "sets.json",
        "-o",
        "c.json",
    ];
    sandbox.stdout(&catalog);
    sandbox
}

#[test]
fn new_is_planned_as_it_will_be_pushed() {
    let sandbox = with_catalog();
    let fleet = ["--catalog", "c.json", "--max-layers", "9"];
    let plan = [&["plan", "week1.json", "-o", "fleet.plan"][..], &fleet];
    sandbox.stdout(&plan.concat());
    export(&sandbox, "fleet.plan", "image", unchanged);
    let platform = ["--platform", "linux/amd64"];
    for old in ["fleet.plan", "image", "week1.json"] {
        let options = [&[old, "week1.json"][..], &platform, &fleet].concat();
        let diff = diff_json(&sandbox, &options);
        assert_eq!(diff["differ"], json!(false), "{old}: {diff}");
        assert_eq!(diff["new"]["packer"]["name"], "fleet");
        let alike = if old == "image" {
            Value::Null
        } else {
            json!(true)
        };
        assert_eq!(diff["packed_alike"], alike, "{old}");
    }
}

#[test]
fn another_packer_is_told() {
    let sandbox = with_catalog();
    let fleet = ["--catalog", "c.json", "--max-layers", "9"];
    let plan = [&["plan", "week1.json", "-o", "fleet.plan"][..], &fleet];
    sandbox.stdout(&plan.concat());
    export(&sandbox, "fleet.plan", "image", unchanged);
    let diff = diff_json(&sandbox, &["fleet.plan", "week1.json"]);
    assert_eq!(diff["packed_alike"], json!(false));
    assert_eq!(diff["old"]["packer"]["max_layers"], 9);
    let mut text = String::new();
    for arguments in [
        &["diff", "fleet.plan", "week1.json", "--max-pull", "1KiB"][..],
        &["diff", "image", "week1.json", "--platform", "linux/amd64"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
    // Who gave options knows of them.
    let given = sandbox.stdout(&["diff", "image", "week1.json", "--packer", "size"]);
    assert!(!given.contains("note:"), "{given}");
}

#[test]
fn plan_options_are_for_what_is_planned_here() {
    let sandbox = with_catalog();
    sandbox.stdout(&["plan", "week1.json", "-o", "one.plan"]);
    export(&sandbox, "week1.json", "image", unchanged);
    let mut text = String::new();
    for arguments in [
        &["diff", "image", "one.plan", "--catalog", "c.json"][..],
        &["explain", "one.plan", "--max-layers", "3"],
        &["explain", "image", "--compression", "zstd"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_closure_of_something_else_has_no_references_of_new() {
    let sandbox = sandbox();
    for week in ["week1", "week2"] {
        let plan = format!("{week}.plan");
        sandbox.stdout(&["plan", &format!("{week}.json"), "-o", &plan]);
    }
    let plans = ["week1.plan", "week2.plan"];
    let without = diff_json(&sandbox, &plans);
    let wrong = [
        &["diff", "--json"][..],
        &plans,
        &["--closure", "week1.json"],
    ]
    .concat();
    let output = sandbox.run(&wrong);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "warning: --closure: `week1.json` is not the closure of `week2.plan`: it lacks 16 of 20 store paths, \
             /nix/store/{} for one; going on without references\n",
            base_name(2, "glibc-2.40-36")
        )
    );
    assert_eq!(
        serde_json::from_slice::<Value>(&output.stdout).unwrap(),
        without
    );
    assert_eq!(without["references_known"], json!(false));
    // A closure knows its own references.
    let own = ["diff", "--json", "week1.json", "week2.json"];
    let output = sandbox.run(&[&own[..], &["--closure", "week1.json"]].concat());
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "warning: --closure is left out: `week2.json` has references of its own\n"
    );
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        sandbox.stdout(&own)
    );
}

#[test]
fn unrelated_images_and_long_names() {
    let sandbox = sandbox();
    let record = |digit: &str, name: &str| {
        json!({
            "path": format!("/nix/store/{}-{name}", digit.repeat(32)),
            "narHash": format!("sha256:{}", digit.repeat(64)),
            "narSize": 1_000_000, "references": [], "valid": true,
        })
    };
    let old = [
        record("1", "libsasl2-modules-database-2.1.28+dfsg-10"),
        record(
            "2",
            "a-hook-with-a-name-that-is-longer-than-any-table-has-room-for-1.0",
        ),
    ];
    let new = [
        record("3", "libsasl2-modules-database-2.1.28+dfsg-10+deb12u1"),
        record(
            "4",
            "a-hook-with-a-name-that-is-longer-than-any-table-has-room-for-1.0",
        ),
    ];
    sandbox.write("old.json", &json!(old).to_string());
    sandbox.write("new.json", &json!(new).to_string());
    let mut text = String::new();
    for arguments in [
        &["diff", "old.json", "new.json"][..],
        &["diff", "old.json", "new.json", "--max-layers", "1"],
        &["diff", "week1.json", "old.json"],
        &["diff", "week1.json", "old.json", "--all"],
    ] {
        text.push_str(&sandbox.show(arguments));
        text.push('\n');
    }
    let wide = text.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None);
    insta::assert_snapshot!(text);
}
