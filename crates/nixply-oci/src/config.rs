//! The image config.

use crate::{DiffId, Platform};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Describes an image: what runs, on what, from which layers (OCI image-spec v1.1.1, `config.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image says it was made: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// What runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<RuntimeConfig>,
    /// The layers' diff IDs.
    pub rootfs: RootFs,
    /// One entry a layer, and entries for steps that made none.
    #[serde(default)]
    pub history: Vec<History>,
}

/// The diff IDs of an image's layers, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: RootFsType,
    /// Bottom first; an image without layers has an empty list, never null.
    pub diff_ids: Vec<DiffId>,
}

/// The one kind of root file system there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFsType {
    /// A stack of layers.
    #[serde(rename = "layers")]
    Layers,
}

/// Tells how a layer came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what command or tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Anything else; nixply names the store paths of the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True for a step that made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// The `{}` that stands behind every key of `ExposedPorts` and `Volumes`, a Go `struct{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmptyObject {}

/// What a container of the image runs (OCI image-spec v1.1.1, `config.md`, "config").
///
/// Keys that only Docker knows (`Healthcheck`, `Shell`, `OnBuild`, `ArgsEscaped` …) are kept in `other`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::zero_sized_map_values,
    reason = "the wire form is a map to empty objects"
)]
pub struct RuntimeConfig {
    /// User name or uid, with an optional `:` and group.
    #[serde(rename = "User", default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `PORT` or `PORT/tcp` or `PORT/udp`.
    #[serde(
        rename = "ExposedPorts",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub exposed_ports: Option<BTreeMap<String, EmptyObject>>,
    /// `NAME=VALUE` each.
    #[serde(rename = "Env", default, skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// The command that every container starts.
    #[serde(
        rename = "Entrypoint",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub entrypoint: Option<Vec<String>>,
    /// The entry point's default arguments, or the command where there is no entry point.
    #[serde(rename = "Cmd", default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Directories that hold a container's own data.
    #[serde(rename = "Volumes", default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<BTreeMap<String, EmptyObject>>,
    /// The absolute directory that the command starts in.
    #[serde(
        rename = "WorkingDir",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub working_dir: Option<String>,
    /// Notes on the image that runtimes show.
    #[serde(rename = "Labels", default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The signal that stops a container, `SIGTERM` for example.
    #[serde(
        rename = "StopSignal",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub stop_signal: Option<String>,
    /// Every other key, as it was given.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical_json;

    #[test]
    fn docker_only_keys_survive() {
        let text = r#"{"Cmd":["x"],"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Test":["NONE"]}}"#;
        let config: RuntimeConfig = serde_json::from_str(text).unwrap();
        assert!(config.other.contains_key("Healthcheck"));
        assert_eq!(
            String::from_utf8(canonical_json(&config).unwrap()).unwrap(),
            text
        );
    }

    #[test]
    fn no_layers_is_an_empty_list() {
        let config = ImageConfig {
            created: None,
            platform: Platform::linux("amd64"),
            config: None,
            rootfs: RootFs {
                kind: RootFsType::Layers,
                diff_ids: Vec::new(),
            },
            history: Vec::new(),
        };
        assert_eq!(
            String::from_utf8(canonical_json(&config).unwrap()).unwrap(),
            r#"{"architecture":"amd64","history":[],"os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}"#
        );
    }
}
