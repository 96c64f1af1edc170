//! Which store paths a specification brings into an image, found as Nix finds references: by their hashes in the text.
//!
//! A derivation's closure holds more than belongs into the image: the specification itself, and what only planning reads,
//! such as a prior plan. So the specification's text is searched again, without the fields that name such inputs.

use crate::{Plan, PlannedLayer};
use nixply_store::{Closure, PathIdx, StorePath};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The digits of a store path's hash.
const HASH_DIGITS: usize = 32;

/// Fields whose files are read while planning and are not in the image, and whose store paths need not be in it.
const INPUTS: [&str; 6] = [
    "base",
    "catalog",
    "prior",
    "layer_tars",
    "layering_pipeline",
    "perms",
];

/// Why the store paths of a specification cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferencesError {
    /// The specification is not JSON.
    #[error("the image specification cannot be read")]
    Json(#[source] serde_json::Error),
    /// A file whose bytes become a file of the image cannot be searched.
    #[error("cannot read the source `{}`", .path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The store paths of `closure` that a specification needs in its image: those in its text, those in the bytes of the
/// `source` of a file, those that a finished layer refers to, and those in the layers of a plan that it is built on. What they refer to in turn is left to the caller.
pub fn image_paths(spec: &[u8], closure: &Closure) -> Result<Vec<StorePath>, ReferencesError> {
    let mut spec: Value = serde_json::from_slice(spec).map_err(ReferencesError::Json)?;
    let search = Search::new(closure);
    let mut found = BTreeSet::new();
    for tar in texts(&spec["layer_tars"]) {
        // Nix has searched these already.
        for tar in search.in_bytes(tar.as_bytes()) {
            found.extend(closure.references(tar));
        }
    }
    for source in take_sources(&mut spec) {
        let bytes = std::fs::read(&source).map_err(|error| ReferencesError::Source {
            path: PathBuf::from(&source),
            source: error,
        })?;
        found.extend(search.in_bytes(&bytes));
    }
    if let Some(plan) = base_plan(&spec["base"]) {
        for path in plan.layers.iter().flat_map(PlannedLayer::store_paths) {
            found.extend(search.in_bytes(path.as_bytes()));
        }
    }
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, _| !INPUTS.contains(&field.as_str()));
    }
    found.extend(search.in_bytes(spec.to_string().as_bytes()));
    let path = |idx: PathIdx| closure.info(idx).path.clone();
    Ok(found.into_iter().map(path).collect())
}

/// The plan that an image is built on, where its base is one: what stands in its layers stands in the image. What else a
/// base is, is read when the image is planned.
fn base_plan(base: &Value) -> Option<Plan> {
    let path = Path::new(base["path"].as_str().or(base.as_str())?);
    let mut file = std::fs::File::open(path).ok()?;
    let mut bytes = Vec::new();
    // An archive can have any size, and does not begin so.
    (&mut file).take(1).read_to_end(&mut bytes).ok()?;
    if bytes != b"{" {
        return None;
    }
    file.read_to_end(&mut bytes).ok()?;
    Plan::from_json(&bytes).ok()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Takes the `source` of every root file out of a specification: its bytes are in the image, the file itself is not.
fn take_sources(spec: &mut Value) -> Vec<String> {
    let mut sources = Vec::new();
    let mut take = |file: &mut Value| {
        if let Some(Value::String(source)) = file.as_object_mut().and_then(|f| f.remove("source"))
            && Path::new(&source).is_absolute()
        {
            sources.push(source);
        }
    };
    if let Some(files) = spec.get_mut("files").and_then(Value::as_array_mut) {
        files.iter_mut().for_each(&mut take);
    }
    let files = spec.get_mut("root").and_then(|root| root.get_mut("files"));
    if let Some(files) = files.and_then(Value::as_object_mut) {
        files.values_mut().for_each(&mut take);
    }
    sources
}

/// The hashes of a closure.
struct Search<'a>(BTreeMap<&'a [u8], PathIdx>);

impl<'a> Search<'a> {
    fn new(closure: &'a Closure) -> Self {
        let hash = |idx| closure.info(idx).path.hash_part().as_bytes();
        Self(closure.indices().map(|idx| (hash(idx), idx)).collect())
    }

    fn in_bytes(&self, bytes: &[u8]) -> Vec<PathIdx> {
        // A hash stands in a run of at least so many base-32 digits; most bytes are in none.
        bytes
            .split(|byte| !is_digit(*byte))
            .flat_map(|run| run.windows(HASH_DIGITS))
            .filter_map(|hash| self.0.get(hash).copied())
            .collect()
    }
}

