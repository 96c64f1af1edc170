//! The image specification: what a user asks for, as a JSON file (`docs/image.schema.json`).

use crate::{
    BaseLock, LayerFormatRecord, NixDatabaseSpec, OnCollision, PermsRule, RootFileSpec, RootSpec,
};
use nixply_oci::{Platform, RuntimeConfig};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The schema that this version reads.
const SCHEMA: &str = "nixply.image/1";

/// What an image shall be. Every field but the schema is optional; options of the command line win over fields.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageSpec {
    /// `nixply.image/1`.
    pub schema: String,
    /// Ignored; lets an editor find the JSON schema.
    #[serde(default, rename = "$schema")]
    pub json_schema: Option<String>,
    /// The image's name, with or without a registry's host.
    #[serde(default)]
    pub name: Option<String>,
    /// The image's tag.
    #[serde(default)]
    pub tag: Option<String>,
    /// A closure file in any form, relative to the specification.
    #[serde(default)]
    pub closure: Option<PathBuf>,
    /// Store paths whose closure Nix is asked for, where there is no closure file.
    #[serde(default)]
    pub store_paths: Vec<String>,
    /// The part of the closure that is reachable from these paths; all of it where empty.
    #[serde(default)]
    pub roots: Vec<String>,
    /// The packer's name.
    #[serde(default)]
    pub packer: Option<String>,
    /// The steps that make the layers in place of a packer, as nixpkgs' `layeringPipeline` has them.
    #[serde(default)]
    pub layering_pipeline: Option<serde_json::Value>,
    /// Store paths that are new in every version of the image, whole or as base names.
    #[serde(default)]
    pub volatile: Vec<String>,
    /// The fleet's catalog, a file relative to the specification.
    #[serde(default)]
    pub catalog: Option<PathBuf>,
    /// An earlier plan or image: a file relative to the specification, or `docker://REF`.
    #[serde(default)]
    pub prior: Option<String>,
    /// The image that this one is built on.
    #[serde(default)]
    pub base: Option<BaseSpec>,
    /// Whether the base's config is taken over, as a Dockerfile's `FROM` does; where false, only its environment is.
    #[serde(default = "yes")]
    pub inherit_config: bool,
    /// The most layers that the image may have.
    #[serde(default)]
    pub max_layers: Option<usize>,
    /// `gzip`, `gzip:6`, `zstd`, `none` …
    #[serde(default)]
    pub compression: Option<String>,
    /// What the image runs on.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// The image's creation time, RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// What a container runs, in the config's own words (`Cmd`, `Env`, `User` …).
    #[serde(default, deserialize_with = "crate::config_keys::deserialize")]
    pub config: RuntimeConfig,
    /// Annotations of the manifest.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What stands outside the store, file by file.
    #[serde(default)]
    pub files: Vec<RootFileSpec>,
    /// Store paths whose trees are linked into the root.
    #[serde(default)]
    pub contents: Vec<String>,
    /// What happens where two of them have different things at one place.
    #[serde(default)]
    pub on_collision: OnCollision,
    /// Users, files and the usual places of a Linux system.
    #[serde(default)]
    pub root: Option<RootSpec>,
    /// Owners and modes of entries of store paths and contents.
    #[serde(default)]
    pub perms: Vec<PermsRule>,
    /// Finished uncompressed tars, files relative to the specification: one layer each, above all others, the first one
    /// lowest.
    #[serde(default)]
    pub layer_tars: Vec<PathBuf>,
    /// Nix's database of all store paths of the image, and who owns it.
    #[serde(default)]
    pub nix_database: Option<NixDatabaseSpec>,
    /// How layers of store paths are written.
    #[serde(default)]
    pub layer_format: Option<LayerFormatRecord>,
}

/// The base image in a specification.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub enum BaseSpec {
    /// `docker://REF`, or a lock, a plan, a layout or an archive: a file relative to the specification.
    Place(String),
    /// The lock itself.
    Lock(Box<BaseLock>),
}

impl TryFrom<serde_json::Value> for BaseSpec {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct At {
            path: String,
        }
        if let serde_json::Value::String(place) = value {
            return Ok(Self::Place(place));
        }
        let problem = |error: serde_json::Error| format!("field `base`: {error}");
        if value.get("schema").is_some() {
            let lock = BaseLock::from_json(value.to_string().as_bytes());
            return lock
                .map(|lock| Self::Lock(Box::new(lock)))
                .map_err(|error| match error {
                    crate::BaseError::Json(error) => problem(error),
                    other => format!("field `base`: {other}"),
                });
        }
        let At { path } = serde_json::from_value(value).map_err(problem)?;
        Ok(Self::Place(path))
    }
}

fn yes() -> bool {
    true
}

/// Why an image specification cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It is not JSON of a specification's shape.
    #[error("the image specification cannot be read")]
    Json(#[source] serde_json::Error),
    /// It has another schema.
    #[error("this image specification has schema `{found}`, expected `{SCHEMA}`")]
    Schema {
        /// What was found.
        found: String,
    },
}

