//! Plans, configs and manifests, byte by byte.
//!
//! The expected bytes stand in `fixtures/images`. A difference means that images of the same closure get other digests:
//! bump the version of what changed, and say so in the changelog.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

use nixply_image::{
    LayerFormatRecord, LayerReasonRecord, OnCollision, Plan, PlanOptions, PlannedImage,
    PlannedLayer, RootFileSpec, VolatileReasonRecord, plan_image, store_paths_of_history,
};
use nixply_layer::{Compression, CompressionPool, StoreRoot};
use nixply_oci::{DiffId, Image as _, ImageConfig, LayerDigest, LayerRecord, MediaType, Platform};
use nixply_pack::{Catalog, Packer};
use nixply_store::{Closure, NarHash, PathInfo, StoreDir, StorePath};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/images")
        .join(name)
}

fn info(digit: char, name: &str, nar_size_bytes: u64) -> PathInfo {
    let base_name = format!("{}-{name}", digit.to_string().repeat(32));
    PathInfo {
        path: StorePath::new(&base_name).unwrap(),
        nar_hash: NarHash::from_bytes([digit as u8; 32]),
        nar_size_bytes,
        ca: None,
        deriver: None,
        signatures: Vec::new(),
        registration_time_secs: None,
    }
}

/// app -> lib -> libc, app -> data.
fn closure() -> Closure {
    let (app, lib, libc, data) = (
        info('1', "app-1.0", 1000),
        info('2', "lib-2", 20_000),
        info('3', "libc-2.36", 3_000_000),
        info('4', "data", 400),
    );
    let refs = |infos: &[&PathInfo]| {
        infos
            .iter()
            .map(|info| info.path.clone())
            .collect::<Vec<_>>()
    };
    let records = vec![
        (app.clone(), refs(&[&app, &lib, &data])),
        (lib.clone(), refs(&[&libc])),
        (libc.clone(), refs(&[])),
        (data.clone(), refs(&[])),
    ];
    Closure::new(StoreDir::default(), records).unwrap()
}

fn root_file(json: &str) -> RootFileSpec {
    serde_json::from_str(json).unwrap()
}

