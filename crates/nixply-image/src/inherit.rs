//! What an image takes over of its base's config.
//!
//! The rules are those of a Dockerfile's `FROM` (`BuildKit`, `dockerfile2llb/convert.go`, and the Dockerfile reference): maps
//! and the environment are merged by name, single values stand where they are not set, an entry point of one's own drops the
//! base's arguments. Triggers (`OnBuild`) belong to whoever builds on the base with a Dockerfile, and what older Dockers
//! wrote about the container that an image came from is no property of the image: neither is taken over.

use nixply_oci::RuntimeConfig;
use std::collections::BTreeMap;

/// Keys that are not taken over: triggers, and the traces of a container.
const NOT_INHERITED: [&str; 12] = [
    "ArgsEscaped",
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "Domainname",
    "Hostname",
    "Image",
    "MacAddress",
    "OnBuild",
    "OpenStdin",
    "StdinOnce",
    "Tty",
];

/// The config of an image that says `own` and is built on one that says `base`.
#[must_use]
pub fn inherit(base: &RuntimeConfig, own: RuntimeConfig) -> RuntimeConfig {
    let mut other: BTreeMap<_, _> = (base.other.iter())
        .filter(|(key, _)| !NOT_INHERITED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    other.extend(own.other);
    let base_cmd = own.entrypoint.is_none().then(|| base.cmd.clone()).flatten();
    RuntimeConfig {
        user: own.user.or_else(|| base.user.clone()),
        exposed_ports: merge(base.exposed_ports.as_ref(), own.exposed_ports),
        env: merge_env(base.env.as_deref(), own.env),
        entrypoint: own.entrypoint.or_else(|| base.entrypoint.clone()),
        cmd: own.cmd.or(base_cmd),
        volumes: merge(base.volumes.as_ref(), own.volumes),
        working_dir: join_dir(base.working_dir.as_deref(), own.working_dir),
        labels: merge(base.labels.as_ref(), own.labels),
        stop_signal: own.stop_signal.or_else(|| base.stop_signal.clone()),
        other,
    }
}

/// The same as nixpkgs' dockerTools does it: nothing but the environment is taken over.
#[must_use]
pub fn inherit_env(base: &RuntimeConfig, own: RuntimeConfig) -> RuntimeConfig {
    RuntimeConfig {
        env: merge_env(base.env.as_deref(), own.env),
        ..own
    }
}

fn merge<V: Clone>(
    base: Option<&BTreeMap<String, V>>,
    own: Option<BTreeMap<String, V>>,
) -> Option<BTreeMap<String, V>> {
    match (base, own) {
        (None, own) => own,
        (Some(base), own) => {
            let mut merged = base.clone();
            merged.extend(own.unwrap_or_default());
            Some(merged)
        }
    }
}

/// The environment, a variable once: the last value at the place of the first. What has no `=` is its own name.
fn merge_env(base: Option<&[String]>, own: Option<Vec<String>>) -> Option<Vec<String>> {
    if base.is_none() && own.is_none() {
        return None;
    }
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut merged: Vec<String> = Vec::new();
    for entry in base
        .unwrap_or_default()
        .iter()
        .cloned()
        .chain(own.unwrap_or_default())
    {
        let name = entry
            .split_once('=')
            .map_or(entry.as_str(), |(name, _)| name);
        if let Some(&at) = places.get(name) {
            merged[at] = entry;
        } else {
            places.insert(name.to_owned(), merged.len());
            merged.push(entry);
        }
    }
    Some(merged)
}

/// A directory that is not absolute is one below the base's, as `WORKDIR` has it.
fn join_dir(base: Option<&str>, own: Option<String>) -> Option<String> {
    match (base.filter(|base| !base.is_empty()), own) {
        (base, None) => base.map(str::to_owned),
        (Some(base), Some(own)) if !own.is_empty() && !own.starts_with('/') => {
            Some(format!("{}/{own}", base.trim_end_matches('/')))
        }
        (_, own) => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(value: Value) -> RuntimeConfig {
        serde_json::from_value(value).unwrap()
    }

    fn inherited(base: Value, own: Value) -> Value {
        serde_json::to_value(inherit(&config(base), config(own))).unwrap()
    }

    #[test]
    fn an_entry_point_of_ones_own_drops_the_arguments_of_the_base() {
        let base = json!({"Entrypoint": ["/init"], "Cmd": ["serve"]});
        for (own, expected) in [
            (json!({}), base.clone()),
            (
                json!({"Cmd": ["x"]}),
                json!({"Entrypoint": ["/init"], "Cmd": ["x"]}),
            ),
            (json!({"Entrypoint": ["/x"]}), json!({"Entrypoint": ["/x"]})),
            (json!({"Entrypoint": []}), json!({"Entrypoint": []})),
            (
                json!({"Entrypoint": ["/x"], "Cmd": ["y"]}),
                json!({"Entrypoint": ["/x"], "Cmd": ["y"]}),
            ),
        ] {
            assert_eq!(inherited(base.clone(), own), expected);
        }
    }

    #[test]
    fn variables_are_merged_by_name_at_the_place_of_the_first() {
        let base = json!({"Env": ["PATH=/usr/bin", "A=1", "A=2", "odd"]});
        assert_eq!(
            inherited(
                base.clone(),
                json!({"Env": ["B=3", "PATH=/bin", "odd", "B=4=5"]})
            ),
            json!({"Env": ["PATH=/bin", "A=2", "odd", "B=4=5"]})
        );
        assert_eq!(inherited(json!({}), json!({})), json!({}));
        assert_eq!(
            inherited(json!({"Env": null}), json!({"Env": ["A=1"]})),
            json!({"Env": ["A=1"]})
        );
    }

    #[test]
    fn maps_are_merged_and_single_values_stand_where_they_are_not_set() {
        let base = json!({
            "Labels": {"a": "1", "b": "2"},
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
            "User": "app",
            "WorkingDir": "/srv",
            "StopSignal": "SIGQUIT",
            "Healthcheck": {"Test": ["CMD", "x"]},
            "Shell": ["/bin/bash", "-c"],
            "OnBuild": ["RUN x"],
            "Hostname": "0123456789ab",
            "Image": "sha256:0",
        });
        let own = json!({
            "Labels": {"b": "3"},
            "ExposedPorts": {"443/tcp": {}},
            "User": "",
            "WorkingDir": "app",
            "Healthcheck": {"Test": ["NONE"]},
        });
        assert_eq!(
            inherited(base, own),
            json!({
                "Labels": {"a": "1", "b": "3"},
                "ExposedPorts": {"443/tcp": {}, "80/tcp": {}},
                "Volumes": {"/data": {}},
                "User": "",
                "WorkingDir": "/srv/app",
                "StopSignal": "SIGQUIT",
                "Healthcheck": {"Test": ["NONE"]},
                "Shell": ["/bin/bash", "-c"],
            })
        );
        assert_eq!(
            inherited(json!({"WorkingDir": "/srv"}), json!({"WorkingDir": "/"})),
            json!({"WorkingDir": "/"})
        );
    }

    #[test]
    fn dockertools_takes_the_environment_over_and_nothing_else() {
        let base = config(json!({"Env": ["A=1"], "User": "app", "Cmd": ["x"]}));
        let own = config(json!({"Env": ["A=2", "B=1"]}));
        assert_eq!(
            serde_json::to_value(inherit_env(&base, own)).unwrap(),
            json!({"Env": ["A=2", "B=1"]})
        );
    }
}
