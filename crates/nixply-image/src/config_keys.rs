//! The keys of `config` in a specification that people write.
//!
//! Runtimes read a key only as it is written below and pass over every other one without a word: an image with `cmd` has no
//! command. So a key that is most likely a known one is an error, and a value of another type is told with its key. The keys
//! are those of OCI's image specification v1.1.1 (`config.md`, "config") and of Docker (`container.Config`); `nix/config.nix`
//! knows the same for Nix.

use nixply_oci::RuntimeConfig;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What a key's value has to be, as JSON.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Flag,
    Number,
    Object,
    Objects,
    Text,
    TextMap,
    Texts,
}

const KEYS: [(&str, Kind); 28] = [
    ("ArgsEscaped", Kind::Flag),
    ("AttachStderr", Kind::Flag),
    ("AttachStdin", Kind::Flag),
    ("AttachStdout", Kind::Flag),
    ("Cmd", Kind::Texts),
    ("CpuShares", Kind::Number),
    ("Domainname", Kind::Text),
    ("Entrypoint", Kind::Texts),
    ("Env", Kind::Texts),
    ("ExposedPorts", Kind::Objects),
    ("Healthcheck", Kind::Object),
    ("Hostname", Kind::Text),
    ("Image", Kind::Text),
    ("Labels", Kind::TextMap),
    ("MacAddress", Kind::Text),
    ("Memory", Kind::Number),
    ("MemorySwap", Kind::Number),
    ("NetworkDisabled", Kind::Flag),
    ("OnBuild", Kind::Texts),
    ("OpenStdin", Kind::Flag),
    ("Shell", Kind::Texts),
    ("StdinOnce", Kind::Flag),
    ("StopSignal", Kind::Text),
    ("StopTimeout", Kind::Number),
    ("Tty", Kind::Flag),
    ("User", Kind::Text),
    ("Volumes", Kind::Objects),
    ("WorkingDir", Kind::Text),
];

/// A key that is most likely another one, which a runtime would pass over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `config` has no key `{key}`; did you mean `{known}`?")]
pub struct ConfigKeyError {
    /// The key as it is written.
    pub key: String,
    /// The key that it is most like.
    pub known: &'static str,
}

/// The keys of a config that neither OCI nor Docker knows. A runtime of somebody's own may read them.
///
/// # Errors
/// [`ConfigKeyError`] where a key is a known one but for its case or a few letters.
pub fn unknown_config_keys(config: &RuntimeConfig) -> Result<Vec<&str>, ConfigKeyError> {
    let mut unknown = Vec::new();
    for key in config.other.keys() {
        if KEYS.iter().any(|(known, _)| known == key) {
            continue;
        }
        if let Some(known) = nearest(key) {
            return Err(ConfigKeyError {
                key: key.clone(),
                known,
            });
        }
        unknown.push(key.as_str());
    }
    Ok(unknown)
}

/// The known key that a key is most like, if it is like any.
fn nearest(key: &str) -> Option<&'static str> {
    let lower = key.to_lowercase();
    let keys = KEYS.iter().map(|(known, _)| *known);
    let distances = keys.map(|known| (strsim::levenshtein(&lower, &known.to_lowercase()), known));
    let (distance, known) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= key.chars().count() + 2).then_some(known)
}

/// Reads a config; a value of another type is told with its key.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<RuntimeConfig, D::Error> {
    let config = Map::deserialize(deserializer)?;
    for (key, kind) in KEYS {
        if let Some(value) = config.get(key)
            && !value.is_null()
        {
            kind.check(&format!("config.{key}"), value)
                .map_err(D::Error::custom)?;
        }
    }
    serde_json::from_value(Value::Object(config)).map_err(D::Error::custom)
}

