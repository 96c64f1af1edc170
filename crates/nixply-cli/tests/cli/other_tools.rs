//! Images that other tools decided: dockerTools' `conf.json` and its stream script.

use crate::support::{APP, DATA, LIB, LIBC, Sandbox};
use nixply_oci::DiffId;
use serde_json::{Value, json};
use std::fs;
use std::process::Output;

/// A tar without entries.
const TAR: [u8; 10240] = [0; 10240];

/// A sandbox whose `nix` answers every question with `closure.json`, and a customisation layer in it.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.program("nix", "exec /bin/cat closure.json");
    fs::create_dir(sandbox.path("custom")).unwrap();
    fs::write(sandbox.path("custom/layer.tar"), TAR).unwrap();
    let checksum = DiffId::of(&TAR).to_string();
    let checksum = checksum.strip_prefix("sha256:").unwrap();
    sandbox.write("custom/checksum", &format!("{checksum}\n"));
    sandbox
}

fn conf(sandbox: &Sandbox) -> Value {
    let path = |name: &str| format!("/nix/store/{name}");
    json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/app"], "Env": ["A=1", "A=2"], "Healthcheck": {"Test": ["NONE"]}},
        "store_dir": "/nix/store",
        "from_image": null,
        "store_layers": [[path(LIBC)], [path(LIB)], [path(DATA), path(APP)]],
        "customisation_layer": sandbox.path("custom"),
        "repo_tag": "reg.example:5000/team/app:v1",
        "created": "2024-06-25T20:55:05+02:00",
        "mtime": "1970-01-01T00:00:01+00:00",
        "uid": "0", "gid": "0", "uname": "root", "gname": "root",
    })
}

fn write_conf(sandbox: &Sandbox, change: impl Fn(&mut Value)) {
    let mut conf = conf(sandbox);
    change(&mut conf);
    sandbox.write("conf.json", &conf.to_string());
}

fn run(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    sandbox
        .command(arguments)
        .env("PATH", sandbox.path("bin"))
        .output()
        .unwrap()
}