impl ImageSpec {
    /// Whether something may be asked for that stands outside the store.
    #[must_use]
    pub fn says_root(&self) -> bool {
        self.root.is_some() || !self.files.is_empty() || !self.contents.is_empty()
    }

    /// A specification that says nothing: what a closure alone is planned with.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            json_schema: None,
            name: None,
            tag: None,
            closure: None,
            store_paths: Vec::new(),
            roots: Vec::new(),
            packer: None,
            layering_pipeline: None,
            volatile: Vec::new(),
            catalog: None,
            prior: None,
            base: None,
            inherit_config: true,
            max_layers: None,
            compression: None,
            platform: None,
            created: None,
            config: RuntimeConfig::default(),
            annotations: BTreeMap::new(),
            files: Vec::new(),
            contents: Vec::new(),
            on_collision: OnCollision::default(),
            root: None,
            perms: Vec::new(),
            layer_tars: Vec::new(),
            nix_database: None,
            layer_format: None,
        }
    }

    /// The paths that a closure must have for the root to lead to something: contents, and targets of links. Texts are not
    /// searched.
    #[must_use]
    pub fn root_targets(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = self.contents.iter().map(String::as_str).collect();
        if let Some(root) = &self.root {
            let programs = [&root.shell, &root.env, &root.ca_certificates];
            let shells = root.users.iter().flatten().map(|(_, user)| &user.shell);
            paths.extend(
                programs
                    .into_iter()
                    .chain(shells)
                    .flatten()
                    .map(String::as_str),
            );
            paths.extend(root.links.values().map(String::as_str));
        }
        paths
    }

    /// Reads a specification; unknown fields are errors, since a misspelt option must not pass silently.
    pub fn from_json(bytes: &[u8]) -> Result<Self, SpecError> {
        match schema_of(bytes) {
            Some(schema) if schema != SCHEMA => Err(SpecError::Schema { found: schema }),
            _ => serde_json::from_slice(bytes).map_err(SpecError::Json),
        }
    }

    /// True where bytes are JSON that says it is an image specification, of whatever version.
    #[must_use]
    pub fn is_spec(bytes: &[u8]) -> bool {
        schema_of(bytes).is_some_and(|schema| schema.starts_with("nixply.image/"))
    }
}

/// The `schema` of a JSON object, where it has one; other fields are skipped without being kept.
pub(crate) fn schema_of(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Schema {
        schema: Option<String>,
    }
    // A closure can be large: only an object can have a schema.
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace())?;
    if *first != b'{' {
        return None;
    }
    serde_json::from_slice::<Schema>(bytes).ok()?.schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_field_is_named() {
        let error =
            ImageSpec::from_json(br#"{"schema":"nixply.image/1","maxLayers":3}"#).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.starts_with("unknown field `maxLayers`"), "{source}");
    }

    #[test]
    fn a_base_is_a_place_or_a_lock() {
        let read = |base: &str| {
            let spec = format!(r#"{{"schema":"nixply.image/1","base":{base}}}"#);
            ImageSpec::from_json(spec.as_bytes()).map(|spec| spec.base)
        };
        let place = |text: &str| Some(BaseSpec::Place(text.to_owned()));
        assert_eq!(
            read(r#""docker://h.example/a:b""#).unwrap(),
            place("docker://h.example/a:b")
        );
        assert_eq!(read(r#"{"path":"a.tar"}"#).unwrap(), place("a.tar"));
        assert_eq!(read("null").unwrap(), None);
        for (base, problem) in [
            (
                r#"{"schema":"nixply.base/2"}"#,
                "field `base`: this lock has schema `nixply.base/2`",
            ),
            (
                r#"{"schema":"nixply.base/1"}"#,
                "field `base`: missing field `reference`",
            ),
            (r#"{"file":"x"}"#, "field `base`: unknown field `file`"),
            ("3", "field `base`: invalid type"),
        ] {
            let error = read(base).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.starts_with(problem), "{source}");
        }
    }

    #[test]
    fn the_paths_that_a_closure_must_have() {
        let spec = ImageSpec::from_json(
            br#"{"schema":"nixply.image/1","contents":["/c"],"root":{"shell":"/sh","env":"/e",
                "ca_certificates":"/ca","links":{"/l":"/t"},"users":{"a":{"uid":1,"shell":"/u"},"b":{"uid":2}},
                "files":{"/f":{"text":"/not/searched"}}}}"#,
        )
        .unwrap();
        assert_eq!(spec.root_targets(), ["/c", "/sh", "/e", "/ca", "/u", "/t"]);
    }

    #[test]
    fn another_schema_is_refused() {
        let error = ImageSpec::from_json(br#"{"schema":"nixply.image/2"}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this image specification has schema `nixply.image/2`, expected `nixply.image/1`"
        );
        assert!(ImageSpec::is_spec(br#" {"schema":"nixply.image/2"}"#));
        assert!(!ImageSpec::is_spec(br#"[{"schema":"nixply.image/2"}]"#));
    }
}
