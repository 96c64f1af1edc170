//! Nix's database as part of a plan.
#![expect(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use nixply_image::{
    ImageSpec, NixDatabaseSpec, NixOwner, OnCollision, Plan, PlanError, PlanOptions, PlannedLayer,
    plan_image,
};
use nixply_layer::{Compression, FileContent, LayerContents, RootFile, RootFileKind, StoreRoot};
use nixply_oci::{Platform, RuntimeConfig};
use nixply_pack::Packer;
use nixply_store::{Closure, read_closure};
use std::collections::BTreeMap;

const APP: &str = "/nix/store/1111111111111111111111111111111a-app-1.0";
const LIB: &str = "/nix/store/2222222222222222222222222222222b-lib-2";

/// `app` refers to `lib` and to itself.
fn closure_json() -> String {
    let record = |path: &str, digit: &str, size: u64, references: &[&str]| {
        serde_json::json!({"path": path, "narHash": format!("sha256-{}=", digit.repeat(43)), "narSize": size,
            "references": references, "valid": true, "deriver": null, "ca": "fixed:r:sha256:x", "ultimate": true})
    };
    serde_json::json!([
        record(APP, "A", 400, &[APP, LIB]),
        record(LIB, "E", 600, &[])
    ])
    .to_string()
}

/// The same as `nix-store --dump-db` writes it, which knows no content addresses.
fn closure_dump() -> String {
    let hash = |digit: &str| format!("sha256-{}=", digit.repeat(43));
    format!(
        "{APP}\n{}\n400\n\n2\n{APP}\n{LIB}\n{LIB}\n{}\n600\n\n0\n",
        hash("A"),
        hash("E")
    )
}

fn options(owner: Option<NixOwner>) -> PlanOptions {
    PlanOptions {
        packer: Packer::PerPath,
        max_layers: 100,
        volatile: Vec::new(),
        catalog: None,
        prior: Vec::new(),
        pipeline: None,
        compression: Compression::None,
        layer_format: nixply_image::LayerFormatRecord::Nixply,
        platform: Platform::linux("amd64"),
        config: RuntimeConfig::default(),
        root_files: Vec::new(),
        contents: Vec::new(),
        on_collision: OnCollision::Error,
        store: StoreRoot::default(),
        permissions: BTreeMap::new(),
        layer_tars: Vec::new(),
        nix_database: owner,
        base: None,
        name: None,
        tag: None,
        created: None,
        annotations: BTreeMap::new(),
        tool: None,
    }
}

fn plan(closure: &str, owner: Option<NixOwner>) -> Plan {
    let closure: Closure = read_closure(closure.as_bytes()).unwrap();
    plan_image(Some(&closure), options(owner)).unwrap()
}

#[test]
fn a_path_that_a_pipeline_removes_is_not_registered() {
    let closure: Closure = read_closure(closure_json().as_bytes()).unwrap();
    let steps = serde_json::json!([["remove_paths", [APP]]]);
    let planned = |owner| {
        let mut options = options(owner);
        options.packer = Packer::Pipeline;
        options.pipeline = Some(nixply_pack::Pipeline::from_json(steps.clone()).unwrap());
        plan_image(Some(&closure), options)
    };
    let plan = serde_json::to_value(planned(None).unwrap()).unwrap();
    assert_eq!(plan["layers"].as_array().unwrap().len(), 1);
    assert_eq!(plan["layers"][0]["paths"][0]["path"], LIB);
    let error = planned(Some(NixOwner::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the layering pipeline removes `{APP}`, but the image has Nix's database, which knows it: expected no \
             `remove_paths`, or no database"
        )
    );
}

fn database_files(plan: &Plan) -> Vec<RootFile> {
    let specs = plan.layer_specs().unwrap();
    let LayerContents::Root { files } = &specs.last().unwrap().as_ref().unwrap().contents else {
        panic!("the database is no root layer");
    };
    files.clone()
}