fn stdout(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = run(sandbox, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn plan(sandbox: &Sandbox, more: &[&str]) -> Value {
    let arguments = [&["plan", "conf.json", "--json"], more].concat();
    serde_json::from_str(&stdout(sandbox, &arguments)).unwrap()
}

#[test]
fn a_conf_is_a_plan_of_its_layers() {
    let sandbox = sandbox();
    write_conf(&sandbox, |_| ());
    let plan = plan(&sandbox, &[]);
    let names = |layer: &Value| -> Vec<String> {
        let paths = layer["paths"].as_array().unwrap().iter();
        let base = |path: &Value| path["path"].as_str().unwrap()[11..].to_owned();
        paths.map(base).collect()
    };
    let layers = plan["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 4);
    // The order is the file's, also within a layer.
    assert_eq!(names(&layers[2]), [DATA, APP]);
    assert_eq!(layers[3]["kind"], "tar");
    assert_eq!(layers[3]["diff_id"], DiffId::of(&TAR).to_string());
    assert_eq!(plan["name"], "reg.example:5000/team/app");
    assert_eq!(plan["tag"], "v1");
    assert_eq!(plan["created"], "2024-06-25T18:55:05Z");
    assert_eq!(plan["layer_format"], "dockertools");
    assert_eq!(plan["config"]["Env"], json!(["A=1", "A=2"]));
    assert_eq!(plan["config"]["Healthcheck"], json!({"Test": ["NONE"]}));
}

#[test]
fn the_image_of_a_conf_is_what_the_conf_says() {
    let sandbox = sandbox();
    write_conf(&sandbox, |conf| {
        conf["uid"] = json!("1000");
        conf["gname"] = json!("users");
    });
    let store = ["--physical-store", "store"];
    let export = [
        "export",
        "conf.json",
        "--format",
        "oci-dir",
        "-o",
        "layout",
        "-q",
    ];
    stdout(&sandbox, &[&export[..], &store].concat());
    let verify = ["verify", "layout", "--plan", "conf.json"];
    let text = stdout(&sandbox, &[&verify[..], &store].concat());
    assert!(text.ends_with("verified 4 layers\n"), "{text}");
    let inspected = stdout(&sandbox, &["inspect", "layout", "--json"]);
    let diff_id = DiffId::of(&TAR).to_string();
    assert!(inspected.contains(&diff_id), "{inspected}");
    // Without the plan nothing says who made a finished tar.
    let alone = run(&sandbox, &[&["verify", "layout"], &store[..]].concat());
    assert_eq!(alone.status.code(), Some(5));
}

#[test]
fn the_stream_script_names_the_conf() {
    let sandbox = sandbox();
    write_conf(&sandbox, |_| ());
    fs::rename(sandbox.path("conf.json"), sandbox.path("app-conf.json")).unwrap();
    let conf = sandbox.path("app-conf.json");
    sandbox.write(
        "stream-app",
        &format!(
            "#! /bin/bash -e\nexec \"/nix/store/x-stream\"  {} \"$@\" \n",
            conf.display()
        ),
    );
    let text = stdout(&sandbox, &["plan", "stream-app"]);
    assert!(text.contains("4 layers, 4 store paths"), "{text}");
    assert!(text.contains("packer dockertools-conf 1"), "{text}");
}

#[test]
fn a_time_of_now_reaches_the_config_only() {
    let sandbox = sandbox();
    write_conf(&sandbox, |conf| {
        conf["created"] = json!("now");
        conf.as_object_mut().unwrap().remove("mtime");
    });
    let plan = plan(&sandbox, &[]);
    assert_eq!(plan["layer_format"], "dockertools");
    assert!(plan["created"].as_str().unwrap() > "2024");
}

#[test]
fn options_that_decide_layers_are_refused_and_others_are_laid_over() {
    let sandbox = sandbox();
    write_conf(&sandbox, |_| ());
    let refused = run(&sandbox, &["plan", "conf.json", "--max-layers", "5"]);
    assert_eq!(refused.status.code(), Some(2));
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert!(
        stderr.contains("`conf.json` decides the layers already"),
        "{stderr}"
    );
    let plan = plan(&sandbox, &["--compression", "zstd", "--user", "1000"]);
    assert_eq!(plan["compression"], "zstd:3");
    assert_eq!(plan["config"]["User"], "1000");
}

#[test]
fn wrong_confs_are_named() {
    let sandbox = sandbox();
    let error = |change: &dyn Fn(&mut Value)| {
        write_conf(&sandbox, change);
        let output = run(&sandbox, &["plan", "conf.json"]);
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = error(&|conf| {
        conf["store_layers"][0][0] = json!("/nix/store/5555555555555555555555555555555f-new");
    });
    assert!(
        unknown.contains("nothing is known of `/nix/store/5"),
        "{unknown}"
    );
    let outside = error(&|conf| conf["store_layers"][0][0] = json!("/etc/passwd"));
    assert!(
        outside.contains("`/etc/passwd` is not a store path in `/nix/store`"),
        "{outside}"
    );
    let twice = error(&|conf| conf["store_layers"][1] = conf["store_layers"][0].clone());
    assert!(twice.contains("stands in two layers"), "{twice}");
    let owner = error(&|conf| conf["uid"] = json!("joe"));
    assert!(owner.contains("field `uid`: `joe`"), "{owner}");
    let time = error(&|conf| conf["created"] = json!("yesterday"));
    assert!(time.contains("field `created`"), "{time}");
    sandbox.write("custom/checksum", "0\n");
    let checksum = error(&|_| ());
    assert!(checksum.contains("does not hold a SHA-256"), "{checksum}");
}

/// An `image.json` that the real nix2container wrote.
fn recorded_image(sandbox: &Sandbox) -> Value {
    let place = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/nix2container/root.json"
    );
    let text = fs::read_to_string(place).unwrap();
    sandbox.write("image.json", &text);
    serde_json::from_str(&text).unwrap()
}

#[test]
fn an_image_of_nix2container_is_a_plan_with_its_diff_ids() {
    let sandbox = sandbox();
    let image = recorded_image(&sandbox);
    let plan: Value =
        serde_json::from_str(&stdout(&sandbox, &["plan", "image.json", "--json"])).unwrap();
    assert_eq!(plan["created"], "2024-05-13T09:31:10Z");
    assert_eq!(plan["config"], image["image-config"]);
    let (planned, layer) = (&plan["layers"][0], &image["layers"][0]);
    assert_eq!(planned["kind"], "nix2container");
    assert_eq!(planned["diff_id"], layer["diff_ids"]);
    assert_eq!(planned["paths"], layer["paths"]);
    assert_eq!(planned["history"], layer["History"]);
    // The plan is itself an image, and the same one.
    sandbox.write("plan.json", &plan.to_string());
    let again: Value =
        serde_json::from_str(&stdout(&sandbox, &["plan", "plan.json", "--json"])).unwrap();
    assert_eq!(again["layers"], plan["layers"]);
    let export = [
        "export",
        "image.json",
        "--format",
        "oci-dir",
        "-o",
        "layout",
    ];
    let missing = run(
        &sandbox,
        &[&export[..], &["--physical-store", "store"]].concat(),
    );
    assert_eq!(missing.status.code(), Some(3));
    let stderr = String::from_utf8(missing.stderr).unwrap();
    assert!(
        stderr.contains("3 store paths not in the store"),
        "{stderr}"
    );
}

#[test]
fn finished_layers_of_nix2container_are_taken_where_they_are_plain_tars() {
    let sandbox = sandbox();
    let mut image = recorded_image(&sandbox);
    let layer = &mut image["layers"][0];
    layer["layer-path"] = json!(sandbox.path("custom/layer.tar"));
    layer["diff_ids"] = json!(DiffId::of(&TAR));
    sandbox.write("image.json", &image.to_string());
    let export = [
        "export",
        "image.json",
        "--format",
        "oci-dir",
        "-o",
        "layout",
        "-q",
    ];
    stdout(&sandbox, &export);
    let inspected = stdout(&sandbox, &["inspect", "layout", "--json"]);
    assert!(
        inspected.contains(&DiffId::of(&TAR).to_string()),
        "{inspected}"
    );

    image["version"] = json!(2);
    sandbox.write("image.json", &image.to_string());
    let newer = run(&sandbox, &["plan", "image.json"]);
    assert_eq!(newer.status.code(), Some(3));
    let stderr = String::from_utf8(newer.stderr).unwrap();
    assert!(stderr.contains("has version 2, expected 1"), "{stderr}");
}
