//! Options that several commands share.

use crate::error::{CliError, ExitStatus};
use clap::{Args, ValueEnum};
use nixply_layer::{Compression, StoreRoot};
use nixply_oci::{EmptyObject, Platform, RuntimeConfig};
use nixply_store::StoreDir;
use std::path::PathBuf;

/// All that commands which make an image have in common.
#[derive(Debug, Default, Args)]
pub(crate) struct ImageOptions {
    #[command(flatten)]
    pub(crate) plan: PlanOptions,
    #[command(flatten)]
    pub(crate) config: ConfigOptions,
}

/// How an image is planned.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Plan options")]
pub(crate) struct PlanOptions {
    /// Take only what is reachable from this store path (can be repeated)
    #[arg(long = "root", value_name = "PATH")]
    pub(crate) roots: Vec<String>,
    /// The image to build on: `docker://REF`, a lock of `nixply base lock`, a plan, an OCI layout or an archive
    #[arg(long, value_name = "BASE")]
    pub(crate) base: Option<String>,
    /// Take over nothing of the base's config but its environment
    #[arg(long)]
    pub(crate) no_inherit_config: bool,
    /// The most layers that the image may have, all kinds counted [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) max_layers: Option<usize>,
    /// What decides the layers: auto, solo, fleet, auto-layer, popularity, nix2container, size, per-path [default: auto,
    /// which is fleet with a catalog and solo without]
    #[arg(long, value_name = "NAME")]
    pub(crate) packer: Option<String>,
    /// The steps that make the layers in place of a packer: a JSON file, as nixpkgs' `layeringPipeline`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["packer", "catalog", "prior", "volatile"])]
    pub(crate) layering_pipeline: Option<PathBuf>,
    /// The fleet's catalog, as `nixply catalog` makes it
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Option<PathBuf>,
    /// An earlier plan or image, whose layers stay as they are where all of their paths are still there
    #[arg(long, value_name = "IMAGE")]
    pub(crate) prior: Option<String>,
    /// A store path that is new in every version of the image (can be repeated) [default: found by structure]
    #[arg(long, value_name = "PATH")]
    pub(crate) volatile: Vec<String>,
    /// How layers are written [default: nixply]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) layer_format: Option<LayerFormatName>,
    /// How layers are compressed: gzip[:LEVEL], zstd[:LEVEL] or none [default: gzip]
    #[arg(long, value_name = "KIND")]
    pub(crate) compression: Option<Compression>,
}

/// The layer formats by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerFormatName {
    /// nixply's own format
    Nixply,
    /// The very bytes of nixpkgs' dockerTools.streamLayeredImage
    Dockertools,
}

/// What the image says of itself and runs.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Image options")]
pub(crate) struct ConfigOptions {
    /// A word of the command (can be repeated), or all of it as a JSON array
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) cmd: Vec<String>,
    /// A word of the entry point (can be repeated), or all of it as a JSON array
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) entrypoint: Vec<String>,
    /// Set an environment variable (can be repeated)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// The user, or user and group, that the command runs as
    #[arg(long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// The directory that the command starts in
    #[arg(long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Set a label (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Name a port that the command listens on (can be repeated)
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = port)]
    pub(crate) expose: Vec<String>,
    /// Name a directory for a container's own data (can be repeated)
    #[arg(long, value_name = "DIR")]
    pub(crate) volume: Vec<String>,
    /// The signal that stops a container
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<String>,
    /// What the image runs on [default: linux and this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// The creation time: RFC 3339, `@SECONDS` since 1970, or `now` [default: 1970-01-01T00:00:01Z]
    #[arg(long, value_name = "TIME", value_parser = created)]
    pub(crate) created: Option<String>,
    /// Set an annotation of the manifest (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) annotation: Vec<(String, String)>,
}

/// What the image is called.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Image options")]
pub(crate) struct NameOptions {
    /// The image's name, with or without a registry's host
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The image's tag [default: latest]
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Option<String>,
}

/// How layers are made.
#[derive(Debug, Args)]
#[command(next_help_heading = "Work options")]
pub(crate) struct WorkOptions {
    /// How many threads compress layers [default: as many as the machine has]
    #[arg(long, value_name = "N", value_parser = count)]
    pub(crate) jobs: Option<usize>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}

/// Where store paths are read.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Work options")]
pub(crate) struct StoreOptions {
    /// Where the store directory lies on this machine, if elsewhere
    #[arg(long, value_name = "DIR")]
    pub(crate) physical_store: Option<PathBuf>,
}

impl PlanOptions {
    /// The prior image, or nothing.
    pub(crate) fn prior(&self) -> &str {
        self.prior.as_deref().unwrap_or_default()
    }

    /// What the command line names that may be in a registry: the image itself, its prior image and its base image.
    pub(crate) fn images<'a>(&'a self, image: &'a str) -> [&'a str; 3] {
        let base = self.base.as_deref().unwrap_or_default();
        [image, self.prior(), base]
    }

    /// The first option that was given of those that decide the layers.
    pub(crate) fn deciding(&self) -> Option<&'static str> {
        let decided = [
            ("--root", !self.roots.is_empty()),
            ("--base", self.base.is_some()),
            ("--no-inherit-config", self.no_inherit_config),
            ("--max-layers", self.max_layers.is_some()),
            ("--packer", self.packer.is_some()),
            ("--layering-pipeline", self.layering_pipeline.is_some()),
            ("--catalog", self.catalog.is_some()),
            ("--prior", self.prior.is_some()),
            ("--volatile", !self.volatile.is_empty()),
            ("--layer-format", self.layer_format.is_some()),
        ];
        let (option, _) = decided.into_iter().find(|(_, given)| *given)?;
        Some(option)
    }
}

