//! Images that are built on others: from a registry, from a lock, from files, from plans.

use crate::support::{APP, LIBC, Sandbox};
use nixply_testkit::registry::RegistryProcess;
use serde_json::{Value, json};
use std::fs;

const STORE: [&str; 2] = ["--physical-store", "store"];

/// A sandbox with `base.json`, an image as Debian has them since its directories were merged, and `app.json`, one that
/// puts files below the links of the first.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let base = json!({
        "schema": "nixply.image/1",
        "platform": {"os": "linux", "architecture": "amd64"},
        "files": [
            {"path": "usr/bin/sh", "type": "file", "mode": "0755", "content": "#!shell\n"},
            {"path": "bin", "type": "symlink", "target": "usr/bin"},
            {"path": "etc/shell", "type": "symlink", "target": "/bin/sh"},
            {"path": "root", "type": "directory", "mode": "0700"},
        ],
        "config": {
            "Entrypoint": ["/init"], "Cmd": ["serve"], "User": "app", "Labels": {"a": "1"},
            "Env": ["PATH=/usr/bin", "A=base"], "OnBuild": ["RUN x"],
        },
    });
    let app = json!({
        "schema": "nixply.image/1",
        "closure": "closure.json",
        "files": [
            {"path": "/bin/app", "type": "symlink", "target": format!("/nix/store/{APP}/bin/app")},
            {"path": "/root/.profile", "type": "file", "content": "x\n"},
        ],
        "config": {"Entrypoint": ["/bin/app"], "Env": ["A=app", "B=1"], "Labels": {"b": "2"}},
    });
    sandbox.write("base.json", &base.to_string());
    sandbox.write("app.json", &app.to_string());
    sandbox
}

pub(crate) fn json_of(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    serde_json::from_str(&sandbox.stdout(arguments)).unwrap()
}

pub(crate) fn plan(sandbox: &Sandbox, more: &[&str]) -> Value {
    json_of(sandbox, &[&["plan", "app.json", "--json"], more].concat())
}

/// What standard error says of a run that must fail, and its exit code.
pub(crate) fn failure(sandbox: &Sandbox, arguments: &[&str]) -> (i32, String) {
    let output = sandbox.run(arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr)
}

