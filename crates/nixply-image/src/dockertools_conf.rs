//! `conf.json`: the plan that nixpkgs' `dockerTools.streamLayeredImage` gives to its script (`passthru.conf`).
//!
//! It decides the layers and how they are written, so a plan follows from it without packing; only the NAR hashes of
//! its store paths, which stand in layer keys, have to be asked for. `docs/migrating-from-dockertools.md` says what is
//! the same as in the image that the script makes.

use crate::{
    BaseImage, LayerFormatRecord, PackerRecord, Plan, PlannedLayer, PlannedPath, inherit_env,
};
use nixply_layer::{Compression, DockerToolsHeader, FinishedTar, StorePathContent, TarPlacement};
use nixply_oci::{DiffId, Platform, RuntimeConfig};
use nixply_store::{Closure, StoreDir, StorePath};
use serde::Deserialize;
use std::io;
use std::path::PathBuf;

/// What the plan names as its packer: whoever made the file decided the layers.
const PACKER_NAME: &str = "dockertools-conf";

/// What the script reads, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DockerToolsConf {
    /// Go's name of the architecture.
    pub architecture: String,
    /// Always `linux`.
    #[serde(default = "linux")]
    os: String,
    config: Option<RuntimeConfig>,
    store_dir: String,
    /// A docker archive whose layers are the lowest.
    pub from_image: Option<PathBuf>,
    store_layers: Vec<Vec<String>>,
    /// A directory that holds `layer.tar` and `checksum`.
    customisation_layer: PathBuf,
    repo_tag: String,
    /// ISO 8601, or `now`.
    pub created: String,
    /// The same for files of the store; up to 2024 `created` was taken.
    pub mtime: Option<String>,
    uid: Number,
    gid: Number,
    uname: String,
    gname: String,
}

fn linux() -> String {
    "linux".to_owned()
}

/// A number that jq wrote as a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

/// The times of an image, as numbers and texts that a plan has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfTimes {
    /// The creation time, RFC 3339 in UTC.
    pub created: String,
    /// The time of files of the store, in seconds since 1970.
    pub mtime_secs: u64,
}

/// Why a `conf.json` cannot become a plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfError {
    /// It is not JSON of the shape that dockerTools writes.
    #[error("dockerTools' conf.json cannot be read")]
    Json(#[source] serde_json::Error),
    /// A path does not lie in the store directory that is named.
    #[error("`{path}` is not a store path in `{store_dir}`")]
    StorePath {
        /// The path.
        path: String,
        /// The store directory.
        store_dir: String,
    },
    /// A path stands in two layers.
    #[error("`{path}` stands in two layers")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// Nobody said what a store path holds.
    #[error("nothing is known of `{path}`: expected its NAR hash")]
    Unknown {
        /// The path.
        path: String,
    },
    /// An owner is no number.
    #[error("field `{field}`: `{found}` is not a number of a user or group")]
    Owner {
        /// The field.
        field: &'static str,
        /// What was read.
        found: String,
    },
    /// The customisation layer is not there.
    #[error("`{}` of the customisation layer cannot be read", .path.display())]
    Customisation {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The customisation layer names no hash.
    #[error("`{}` does not hold a SHA-256 in hexadecimal", .path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
    },
}

impl DockerToolsConf {
    /// True where bytes are a JSON object with the fields that only such a file has.
    #[must_use]
    pub fn is_conf(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Telling {
            #[serde(rename = "store_layers")]
            _store_layers: serde::de::IgnoredAny,
            #[serde(rename = "customisation_layer")]
            _customisation_layer: serde::de::IgnoredAny,
            #[serde(rename = "repo_tag")]
            _repo_tag: serde::de::IgnoredAny,
        }
        bytes.trim_ascii_start().first() == Some(&b'{')
            && serde_json::from_slice::<Telling>(bytes).is_ok()
    }

