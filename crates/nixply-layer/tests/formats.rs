//! The bytes of both formats against an independent implementation and against nixpkgs' own script.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

mod common;

use common::{
    SyntheticStore, docker_tools, fixture, fixtures, order, root_files, root_spec, store_spec, tar,
};
use nixply_layer::{DockerToolsHeader, LayerContents, LayerFormat, LayerSpec};
use nixply_oci::DiffId;
use nixply_store::StoreDir;
use nixply_testkit::require_program;
use serde_json::{Value, json};
use std::process::Command;

/// The digests that `dockertools_twin.py` makes, made by nixply. The two headers of big files have a unit test.
fn made_digests() -> Value {
    let store = SyntheticStore::new();
    let digest = |spec: &LayerSpec| DiffId::of(&tar(spec, &store.root()).unwrap()).hex();
    let odd = LayerFormat::DockerTools(DockerToolsHeader {
        mtime_secs: 1 << 33,
        uid: 1 << 21,
        gid: 100,
        uname: "é".to_owned(),
        gname: "g".repeat(33),
    });
    let mut other_dir = store_spec(&order(), LayerFormat::Nixply);
    if let LayerContents::Store { store_dir, .. } = &mut other_dir.contents {
        *store_dir = StoreDir::new("/srv/data/nix/store").unwrap();
    }
    let other_root = store.root_named("/srv/data/nix/store");
    json!({
        "dockertools": digest(&store_spec(&order(), docker_tools())),
        "dockertools_odd": digest(&store_spec(&order(), odd)),
        "nixply_store": digest(&store_spec(&order(), LayerFormat::Nixply)),
        "nixply_root": digest(&root_spec(root_files())),
        "nixply_other_dir": DiffId::of(&tar(&other_dir, &other_root).unwrap()).hex(),
    })
}

fn without_headers(mut digests: Value) -> Value {
    let object = digests.as_object_mut().unwrap();
    object.retain(|name, _| !name.starts_with("header_"));
    digests
}

#[test]
fn layers_have_the_digests_of_the_independent_implementation() {
    assert_eq!(made_digests(), without_headers(fixture("digests.json")));
}

#[test]
fn the_independent_implementation_still_makes_the_recorded_digests() {
    let Some(python3) = require_program("python3") else {
        return;
    };
    let twin = Command::new(python3)
        .arg("-B")
        .arg(fixtures().join("dockertools_twin.py"))
        .arg(fixtures().join("tree.json"))
        .env("PYTHONUTF8", "1")
        .output()
        .unwrap();
    assert!(
        twin.status.success(),
        "{}",
        String::from_utf8_lossy(&twin.stderr)
    );
    let digests: Value = serde_json::from_slice(&twin.stdout).unwrap();
    assert_eq!(digests, fixture("digests.json"));
}

#[test]
fn exact_mode_equals_the_real_script() {
    let store = SyntheticStore::new();
    let recorded = fixture("dockertools_real.json");
    let mut layers = 0;
    for image in recorded["images"].as_array().unwrap() {
        let conf = &image["conf"];
        let text = |field: &str| conf[field].as_str().unwrap().to_owned();
        let format = LayerFormat::DockerTools(DockerToolsHeader {
            mtime_secs: match conf["created"].as_str().unwrap() {
                "1970-01-01T00:00:01+00:00" => 1,
                "2024-06-25T20:55:05+02:00" => 1_719_341_705,
                other => panic!("no time known for {other}"),
            },
            uid: text("uid").parse().unwrap(),
            gid: text("gid").parse().unwrap(),
            uname: text("uname"),
            gname: text("gname"),
        });
        let store_layers: Vec<Vec<String>> =
            serde_json::from_value(conf["store_layers"].clone()).unwrap();
        let diff_ids = store_layers.iter().map(|paths| {
            let base_name = |path: &String| path.strip_prefix("/nix/store/").unwrap().to_owned();
            let base_names: Vec<String> = paths.iter().map(base_name).collect();
            let spec = store_spec(&base_names, format.clone());
            json!(DiffId::of(&tar(&spec, &store.root()).unwrap()))
        });
        let diff_ids: Vec<Value> = diff_ids.collect();
        layers += diff_ids.len();
        assert_eq!(json!(diff_ids), image["diff_ids"], "{conf}");
    }
    assert_eq!(layers, 12);
}

#[test]
fn a_tar_ends_with_two_zero_blocks_and_dockertools_pads_it() {
    let store = SyntheticStore::new();
    let nixply = tar(&store_spec(&order(), LayerFormat::Nixply), &store.root()).unwrap();
    assert_eq!(nixply[nixply.len() - 1024..], [0; 1024]);
    assert_ne!(nixply[nixply.len() - 1536..nixply.len() - 1024], [0; 512]);
    let exact = tar(&store_spec(&order(), docker_tools()), &store.root()).unwrap();
    assert_eq!(exact.len() % 10240, 0);
}