impl StoreOptions {
    /// Where a store directory lies on this machine.
    pub(crate) fn root(&self, store_dir: StoreDir) -> StoreRoot {
        match &self.physical_store {
            Some(physical) => StoreRoot::new(store_dir, physical.clone()),
            None => StoreRoot::at_own_path(store_dir),
        }
    }
}

impl WorkOptions {
    /// The number of threads.
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.unwrap_or_else(crate::environment::threads)
    }
}

impl ConfigOptions {
    /// Lays the options over a config: single values and commands replace, environment, labels, ports and volumes are
    /// added and win over entries of the same name.
    pub(crate) fn apply(&self, config: &mut RuntimeConfig) -> Result<(), CliError> {
        if let Some(words) = words("--entrypoint", &self.entrypoint)? {
            config.entrypoint = Some(words);
        }
        if let Some(words) = words("--cmd", &self.cmd)? {
            config.cmd = Some(words);
        }
        for (name, value) in &self.env {
            let env = config.env.get_or_insert_default();
            let entry = format!("{name}={value}");
            let same = |old: &String| old.split('=').next() == Some(name);
            match env.iter_mut().find(|old| same(old)) {
                Some(old) => *old = entry,
                None => env.push(entry),
            }
        }
        if !self.label.is_empty() {
            config
                .labels
                .get_or_insert_default()
                .extend(self.label.iter().cloned());
        }
        for port in &self.expose {
            config
                .exposed_ports
                .get_or_insert_default()
                .insert(port.clone(), EmptyObject {});
        }
        for volume in &self.volume {
            config
                .volumes
                .get_or_insert_default()
                .insert(volume.clone(), EmptyObject {});
        }
        let replace = |old: &mut Option<String>, new: &Option<String>| {
            if new.is_some() {
                old.clone_from(new);
            }
        };
        replace(&mut config.user, &self.user);
        replace(&mut config.working_dir, &self.workdir);
        replace(&mut config.stop_signal, &self.stop_signal);
        Ok(())
    }
}

/// The words of a command: as they were given, or one JSON array of strings.
fn words(option: &str, given: &[String]) -> Result<Option<Vec<String>>, CliError> {
    match given {
        [] => Ok(None),
        [array] if array.starts_with('[') => {
            serde_json::from_str(array).map(Some).map_err(|error| {
                CliError::context(
                    ExitStatus::Usage,
                    format!("{option}: not a JSON array of strings"),
                    &error,
                )
            })
        }
        words => Ok(Some(words.to_vec())),
    }
}

pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected a name, `=` and a value".to_owned()),
    }
}

/// Docker writes the protocol always: `80` is `80/tcp`.
fn port(text: &str) -> Result<String, String> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    if port.parse::<u16>().is_err() || !matches!(protocol, "tcp" | "udp" | "sctp") {
        return Err("expected a port from 0 to 65535, and `/tcp`, `/udp` or `/sctp`".to_owned());
    }
    Ok(format!("{port}/{protocol}"))
}

/// How many threads or requests; more than the limit only fills the machine.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    const MOST: usize = 256;
    text.parse()
        .ok()
        .filter(|n| (1..=MOST).contains(n))
        .ok_or_else(|| format!("expected a number from 1 to {MOST}"))
}

/// A time of files, in seconds since 1970.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text)
        .map_err(|error| format!("expected RFC 3339 such as 2026-01-31T12:00:00Z: {error}"))?;
    u64::try_from(time.timestamp()).map_err(|_| format!("`{text}` is before 1970"))
}

/// The forms of a time, as the end of a message.
const TIME_FORMS: &str =
    "expected RFC 3339 such as 2026-01-31T12:00:00Z, `@` and the seconds since 1970, or `now`";

/// A creation time in UTC, as the config has it.
pub(crate) fn created(text: &str) -> Result<String, &'static str> {
    use chrono::{DateTime, SecondsFormat, Utc};
    let time = if text == "now" {
        Some(DateTime::<Utc>::from(std::time::SystemTime::now()))
    } else if let Some(seconds) = text.strip_prefix('@') {
        let seconds = seconds.parse().ok();
        seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0))
    } else {
        let time = DateTime::parse_from_rfc3339(text).ok();
        time.map(|time| time.to_utc())
    };
    let time = time.ok_or(TIME_FORMS)?;
    Ok(time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_utc() {
        assert_eq!(
            created("2024-06-25T20:55:05+02:00").unwrap(),
            "2024-06-25T18:55:05Z"
        );
        assert_eq!(created("@1").unwrap(), "1970-01-01T00:00:01Z");
        assert_eq!(created("2024-01-01").unwrap_err(), TIME_FORMS);
        assert!(created("@-").is_err());
    }

    #[test]
    fn options_win_over_the_config() {
        let mut config = RuntimeConfig {
            env: Some(vec!["A=1".into(), "B=2".into()]),
            cmd: Some(vec!["old".into()]),
            ..RuntimeConfig::default()
        };
        let options = ConfigOptions {
            env: vec![("A".into(), "3".into()), ("C".into(), "x=y".into())],
            cmd: vec![r#"["sh","-c","echo hi"]"#.into()],
            expose: vec!["80/tcp".into()],
            ..ConfigOptions::default()
        };
        options.apply(&mut config).unwrap();
        assert_eq!(config.env.unwrap(), ["A=3", "B=2", "C=x=y"]);
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "echo hi"]);
        assert!(config.exposed_ports.unwrap().contains_key("80/tcp"));
    }
}