pub(crate) fn kinds(plan: &Value) -> Vec<&str> {
    let layers = plan["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| layer["kind"].as_str().unwrap())
        .collect()
}

pub(crate) fn push(sandbox: &Sandbox, image: &str, reference: &str, more: &[&str]) -> Value {
    let arguments = [
        &["push", image, reference, "--json", "--no-cache"],
        &STORE[..],
        more,
    ]
    .concat();
    let stdout = sandbox.stdout(&arguments);
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

/// The root files of a plan by path.
pub(crate) fn files(plan: &Value) -> Vec<(&str, Option<&str>)> {
    let layers = plan["layers"].as_array().unwrap();
    let root = layers
        .iter()
        .rfind(|layer| layer["kind"] == "root")
        .unwrap();
    let files = root["files"].as_array().unwrap().iter();
    files
        .map(|file| (file["path"].as_str().unwrap(), file["mode"].as_str()))
        .collect()
}

#[test]
fn every_form_on_disk_is_a_base() {
    let sandbox = sandbox();
    let mut diff_ids = Vec::new();
    for (format, compression) in [
        ("oci-dir", "gzip:6"),
        ("archive", "zstd"),
        ("docker-archive", "none"),
    ] {
        let base = format!("base-{format}");
        let options = [
            "--format",
            format,
            "--compression",
            compression,
            "-o",
            &base,
        ];
        sandbox.stdout(&[&["export", "base.json"], &options[..]].concat());
        let made = plan(&sandbox, &["--base", &base]);
        assert_eq!(
            kinds(&made),
            ["base", "store", "store", "root", "store"],
            "{format}"
        );
        let layer = &made["layers"][0];
        diff_ids.push(layer["diff_id"].as_str().unwrap().to_owned());
        // What is compressed is taken as it is, what is not is compressed as the image's own layers are.
        let is_compressed = format != "docker-archive";
        assert_eq!(layer.get("descriptor").is_some(), is_compressed, "{format}");
        assert_eq!(layer.get("key").is_some(), !is_compressed, "{format}");
        // No directory of ours replaces `bin`, and `root` stays as the base has it.
        let link = format!("/nix/store/{APP}/bin/app");
        assert_eq!(
            files(&made),
            [
                ("root", Some("0700")),
                ("root/.profile", None),
                ("usr/bin/app", None),
            ]
        );
        assert!(made.to_string().contains(&link));
        // The image can be made, and holds what the plan says.
        sandbox.write("plan.json", &made.to_string());
        let image = format!("image-{format}.tar");
        sandbox.stdout(&[&["export", "plan.json", "-o", &image][..], &STORE].concat());
        let verified =
            sandbox.stdout(&[&["verify", &image, "--plan", "plan.json"][..], &STORE].concat());
        assert!(
            verified.contains("a layer of the base image, as planned"),
            "{verified}"
        );
        let old = format!("image-{format}-docker.tar");
        let docker = ["--format", "docker-archive", "-o", &old];
        sandbox.stdout(&[&["export", "plan.json"], &docker[..], &STORE].concat());
        let verified =
            sandbox.stdout(&[&["verify", &old, "--plan", "plan.json"][..], &STORE].concat());
        assert!(verified.contains("verified 5 layers"), "{verified}");
    }
    diff_ids.dedup();
    assert_eq!(diff_ids.len(), 1);
}

#[test]
fn an_archive_that_is_compressed_as_a_whole_is_a_base() {
    let sandbox = sandbox();
    let options = ["--format", "docker-archive", "-o", "base.tar"];
    sandbox.stdout(&[&["export", "base.json"], &options[..]].concat());
    let plain = plan(&sandbox, &["--base", "base.tar"]);
    let tar = fs::read(sandbox.path("base.tar")).unwrap();
    let pool = nixply_layer::CompressionPool::new(1).unwrap();
    for name in ["gzip", "zstd"] {
        let mut compressed =
            nixply_layer::Compressor::new(name.parse().unwrap(), pool.clone(), Vec::new());
        std::io::Write::write_all(&mut compressed, &tar).unwrap();
        fs::write(sandbox.path(name), compressed.finish().unwrap()).unwrap();
        let made = plan(&sandbox, &["--base", name]);
        assert_eq!(made["layers"][0]["key"], plain["layers"][0]["key"]);
        sandbox.write("plan.json", &made.to_string());
        sandbox.stdout(&[&["export", "plan.json", "-o", "image.tar"][..], &STORE].concat());
        sandbox.stdout(&[&["verify", "image.tar", "--plan", "plan.json"][..], &STORE].concat());
    }
}

#[test]
fn the_config_is_inherited_as_a_dockerfile_does_it() {
    let sandbox = sandbox();
    sandbox.stdout(&["export", "base.json", "-o", "base.tar"]);
    let made = plan(&sandbox, &["--base", "base.tar"]);
    assert_eq!(
        made["config"],
        json!({
            "Entrypoint": ["/bin/app"], "User": "app", "Labels": {"a": "1", "b": "2"},
            "Env": ["PATH=/usr/bin", "A=app", "B=1"],
        })
    );
    let made = plan(
        &sandbox,
        &["--base", "base.tar", "--cmd", "x", "--env", "PATH=/bin"],
    );
    assert_eq!(made["config"]["Cmd"], json!(["x"]));
    assert_eq!(made["config"]["Env"], json!(["PATH=/bin", "A=app", "B=1"]));
    let made = plan(&sandbox, &["--base", "base.tar", "--no-inherit-config"]);
    assert_eq!(
        made["config"],
        json!({
            "Entrypoint": ["/bin/app"], "Labels": {"b": "2"},
            "Env": ["PATH=/usr/bin", "A=app", "B=1"],
        })
    );
}

#[test]
fn a_plan_is_a_base_and_its_store_paths_are_not_repeated() {
    let sandbox = sandbox();
    let closure = ["plan", "closure.json", "--json", "-o", "lib.json"];
    let root = format!("/nix/store/{LIBC}");
    sandbox.stdout(
        &[
            &closure[..],
            &["--root", &root, "--platform", "linux/amd64"],
        ]
        .concat(),
    );
    let made = plan(&sandbox, &["--base", "lib.json", "--compression", "zstd"]);
    let paths: Vec<Value> = made["layers"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|layer| layer["paths"].as_array().cloned().unwrap_or_default())
        .collect();
    assert_eq!(paths.len(), 4);
    assert_eq!(paths[0]["path"], root);
    assert_eq!(made["roots"], json!([format!("/nix/store/{APP}")]));
    sandbox.write("plan.json", &made.to_string());
    // Built on an image that is built on an image.
    let again = plan(&sandbox, &["--base", "plan.json"]);
    assert_eq!(
        again["layers"].as_array().unwrap().len(),
        made["layers"].as_array().unwrap().len() + 1
    );
    sandbox.stdout(&[&["export", "plan.json", "-o", "image.tar"][..], &STORE].concat());
    // An image tells its store paths, too.
    let on_image = plan(&sandbox, &["--base", "image.tar"]);
    assert!(!kinds(&on_image).contains(&"store"), "{on_image}");
    assert_eq!(on_image["roots"], made["roots"]);
}

#[test]
fn what_cannot_be_built_is_told() {
    let sandbox = sandbox();
    sandbox.stdout(&["export", "base.json", "-o", "base.tar"]);
    let of = |more: &[&str]| failure(&sandbox, &[&["plan", "app.json"], more].concat());
    let (code, stderr) = of(&["--base", "base.tar", "--max-layers", "2"]);
    assert_eq!(code, 3);
    assert!(
        stderr.starts_with(
            "error: the base image has 1 layers and the image needs 2 more at least, expected at most 2 together\n"
        ),
        "{stderr}"
    );
    let (code, stderr) = of(&["--base", "base.tar", "--platform", "linux/arm64"]);
    assert_eq!(code, 3);
    assert!(stderr.contains("linux/arm64"), "{stderr}");
    let (code, stderr) = of(&["--base", "closure.json"]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains("it is a closure, not a base image"),
        "{stderr}"
    );
    let (code, stderr) = of(&["--base", "store"]);
    assert_eq!(code, 3);
    assert!(
        stderr.contains("`store` is a directory that is no OCI layout"),
        "{stderr}"
    );
    let (code, _) = of(&["--base", "nothing"]);
    assert_eq!(code, 1);
    sandbox.stdout(&["plan", "base.json", "--json", "-o", "plan.json"]);
    let (code, stderr) = failure(&sandbox, &["plan", "plan.json", "--base", "base.tar"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("--base has no meaning here"), "{stderr}");
}

#[test]
fn a_locked_base_needs_no_network_before_the_push_which_mounts_it() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = sandbox();
    let base = format!("{}/debian:12", registry.host());
    let pushed = push(&sandbox, "base.json", &base, &["--compression", "gzip:9"]);
    sandbox.stdout(&["base", "lock", &base, "-o", "lock.json"]);
    let lock: Value =
        serde_json::from_slice(&fs::read(sandbox.path("lock.json")).unwrap()).unwrap();
    assert_eq!(lock["schema"], "nixply.base/1");
    assert_eq!(lock["reference"], pushed["reference"]);
    assert_eq!(lock["links"], json!({"bin": "usr/bin"}));
    assert_eq!(
        lock["directories"],
        json!({"root": {"mode": "0700", "uid": 0, "gid": 0}})
    );

    let reference = format!("{}/team/app:v1", registry.host());
    let result = push(&sandbox, "app.json", &reference, &["--base", "lock.json"]);
    let layer = &result["layers"][0];
    assert_eq!(layer["outcome"], "mounted", "{result}");
    assert_eq!(layer["mounted_from"], format!("{}/debian", registry.host()));
    assert_eq!(layer["digest"], pushed["layers"][0]["digest"]);
    // Directly, and by a specification that has the lock in it, it is the same image.
    let online = format!("docker://{base}");
    let again = push(&sandbox, "app.json", &reference, &["--base", &online]);
    assert_eq!(again["digest"], result["digest"]);
    assert_eq!(again["unchanged"], true);
    let mut spec: Value =
        serde_json::from_slice(&fs::read(sandbox.path("app.json")).unwrap()).unwrap();
    spec["base"] = lock;
    sandbox.write("locked.json", &spec.to_string());
    let inline = push(&sandbox, "locked.json", &reference, &[]);
    assert_eq!(inline["unchanged"], true);

    // The whole image comes back, with the base's annotations and its history.
    let image = format!("docker://{reference}");
    let seen = json_of(&sandbox, &["inspect", &image, "--json"]);
    assert!(seen.to_string().contains(lock_digest(&pushed)), "{seen}");
    sandbox.stdout(&["plan", "locked.json", "--json", "-o", "plan.json"]);
    let verified =
        sandbox.stdout(&[&["verify", &image, "--plan", "plan.json"][..], &STORE].concat());
    assert!(verified.contains("verified 5 layers"), "{verified}");

    // The network is gone: a plan is made all the same, and the registry's absence is told by the push.
    drop(registry);
    assert_eq!(
        plan(&sandbox, &["--base", "lock.json"]),
        json_of(&sandbox, &["plan", "plan.json", "--json"])
    );
    let (code, _) = failure(
        &sandbox,
        &[&["push", "locked.json", &reference][..], &STORE].concat(),
    );
    assert_eq!(code, 4);
}

fn lock_digest(pushed: &Value) -> &str {
    pushed["digest"].as_str().unwrap()
}

#[test]
fn a_base_in_a_registry_is_looked_into_once() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = sandbox();
    let base = format!("docker://{}/debian:12", registry.host());
    push(
        &sandbox,
        "base.json",
        base.trim_start_matches("docker://"),
        &[],
    );
    let says = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        let output = command
            .env("NIXPLY_CACHE_DIR", sandbox.path("cache"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let plan = ["plan", "app.json", "--base", &base, "-o", "plan.json"];
    assert!(says(&plan).contains("reading the layers of "));
    let first = fs::read(sandbox.path("plan.json")).unwrap();
    assert_eq!(says(&plan), "");
    assert_eq!(fs::read(sandbox.path("plan.json")).unwrap(), first);
    // What an earlier version kept tells less of the base, or tells it otherwise.
    let mut trees = fs::read_dir(sandbox.path("cache/bases")).unwrap();
    let kept = trees.next().unwrap().unwrap().path();
    let tree = r#"{"links":{},"usual_directories":{}}"#;
    let of_version_0 = format!(r#"{{"version":0,"tree":{tree}}}"#);
    for earlier in [tree, &of_version_0, "{}"] {
        fs::write(&kept, earlier).unwrap();
        assert!(says(&plan).contains("reading the layers of "), "{earlier}");
        assert_eq!(fs::read(sandbox.path("plan.json")).unwrap(), first);
        assert_eq!(says(&plan), "");
    }
    says(&["cache", "clear"]);
    assert!(says(&plan).contains("reading the layers of "));
    // Without a file outside the store, nothing of the base could be damaged.
    says(&["cache", "clear"]);
    let options = ["--platform", "linux/amd64", "-o", "plan.json"];
    let plan = [&["plan", "closure.json", "--base", &base][..], &options].concat();
    assert_eq!(says(&plan), "");
}

#[test]
fn a_base_in_another_registry_is_copied_and_checked() {
    let (Some(from), Some(to)) = (RegistryProcess::start(), RegistryProcess::start()) else {
        return;
    };
    let sandbox = sandbox();
    let base = format!("{}/debian:12", from.host());
    let pushed = push(&sandbox, "base.json", &base, &[]);
    sandbox.stdout(&["base", "lock", &base, "-o", "lock.json"]);
    let reference = format!("{}/team/app:v1", to.host());
    // One request at a time: an upload that waits for its layer does not keep the layer from coming.
    let options = ["--base", "lock.json", "--connections", "1", "--jobs", "1"];
    let result = push(&sandbox, "app.json", &reference, &options);
    assert_eq!(result["layers"][0]["outcome"], "uploaded");
    assert_eq!(result["layers"][0]["digest"], pushed["layers"][0]["digest"]);
    // Without a registry to push to, it is fetched as well.
    let export = [
        "export",
        "app.json",
        "--base",
        "lock.json",
        "-o",
        "image.tar",
    ];
    sandbox.stdout(&[&export[..], &STORE].concat());

    // A registry that gives other bytes than it names.
    let hex = pushed["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:");
    let blob = from.blob_file(hex);
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    let other = format!("{}/team/other:v1", to.host());
    // The target knows the layer by now; another one does not.
    let Some(third) = RegistryProcess::start() else {
        return;
    };
    let third = other.replace(to.host(), third.host());
    let arguments = [
        "push",
        "app.json",
        &third,
        "--base",
        "lock.json",
        "--no-cache",
    ];
    let (code, stderr) = failure(&sandbox, &[&arguments[..], &STORE].concat());
    assert_eq!(code, 4, "{stderr}");
    assert!(
        stderr.contains(&format!("expected sha256:{hex}")),
        "{stderr}"
    );
    let export = [
        "export",
        "app.json",
        "--base",
        "lock.json",
        "-o",
        "other.tar",
    ];
    let (_, stderr) = failure(&sandbox, &[&export[..], &STORE].concat());
    assert!(
        stderr.contains(&format!("expected sha256:{hex}")),
        "{stderr}"
    );
    assert!(!sandbox.path("other.tar").exists());
}

#[test]
fn a_lock_that_was_changed_by_hand_is_refused() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let sandbox = sandbox();
    let base = format!("{}/debian:12", registry.host());
    push(&sandbox, "base.json", &base, &[]);
    let lock = sandbox.stdout(&["base", "lock", &base]);
    for (from, to, what) in [
        ("serve", "serVe", "config"),
        ("\\\"size\\\":", "\\\"size\\\": ", "manifest"),
    ] {
        let changed = lock.replacen(from, to, 1);
        assert_ne!(changed, lock);
        sandbox.write("lock.json", &changed);
        let (code, stderr) = failure(&sandbox, &["plan", "app.json", "--base", "lock.json"]);
        assert_eq!(code, 3);
        let problem = format!("the lock's {what} is not the one that is named");
        assert!(stderr.contains(&problem), "{stderr}");
    }
    let (code, stderr) = failure(
        &sandbox,
        &["base", "lock", &base, "--platform", "linux/arm64"],
    );
    assert_eq!(code, 3);
    assert!(
        stderr.contains("is for linux/amd64, expected linux/arm64"),
        "{stderr}"
    );
}

#[test]
fn the_examples_of_the_documentation_hold() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/base-images.md");
    let docs = fs::read_to_string(docs).unwrap();
    let block = |kind: &str| {
        let (_, rest) = docs.split_once(&format!("```{kind}\n")).unwrap();
        rest.split_once("```").unwrap().0
    };
    let sandbox = sandbox();
    let base = format!("{}/library/debian:12", registry.host());
    push(&sandbox, "base.json", &base, &[]);
    let mut ran = 0;
    for line in docs
        .lines()
        .filter_map(|line| line.strip_prefix("$ nixply "))
    {
        let line = line
            .replace("docker.io", registry.host())
            .replace("ghcr.io", registry.host());
        let arguments: Vec<&str> = line.split(' ').collect();
        let store: &[&str] = if arguments[0] == "push" { &STORE } else { &[] };
        sandbox.stdout(&[&arguments, store].concat());
        ran += 1;
    }
    assert_eq!(ran, 2);
    sandbox.write("example.json", block("json"));
    let made = json_of(&sandbox, &["plan", "example.json", "--json"]);
    assert_eq!(kinds(&made)[0], "base");
    assert_eq!(files(&made), [("usr/bin/greet", Some("0755"))]);
    assert_eq!(made["config"]["Cmd"], json!(["/bin/greet"]));
}