fn options() -> PlanOptions {
    PlanOptions {
        base: None,
        packer: Packer::Size,
        max_layers: 3,
        volatile: Vec::new(),
        catalog: None,
        prior: Vec::new(),
        pipeline: None,
        compression: Compression::default(),
        layer_format: LayerFormatRecord::Nixply,
        platform: Platform::linux("amd64"),
        config: serde_json::from_str(
            r#"{"Env":["A=ü","B=2"],"Cmd":["/bin/app"],"User":"app","Healthcheck":{"Test":["NONE"]}}"#,
        )
        .unwrap(),
        layer_tars: Vec::new(),
        nix_database: None,
        root_files: vec![
            root_file(r#"{"path":"tmp","type":"directory","mode":"1777"}"#),
            root_file(r#"{"path":"bin/sudo","type":"file","mode":"4755","content":"x\n"}"#),
            root_file(r#"{"path":"bin/sh","type":"symlink","target":"/nix/store/x"}"#),
        ],
        contents: Vec::new(),
        on_collision: OnCollision::Error,
        store: StoreRoot::default(),
        permissions: BTreeMap::new(),
        name: Some("example.org/app".into()),
        tag: Some("v1".into()),
        created: None,
        annotations: BTreeMap::from([("org.opencontainers.image.title".into(), "App".into())]),
        tool: None,
    }
}

/// Two package sets of the closure, of which `app` is in none.
fn fleet_options() -> PlanOptions {
    let path = |idx: usize| closure().paths()[idx].path.clone();
    let sets = BTreeMap::from([
        ("library".to_owned(), vec![path(1)]),
        ("files".to_owned(), vec![path(2), path(3)]),
    ]);
    PlanOptions {
        packer: Packer::Fleet,
        max_layers: 5,
        catalog: Some(Catalog::new(&closure(), &sets, 4).unwrap()),
        ..options()
    }
}

/// Records that only differ by number; no layer is made here.
fn records(n: usize) -> Vec<LayerRecord> {
    (0..n)
        .map(|i| LayerRecord {
            diff_id: DiffId::of(format!("tar {i}").as_bytes()),
            digest: LayerDigest::of(format!("blob {i}").as_bytes()),
            size_bytes: 100 + i as u64,
            media_type: MediaType::OciLayerTarGzip,
        })
        .collect()
}

fn planned_image(plan: Plan) -> PlannedImage {
    let pool = CompressionPool::new(1).unwrap();
    let store = StoreRoot::at_own_path(StoreDir::default());
    PlannedImage::new(plan, &store, &pool).unwrap()
}

#[track_caller]
fn assert_golden(name: &str, found: &[u8]) {
    let path = fixture(name);
    if std::env::var_os("NIXPLY_WRITE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read(&path).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&expected),
        String::from_utf8_lossy(found),
        "{name} changed: images of the same closure get other digests"
    );
}

#[test]
fn plan_config_and_manifest_keep_their_bytes() {
    let plan = plan_image(Some(&closure()), options()).unwrap();
    assert_golden("plan.json", plan.to_json().unwrap().as_bytes());
    let image = planned_image(plan);
    let finished = image.finish(&records(3)).unwrap();
    assert_golden("config.json", &finished.config);
    assert_golden("manifest.json", &finished.manifest);
    assert_eq!(
        finished.manifest_descriptor.size_bytes,
        finished.manifest.len() as u64
    );
}

#[test]
fn a_plan_with_a_catalog_keeps_its_bytes() {
    let plan = plan_image(Some(&closure()), fleet_options()).unwrap();
    let text = plan.to_json().unwrap();
    assert_golden("fleet-plan.json", text.as_bytes());
    assert_eq!(Plan::from_json(text.as_bytes()).unwrap(), plan);
}

#[test]
fn reasons_reach_no_byte_of_the_image() {
    let plan = plan_image(Some(&closure()), fleet_options()).unwrap();
    let mut silent: serde_json::Value = serde_json::to_value(&plan).unwrap();
    let mut removed = 0;
    let mut remove = |object: &mut serde_json::Value, field: &str| {
        removed += usize::from(object.as_object_mut().unwrap().remove(field).is_some());
    };
    remove(&mut silent, "volatile");
    for field in ["catalog", "level", "unknown_paths"] {
        remove(&mut silent["packer"], field);
    }
    for layer in silent["layers"].as_array_mut().unwrap() {
        for field in ["reason", "head", "sets", "set_count"] {
            remove(layer, field);
        }
        let paths = layer
            .get_mut("paths")
            .and_then(serde_json::Value::as_array_mut);
        for path in paths.into_iter().flatten() {
            remove(path, "rides_on");
        }
    }
    assert!(removed > 10, "{removed} fields: {silent}");
    let silent = Plan::from_json(silent.to_string().as_bytes()).unwrap();
    assert_ne!(silent, plan);
    let count = plan.layers.len();
    assert_eq!(
        planned_image(silent).finish(&records(count)).unwrap(),
        planned_image(plan).finish(&records(count)).unwrap()
    );
}

#[test]
fn reasons_of_a_newer_version_are_unknown_words() {
    let plan = plan_image(Some(&closure()), fleet_options()).unwrap();
    let text = plan.to_json().unwrap();
    let newer = text
        .replace("\"reason\": \"group\"", "\"reason\": \"moon\"")
        .replace("\"reason\": \"root\"", "\"reason\": \"tide\"");
    let read = Plan::from_json(newer.as_bytes()).unwrap();
    assert_eq!(read.volatile[0].reason, VolatileReasonRecord::Unknown);
    assert!(matches!(
        read.layers[0],
        PlannedLayer::Store {
            reason: Some(LayerReasonRecord::Unknown),
            ..
        }
    ));
}

#[test]
fn a_volatile_path_is_in_the_image() {
    let elsewhere = info('5', "elsewhere", 1).path;
    let with = |path: &StorePath| PlanOptions {
        packer: Packer::Solo,
        volatile: vec![path.clone()],
        ..options()
    };
    for closure in [Some(&closure()), None] {
        let error = plan_image(closure, with(&elsewhere)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{elsewhere}` is given as volatile, but the image does not hold it")
        );
    }
    let lib = closure().paths()[1].path.clone();
    let plan = plan_image(Some(&closure()), with(&lib)).unwrap();
    let reasons: Vec<_> = plan.volatile.iter().map(|v| v.reason).collect();
    assert_eq!(
        reasons,
        [
            VolatileReasonRecord::UsesVolatile,
            VolatileReasonRecord::Given
        ]
    );
}

#[test]
fn a_plan_reads_back_as_written() {
    let plan = plan_image(Some(&closure()), options()).unwrap();
    let text = plan.to_json().unwrap();
    assert_eq!(Plan::from_json(text.as_bytes()).unwrap(), plan);
    assert!(text.contains(&format!("\"/nix/store/{}-app-1.0\"", "1".repeat(32))));
}

#[test]
fn the_root_layer_counts_and_stands_on_top() {
    let plan = plan_image(Some(&closure()), options()).unwrap();
    assert_eq!(plan.layers.len(), 3);
    assert!(matches!(
        plan.layers[2],
        nixply_image::PlannedLayer::Root { .. }
    ));
    let without = PlanOptions {
        layer_tars: Vec::new(),
        nix_database: None,
        root_files: Vec::new(),
        ..options()
    };
    let plan = plan_image(Some(&closure()), without).unwrap();
    assert_eq!(
        plan.layers.len(),
        3,
        "without root files all layers are the store's"
    );
}

#[test]
fn history_names_the_store_paths() {
    let plan = plan_image(Some(&closure()), options()).unwrap();
    let finished = planned_image(plan).finish(&records(3)).unwrap();
    let config: ImageConfig = serde_json::from_slice(&finished.config).unwrap();
    let mut paths: Vec<String> = config
        .history
        .iter()
        .filter_map(store_paths_of_history)
        .flatten()
        .collect();
    paths.sort();
    let mut expected: Vec<String> = closure()
        .paths()
        .iter()
        .map(|info| format!("/nix/store/{}", info.path))
        .collect();
    expected.sort();
    assert_eq!(paths, expected);
    assert_eq!(config.history.len(), 3);
}

#[test]
fn compression_changes_keys_and_nothing_else() {
    let plan = plan_image(Some(&closure()), options()).unwrap();
    let zstd: Compression = "zstd:3".parse().unwrap();
    let changed = plan.clone().with_compression(zstd).unwrap();
    assert_ne!(changed.layers, plan.layers);
    assert_eq!(changed.with_compression(plan.compression).unwrap(), plan);
}

#[test]
fn damaged_plans_are_refused_by_what_is_wrong() {
    let text = plan_image(Some(&closure()), options())
        .unwrap()
        .to_json()
        .unwrap();
    let a = format!("/nix/store/{}-app-1.0", "1".repeat(32));
    for (damaged, message) in [
        (
            text.replace("nixply.plan/1", "nixply.plan/2"),
            "this plan has schema `nixply.plan/2`",
        ),
        (
            text.replace("sha256-MTEx", "sha256-MTEy"),
            "its key is sha256:",
        ),
        (text.replace("\"4755\"", "\"0755\""), "its key is sha256:"),
        (
            text.replace(&a, "/other/store/x"),
            "is not a path in one store directory",
        ),
        (
            text.replace(&a, &format!("/nix/store/{}-data", "4".repeat(32))),
            "stands in two layers",
        ),
        (
            text.replace("\"kind\": \"root\"", "\"kind\": \"cake\""),
            "the plan cannot be read",
        ),
        (text[..text.len() / 2].to_owned(), "the plan cannot be read"),
    ] {
        assert_ne!(damaged, text, "{message}: nothing was damaged");
        let error = Plan::from_json(damaged.as_bytes()).unwrap_err().to_string();
        assert!(
            error.contains(message),
            "expected {message:?}, found {error:?}"
        );
    }
}

#[test]
fn nothing_makes_no_image() {
    let nothing = PlanOptions {
        layer_tars: Vec::new(),
        nix_database: None,
        root_files: Vec::new(),
        ..options()
    };
    assert_eq!(
        plan_image(None, nothing).unwrap_err().to_string(),
        "the image would be empty: it has neither store paths nor root files nor layer tars"
    );
    let only_files = plan_image(None, options()).unwrap();
    assert_eq!(only_files.layers.len(), 1);
}

#[test]
fn unknown_fields_of_a_plan_are_ignored_at_every_depth() {
    let plan = plan_image(Some(&closure()), options()).unwrap();
    let text = plan.to_json().unwrap();
    let newer = text
        .replace("\"kind\":", "\"later\": 1, \"kind\":")
        .replace("\"mode\":", "\"later\": {}, \"mode\":")
        .replace("\"schema\":", "\"later\": [], \"schema\":");
    assert_ne!(newer, text);
    let read = Plan::from_json(newer.as_bytes()).unwrap();
    assert_eq!(read.to_json().unwrap(), text);
}

#[test]
fn root_files_that_no_layer_can_hold_are_refused_when_planning() {
    for (json, message) in [
        (r#"{"path":"../x","type":"directory"}"#, "../x"),
        (r#"{"path":"a/.wh.b","type":"directory"}"#, "a/.wh.b"),
        (
            r#"{"path":"nix/store/x","type":"directory"}"#,
            "nix/store/x",
        ),
    ] {
        let options = PlanOptions {
            layer_tars: Vec::new(),
            nix_database: None,
            root_files: vec![root_file(json)],
            ..options()
        };
        let error = plan_image(Some(&closure()), options)
            .unwrap_err()
            .to_string();
        assert!(error.contains(message), "{error}");
    }
}