    /// Reads a `conf.json`.
    ///
    /// # Errors
    /// [`ConfError::Json`] where a field is missing or has another type.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConfError> {
        serde_json::from_slice(bytes).map_err(ConfError::Json)
    }

    /// Every store path that has a layer, as absolute paths.
    pub fn store_paths(&self) -> impl Iterator<Item = &str> {
        self.store_layers.iter().flatten().map(String::as_str)
    }

    /// The plan that the file is: its layers in its order, its bytes, its config.
    ///
    /// `closure` says what the store paths hold; none is needed where the image has no store path. `base` is what was read
    /// of [`Self::from_image`].
    ///
    /// # Errors
    /// [`ConfError`], naming the field or path that is wrong.
    pub fn plan(
        &self,
        closure: Option<&Closure>,
        base: Option<BaseImage>,
        times: ConfTimes,
        compression: Compression,
    ) -> Result<Plan, ConfError> {
        let platform = Platform {
            os: self.os.clone(),
            ..Platform::linux(&self.architecture)
        };
        let mut config = self.config.clone().unwrap_or_default();
        if let Some(base) = &base {
            config = inherit_env(&base.config, config);
        }
        let base_layers = base.as_ref().map_or(0, |base| base.layers.len());
        let packer = PackerRecord {
            name: PACKER_NAME.to_owned(),
            version: 1,
            max_layers: base_layers + self.store_layers.len() + 1,
            catalog: None,
            level: None,
            unknown_paths: None,
            pipeline: None,
        };
        let mut plan = Plan::empty(platform, packer, compression);
        plan.layer_format = LayerFormatRecord::Dockertools(DockerToolsHeader {
            mtime_secs: times.mtime_secs,
            uid: self.uid.get("uid")?,
            gid: self.gid.get("gid")?,
            uname: self.uname.clone(),
            gname: self.gname.clone(),
        });
        if let Some(mut base) = base {
            for layer in &mut base.layers {
                // The script writes a store path again that the base holds; here, too, the conf decides.
                if let PlannedLayer::Base(layer) = layer {
                    layer.paths.clear();
                }
            }
            crate::base::put_on(&mut plan, base);
        }
        let mut seen = std::collections::BTreeSet::new();
        for paths in &self.store_layers {
            let layer = self.store_layer(&plan, paths, closure)?;
            plan.layers.push(layer);
            if let Some(path) = paths.iter().find(|path| !seen.insert(*path)) {
                return Err(ConfError::Duplicate { path: path.clone() });
            }
        }
        let customisation = plan.tar_layer(self.customisation()?);
        plan.layers.push(customisation);
        // The registry's host may have a port: the tag begins behind the last colon.
        if let Some((name, tag)) = self.repo_tag.rsplit_once(':') {
            plan.name = Some(name.to_owned());
            plan.tag = Some(tag.to_owned());
        }
        plan.config = config;
        plan.created = Some(times.created);
        Ok(plan)
    }

    fn store_layer(
        &self,
        plan: &Plan,
        texts: &[String],
        closure: Option<&Closure>,
    ) -> Result<PlannedLayer, ConfError> {
        let mut contents = Vec::with_capacity(texts.len());
        for text in texts {
            let path = self.parse(text)?;
            let info = closure
                .and_then(|closure| Some(closure.info(closure.find(&path)?)))
                .ok_or_else(|| ConfError::Unknown { path: text.clone() })?;
            contents.push(StorePathContent {
                path,
                nar_hash: info.nar_hash,
                nar_size_bytes: info.nar_size_bytes,
                permissions: Vec::new(),
            });
        }
        let paths: Vec<PlannedPath> = (texts.iter().zip(&contents))
            .map(|(text, content)| PlannedPath {
                path: text.clone(),
                nar_hash: content.nar_hash,
                nar_size_bytes: content.nar_size_bytes,
                rides_on: None,
                permissions: Vec::new(),
            })
            .collect();
        let store_dir = self.store_dir(texts.first().map_or("", String::as_str))?;
        Ok(plan.given_layer(store_dir, paths, contents))
    }

    fn store_dir(&self, path: &str) -> Result<StoreDir, ConfError> {
        StoreDir::new(&self.store_dir).map_err(|_| self.not_a_store_path(path))
    }

    fn parse(&self, path: &str) -> Result<StorePath, ConfError> {
        self.store_dir(path)?
            .parse(path)
            .map_err(|_| self.not_a_store_path(path))
    }

    fn not_a_store_path(&self, path: &str) -> ConfError {
        ConfError::StorePath {
            path: path.to_owned(),
            store_dir: self.store_dir.clone(),
        }
    }

    /// The customisation layer. Its hash was taken when it was built; making the layer checks it.
    fn customisation(&self) -> Result<FinishedTar, ConfError> {
        let checksum_path = self.customisation_layer.join("checksum");
        let tar_path = self.customisation_layer.join("layer.tar");
        let unreadable = |path: &PathBuf| {
            let path = path.clone();
            move |source| ConfError::Customisation { path, source }
        };
        let checksum =
            std::fs::read_to_string(&checksum_path).map_err(unreadable(&checksum_path))?;
        let size_bytes = std::fs::metadata(&tar_path)
            .map_err(unreadable(&tar_path))?
            .len();
        let diff_id: DiffId =
            format!("sha256:{}", checksum.trim())
                .parse()
                .map_err(|_| ConfError::Checksum {
                    path: checksum_path,
                })?;
        Ok(FinishedTar {
            path: tar_path,
            diff_id,
            size_bytes,
            placement: TarPlacement::default(),
        })
    }
}

impl Number {
    fn get(&self, field: &'static str) -> Result<u64, ConfError> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => text.parse().map_err(|_| ConfError::Owner {
                field,
                found: text.clone(),
            }),
        }
    }
}

/// The `conf.json` that a stream script of dockerTools names: its last word is the file's path.
#[must_use]
pub fn conf_of_stream_script(script: &[u8]) -> Option<PathBuf> {
    const NAME_END: &str = "-conf.json";
    let script = std::str::from_utf8(script).ok()?;
    if !script.starts_with("#!") {
        return None;
    }
    let word_end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '=');
    script
        .split(word_end)
        .find(|word| word.starts_with('/') && word.ends_with(NAME_END))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conf_of_a_script_is_found() {
        let conf = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-a-conf.json";
        for script in [
            format!("#! /bin/bash -e\nexec \"/nix/store/x-stream\"  {conf} \"$@\" \n"),
            format!("#!/bin/sh\nexec stream '{conf}' \"$@\"\n"),
        ] {
            let found = conf_of_stream_script(script.as_bytes());
            assert_eq!(found.as_deref(), Some(std::path::Path::new(conf)));
        }
        assert_eq!(conf_of_stream_script(b"#!/bin/sh\necho a-conf.json"), None);
        assert_eq!(conf_of_stream_script(conf.as_bytes()), None);
    }

    #[test]
    fn only_a_conf_is_a_conf() {
        assert!(DockerToolsConf::is_conf(
            br#" {"store_layers":[],"customisation_layer":"","repo_tag":"","x":1}"#
        ));
        for other in [r#"{"store_layers":[]}"#, "[]", "", "{"] {
            assert!(!DockerToolsConf::is_conf(other.as_bytes()), "{other}");
        }
    }
}