#[test]
fn the_top_layer_is_the_database_and_what_nix_needs_beside_it() {
    let owner = NixOwner {
        uid: 1000,
        gid: 100,
    };
    let plan = plan(&closure_json(), Some(owner));
    assert_eq!(plan.layers.len(), 3);
    let layer = serde_json::to_value(plan.layers.last().unwrap()).unwrap();
    assert_eq!(layer["kind"], "database");
    assert_eq!(layer["references"], serde_json::json!(["0 1", ""]));
    assert_eq!((&layer["uid"], &layer["gid"]), (&1000.into(), &100.into()));
    assert_eq!(layer.get("base_paths"), None);

    let files = database_files(&plan);
    assert!(files.iter().all(|file| (file.uid, file.gid) == (1000, 100)));
    let described: Vec<String> = files
        .iter()
        .map(|file| match &file.kind {
            RootFileKind::Directory => format!("{} {:o}", file.path, file.mode),
            RootFileKind::File(FileContent::Inline(bytes)) => {
                format!("{} {:o} {} bytes", file.path, file.mode, bytes.len())
            }
            RootFileKind::Symlink { target } => format!("{} -> {target}", file.path),
            RootFileKind::File(other) => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        described,
        [
            "nix/var 755".to_owned(),
            "nix/var/nix 755".to_owned(),
            "nix/var/nix/db 755".to_owned(),
            "nix/var/nix/gcroots 755".to_owned(),
            "nix/var/nix/gcroots/docker 755".to_owned(),
            "nix/var/nix/profiles 755".to_owned(),
            "nix/var/nix/temproots 755".to_owned(),
            "nix/store 1775".to_owned(),
            "nix/var/nix/db/db.sqlite 644 45056 bytes".to_owned(),
            "nix/var/nix/db/schema 644 2 bytes".to_owned(),
            format!("nix/var/nix/gcroots/docker/1111111111111111111111111111111a-app-1.0 -> {APP}"),
        ]
    );
}

#[test]
fn roots_database_leaves_the_store_directory_as_it_is() {
    let files = database_files(&plan(&closure_json(), Some(NixOwner::default())));
    assert!(files.iter().all(|file| (file.uid, file.gid) == (0, 0)));
    assert!(files.iter().all(|file| file.path != "nix/store"));
}

#[test]
fn every_form_of_a_closure_gives_the_same_plan_and_others_keep_theirs() {
    let owner = Some(NixOwner::default());
    let json = plan(&closure_json(), owner);
    assert_eq!(json, plan(&closure_dump(), owner));
    assert_eq!(
        Plan::from_json(json.to_json().unwrap().as_bytes()).unwrap(),
        json
    );
    let without = plan(&closure_json(), None);
    assert_eq!(without.layers, json.layers[..2]);
    let gzip = json
        .clone()
        .with_compression(Compression::default())
        .unwrap();
    assert_ne!(gzip.layers[2].key(), json.layers[2].key());
    gzip.layer_specs().unwrap();
}

#[test]
fn a_plan_that_lies_about_its_database_is_refused() {
    let good = plan(&closure_json(), Some(NixOwner::default()));
    let read = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut value = serde_json::to_value(&good).unwrap();
        change(&mut value["layers"][2]);
        Plan::from_json(value.to_string().as_bytes()).unwrap_err()
    };
    let key = read(&|layer| layer["references"][0] = "1".into());
    assert!(matches!(key, PlanError::Key { layer_idx: 2, .. }), "{key}");
    let message = |change: &dyn Fn(&mut serde_json::Value)| read(change).to_string();
    assert_eq!(
        message(&|layer| layer["references"] = serde_json::json!([""])),
        "Nix's database: there are 2 store paths and 1 lists of references"
    );
    assert_eq!(
        message(&|layer| layer["references"][1] = "x".into()),
        "Nix's database: `x` is not a list of positions"
    );
    assert!(
        message(&|layer| layer["references"][1] = "2".into())
            .ends_with("refers to number 2 of 2 paths")
    );
}

#[test]
fn a_specification_says_who_owns_it() {
    let spec = |json: &str| ImageSpec::from_json(json.as_bytes());
    let json = r#"{"schema":"nixply.image/1","nix_database":{"uid":1000,"gid":1000}}"#;
    let owner = spec(json)
        .unwrap()
        .nix_database
        .and_then(NixDatabaseSpec::owner);
    assert_eq!(
        owner,
        Some(NixOwner {
            uid: 1000,
            gid: 1000
        })
    );
    assert!(spec(r#"{"schema":"nixply.image/1","nix_database":{"user":"x"}}"#).is_err());
    let PlannedLayer::Database { database, .. } = &plan(&closure_json(), owner).layers[2] else {
        panic!("no database");
    };
    assert_eq!(Some(database.owner), owner);
}