/// True for the digits of Nix's base 32: no `e`, `o`, `t`, `u`.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (byte.is_ascii_lowercase() && !b"eotu".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_store::read_closure;

    const BASE: &str = "1111111111111111111111111111111a-base";
    const BASH: &str = "2222222222222222222222222222222b-bash";
    const ENV: &str = "3333333333333333333333333333333c-env";
    const FILE: &str = "4444444444444444444444444444444d-file";
    const SPEC: &str = "5555555555555555555555555555555f-spec";
    const TAR: &str = "6666666666666666666666666666666g-tar";

    fn closure() -> Closure {
        let entry = |path: &str, references: &[&str]| {
            let references: Vec<String> = (references.iter())
                .map(|reference| format!("/nix/store/{reference}"))
                .collect();
            serde_json::json!({
                "path": format!("/nix/store/{path}"),
                "narHash": format!("sha256:{}", "0".repeat(52)),
                "narSize": 1,
                "references": references,
            })
        };
        let all = [BASE, BASH, ENV, FILE, TAR];
        let closure = serde_json::json!([
            entry(BASE, &[]),
            entry(BASH, &[]),
            entry(ENV, &[]),
            entry(FILE, &[ENV]),
            entry(SPEC, &all),
            entry(TAR, &[BASH]),
        ]);
        read_closure(closure.to_string().as_bytes()).unwrap()
    }

    fn names(spec: &Value) -> Vec<String> {
        let paths = image_paths(spec.to_string().as_bytes(), &closure()).unwrap();
        paths
            .iter()
            .map(|path| path.base_name().to_owned())
            .collect()
    }

    #[test]
    fn paths_in_any_text_are_in_the_image_and_inputs_are_not() {
        let spec = serde_json::json!({
            "base": format!("/nix/store/{BASE}"),
            "config": { "Env": [format!("PATH=/bin:/nix/store/{ENV}/bin")] },
        });
        assert_eq!(names(&spec), [ENV]);
        let spec = serde_json::json!({
            "base": format!("/nix/store/{BASE}"),
            "contents": [format!("/nix/store/{BASE}")],
        });
        assert_eq!(names(&spec), [BASE]);
        assert_eq!(names(&serde_json::json!({})), [""; 0]);
    }

    #[test]
    fn a_rule_brings_nothing() {
        let spec = serde_json::json!({
            "contents": [format!("/nix/store/{BASH}")],
            "perms": [{ "path": format!("/nix/store/{ENV}"), "regex": format!("{FILE}/x$"), "mode": "4755" }],
        });
        assert_eq!(names(&spec), [BASH]);
    }

    #[test]
    fn a_finished_layer_brings_what_it_refers_to() {
        let spec = serde_json::json!({ "layer_tars": [format!("/nix/store/{TAR}")] });
        assert_eq!(names(&spec), [BASH]);
    }

    #[test]
    fn a_plan_below_brings_what_its_layers_hold() {
        let packed = closure()
            .restrict(&[StorePath::new(FILE).unwrap()])
            .unwrap();
        let record = crate::PackerRecord {
            name: "x".to_owned(),
            version: 1,
            max_layers: 1,
            catalog: None,
            level: None,
            unknown_paths: None,
            pipeline: None,
        };
        let platform = nixply_oci::Platform::linux("amd64");
        let mut plan = Plan::empty(platform, record, nixply_layer::Compression::None);
        plan.tool = Some(format!("/nix/store/{BASH}"));
        let paths: Vec<crate::PlannedPath> = packed
            .paths()
            .iter()
            .map(|info| crate::PlannedPath {
                path: packed.store_dir().display(&info.path),
                nar_hash: info.nar_hash,
                nar_size_bytes: 1,
                rides_on: None,
                permissions: Vec::new(),
            })
            .collect();
        let contents = nixply_layer::LayerContents::Store {
            store_dir: packed.store_dir().clone(),
            paths: packed
                .paths()
                .iter()
                .map(|info| nixply_layer::StorePathContent {
                    path: info.path.clone(),
                    nar_hash: info.nar_hash,
                    nar_size_bytes: 1,
                    permissions: Vec::new(),
                })
                .collect(),
        };
        plan.layers.push(PlannedLayer::Store {
            key: plan.layer_spec(contents).key(),
            nar_size_bytes: 2,
            reason: None,
            head: None,
            sets: Vec::new(),
            set_count: None,
            paths,
        });
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("plan.json");
        std::fs::write(&file, plan.to_json().unwrap()).unwrap();
        assert_eq!(names(&serde_json::json!({ "base": file })), [ENV, FILE]);
        std::fs::write(&file, "no plan").unwrap();
        assert_eq!(names(&serde_json::json!({ "base": file })), [""; 0]);
    }

    #[test]
    fn a_source_brings_what_its_bytes_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join(FILE);
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("profile");
        std::fs::write(&file, format!("\0x{}/nix/store/{BASH}/bin", &ENV[..31])).unwrap();
        for spec in [
            serde_json::json!({ "files": [{ "path": "a", "source": file }] }),
            serde_json::json!({ "root": { "files": { "/a": { "source": file } } } }),
        ] {
            assert_eq!(names(&spec), [BASH]);
        }
        let missing = serde_json::json!({ "files": [{ "source": dir.join("none") }] });
        let error = image_paths(missing.to_string().as_bytes(), &closure()).unwrap_err();
        assert!(error.to_string().contains("none"), "{error}");
    }
}
