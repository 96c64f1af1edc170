//! Images of the real dockerTools, recorded in `fixtures/dockertools`: the same layers in the same order, the same config.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

use nixply_image::{
    ConfTimes, DockerToolsConf, ManifestFormat, Plan, PlannedLayer, finish, in_dockertools_order,
};
use nixply_layer::Compression;
use nixply_oci::{LayerDigest, LayerRecord, MediaType};
use nixply_store::{Closure, PathInfo, StoreDir, StorePath};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn recorded() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../fixtures/dockertools/images.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn parse(path: &str) -> StorePath {
    StoreDir::default().parse(path).unwrap()
}

/// The closure of some of the recorded paths, and of `spec`, which refers to all of these, where there is one.
fn closure(recorded: &Value, roots: &BTreeSet<String>, spec: Option<&StorePath>) -> Closure {
    let info = |path: StorePath, nar_hash: &Value, nar_size: u64| PathInfo {
        path,
        nar_hash: nar_hash.as_str().unwrap().parse().unwrap(),
        nar_size_bytes: nar_size,
        ca: None,
        deriver: None,
        signatures: Vec::new(),
        registration_time_secs: None,
    };
    let mut records = Vec::new();
    for (path, row) in recorded["paths"].as_object().unwrap() {
        let references = row[2].as_array().unwrap().iter();
        let references = references.map(|path| parse(path.as_str().unwrap()));
        let size = row[1].as_u64().unwrap();
        records.push((info(parse(path), &row[0], size), references.collect()));
    }
    let roots: Vec<StorePath> = roots.iter().map(|path| parse(path)).collect();
    if let Some(spec) = spec {
        let hash = json!("sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        records.push((info(spec.clone(), &hash, 1), roots.clone()));
    }
    let all = Closure::new(StoreDir::default(), records).unwrap();
    match spec {
        Some(spec) => all.restrict(std::slice::from_ref(spec)).unwrap(),
        None => all.restrict(&roots).unwrap(),
    }
}

fn store_layers(image: &Value) -> Vec<Vec<String>> {
    serde_json::from_value(image["conf"]["store_layers"].clone()).unwrap()
}

/// The plan of a recorded conf with these layers of store paths. The customisation layer is not recorded: its hash is, which
/// is all that a plan needs.
fn plan(recorded: &Value, image: &Value, layers: &[Vec<String>]) -> Plan {
    let customisation = tempfile::tempdir().unwrap();
    std::fs::write(customisation.path().join("layer.tar"), "").unwrap();
    let checksum = image["checksum"].as_str().unwrap();
    std::fs::write(customisation.path().join("checksum"), checksum).unwrap();
    let mut conf = image["conf"].clone();
    conf["customisation_layer"] = json!(customisation.path());
    conf["store_layers"] = json!(layers);
    let conf = DockerToolsConf::from_json(conf.to_string().as_bytes()).unwrap();
    let paths: BTreeSet<String> = conf.store_paths().map(str::to_owned).collect();
    let closure = (!paths.is_empty()).then(|| closure(recorded, &paths, None));
    let times = ConfTimes {
        created: "1970-01-01T00:00:01Z".to_owned(),
        mtime_secs: 1,
    };
    conf.plan(closure.as_ref(), None, times, Compression::None)
        .unwrap()
}

#[test]
fn the_image_of_a_conf_has_its_layers_and_its_config() {
    let recorded = recorded();
    for image in recorded["images"].as_array().unwrap() {
        let plan = plan(&recorded, image, &store_layers(image));
        let diff_ids = image["diff_ids"].as_array().unwrap();
        let last = plan.layers.last().unwrap();
        let PlannedLayer::Tar { diff_id, .. } = last else {
            panic!("{last:?}");
        };
        assert_eq!(diff_id.to_string(), *diff_ids.last().unwrap());
        let records: Vec<LayerRecord> = diff_ids
            .iter()
            .map(|diff_id| LayerRecord {
                diff_id: diff_id.as_str().unwrap().parse().unwrap(),
                digest: LayerDigest::of(b""),
                size_bytes: 0,
                media_type: MediaType::OciLayerTar,
            })
            .collect();
        let finished = finish(&plan, &records, ManifestFormat::Oci).unwrap();
        let config: Value = serde_json::from_slice(&finished.config).unwrap();
        for field in ["architecture", "os", "config", "rootfs"] {
            assert_eq!(config[field], image["config"][field], "{}", image["name"]);
        }
        assert_eq!(
            config["history"].as_array().unwrap().len(),
            image["config"]["history"].as_array().unwrap().len()
        );
    }
}

#[test]
fn the_order_is_that_of_the_real_contest() {
    let recorded = recorded();
    let spec = parse("/nix/store/11111111111111111111111111111111-x-spec.json");
    let mut images = 0;
    for image in recorded["images"].as_array().unwrap() {
        let expected = store_layers(image);
        if expected.is_empty() {
            continue;
        }
        let text = |field: &str| image[field].as_str().unwrap().to_owned();
        let base_json = text("base_json");
        let customisation = image["conf"]["customisation_layer"]
            .as_str()
            .unwrap()
            .to_owned();
        // Some order, and as many layers.
        let mut paths: Vec<String> = expected.iter().flatten().cloned().collect();
        paths.sort();
        let rest = paths.split_off(expected.len() - 1);
        let mut layers: Vec<Vec<String>> = paths.into_iter().map(|path| vec![path]).collect();
        layers.push(rest);
        let plan = plan(&recorded, image, &layers);

        let in_config = recorded["paths"][&base_json][2].as_array().unwrap().iter();
        let in_config: Vec<StorePath> = in_config
            .map(|path| parse(path.as_str().unwrap()))
            .collect();
        // A specification names what its config names, and its layer tars.
        let mut names: BTreeSet<String> = in_config
            .iter()
            .map(|path| StoreDir::default().display(path))
            .collect();
        names.insert(customisation.clone());
        let exported = closure(&recorded, &names, Some(&spec));
        let ordered =
            in_dockertools_order(plan, &exported, &spec, &in_config, &[parse(&customisation)])
                .unwrap();
        let found: Vec<Vec<String>> = ordered
            .layers
            .iter()
            .filter_map(|layer| match layer {
                PlannedLayer::Store { paths, .. } => {
                    Some(paths.iter().map(|path| path.path.clone()).collect())
                }
                _ => None,
            })
            .collect();
        assert_eq!(found, expected, "{}", image["name"]);
        // Keys are those of the new layers.
        Plan::from_json(ordered.to_json().unwrap().as_bytes()).unwrap();
        images += 1;
    }
    assert_eq!(images, 6);
}