impl Kind {
    /// What is wrong with a value, as a sentence.
    fn check(self, place: &str, value: &Value) -> Result<(), String> {
        let (is_right, elements, expected) = match self {
            Self::Flag => (value.is_boolean(), None, "true or false"),
            Self::Number => (value.is_i64() || value.is_u64(), None, "a whole number"),
            Self::Text => (value.is_string(), None, "a string"),
            Self::Object => (value.is_object(), None, "an object"),
            Self::Texts => (value.is_array(), Some(Self::Text), "a list of strings"),
            Self::TextMap => (value.is_object(), Some(Self::Text), "an object of strings"),
            Self::Objects => (
                value.is_object(),
                Some(Self::Object),
                "an object of empty objects",
            ),
        };
        if !is_right {
            return Err(format!(
                "field `{place}` is {}, expected {expected}",
                name_of(value)
            ));
        }
        let Some(kind) = elements else { return Ok(()) };
        for (idx, element) in value.as_array().into_iter().flatten().enumerate() {
            kind.check(&format!("{place}.{idx}"), element)?;
        }
        for (name, element) in value.as_object().into_iter().flatten() {
            kind.check(&format!("{place}.{name}"), element)?;
        }
        Ok(())
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageSpec;
    use serde_json::json;
    use std::error::Error as _;

    fn read(config: &Value) -> Result<RuntimeConfig, String> {
        let spec = json!({ "schema": "nixply.image/1", "config": config });
        ImageSpec::from_json(spec.to_string().as_bytes())
            .map(|spec| spec.config)
            .map_err(|error| error.source().map(ToString::to_string).unwrap_or_default())
    }

    #[test]
    fn a_value_of_another_type_is_told_with_its_key() {
        for (config, problem) in [
            (
                json!({"Cmd": "/bin/sh"}),
                "field `config.Cmd` is a string, expected a list of strings",
            ),
            (
                json!({"Entrypoint": ["a", 1]}),
                "field `config.Entrypoint.1` is a number, expected a string",
            ),
            (
                json!({"Labels": {"a": null}}),
                "field `config.Labels.a` is null, expected a string",
            ),
            (
                json!({"ExposedPorts": ["80/tcp"]}),
                "field `config.ExposedPorts` is a list, expected an object of empty objects",
            ),
            (
                json!({"Volumes": {"/data": null}}),
                "field `config.Volumes./data` is null, expected an object",
            ),
            (
                json!({"Tty": "yes"}),
                "field `config.Tty` is a string, expected true or false",
            ),
            (
                json!({"StopTimeout": 1.5}),
                "field `config.StopTimeout` is a number, expected a whole number",
            ),
        ] {
            let said = read(&config).unwrap_err();
            assert!(said.starts_with(problem), "{config}: {said}");
        }
    }

    #[test]
    fn known_keys_are_read_and_null_says_nothing() {
        for (key, _) in KEYS {
            let config = read(&json!({ key: null })).unwrap();
            assert_eq!(unknown_config_keys(&config), Ok(Vec::new()), "{key}");
        }
        let config = read(&json!({
            "User": "app", "Volumes": {"/data": {}}, "Healthcheck": {"Test": ["NONE"]}, "Memory": 4096
        }));
        let config = config.unwrap();
        assert_eq!(config.user.as_deref(), Some("app"));
        assert_eq!(config.other["Memory"], 4096);
        assert_eq!(unknown_config_keys(&config), Ok(Vec::new()));
    }

    #[test]
    fn a_key_that_is_like_a_known_one_is_a_mistake() {
        for (key, known) in [
            ("cmd", "Cmd"),
            ("entryPoint", "Entrypoint"),
            ("HealthCheck", "Healthcheck"),
            ("Workdir", "WorkingDir"),
            ("Volume", "Volumes"),
            ("Envs", "Env"),
        ] {
            let config = read(&json!({ key: [] })).unwrap();
            let error = unknown_config_keys(&config).unwrap_err();
            assert_eq!((error.key.as_str(), error.known), (key, known));
        }
        let config = read(&json!({"Runtime": 1, "io.example": {}})).unwrap();
        assert_eq!(
            unknown_config_keys(&config),
            Ok(vec!["Runtime", "io.example"])
        );
    }
}
