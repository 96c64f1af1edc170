//! The command that all this is about, as another program sees it.

use crate::command::{self, command};
use crate::nix::Nix;
use anyhow::{Context, Result};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The built `nixply`.
#[derive(Debug, Clone)]
pub(crate) struct Nixply {
    program: PathBuf,
    nix: Nix,
}

/// What `nixply push --json` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Push {
    /// Of the manifest.
    pub(crate) digest: String,
    pub(crate) uploaded_bytes: u64,
    pub(crate) already_there_bytes: u64,
    pub(crate) uploaded_layers: usize,
    /// Those that were mounted included.
    pub(crate) already_there_layers: usize,
    pub(crate) mounted_layers: usize,
    /// Of the store, about.
    pub(crate) read_bytes: u64,
    pub(crate) requests: u64,
}

impl Nixply {
    /// Builds the command with the profile that xtask itself was built with, so that nothing is built twice.
    pub(crate) fn build(root: &Path, nix: Nix) -> Result<Nixply> {
        let mut build = command::cargo(
            root,
            &["build", "--quiet", "--locked", "--package", "nixply-cli"],
        );
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        command::pass_through(build.arg("--target-dir").arg(crate::target_dir()?))?;
        let program = std::env::current_exe()?.with_file_name("nixply");
        Ok(Nixply { program, nix })
    }

    /// The binary.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// A `nixply` command with settings for the Nix that it may call.
    pub(crate) fn command<I: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = command(&self.program, args);
        self.nix.set_environment(&mut command);
        // What this machine remembers of other registries has no place here, and these of ours none in the home.
        command.env("NIXPLY_CACHE_DIR", self.nix.conf_dir().join("nixply-cache"));
        command
    }

    /// `nixply push IMAGE REFERENCE OPTIONS… --json`.
    pub(crate) fn push(&self, image: &Path, reference: &str, options: &[&str]) -> Result<Push> {
        let mut push = self.command(["push"]);
        let printed = pushed(push.arg(image).arg(reference).args(options).arg("--json"))?;
        Push::read(&printed).with_context(|| format!("nixply push --json printed {printed}"))
    }

    /// `nixply export IMAGE --format FORMAT -o TO`.
    pub(crate) fn export(&self, image: &Path, format: &str, to: &Path) -> Result<()> {
        let mut export = self.command(["export"]);
        command::stdout(export.arg(image).args(["--format", format, "-o"]).arg(to)).map(drop)
    }
}

/// The result of a `nixply push --json`: the last line that it prints.
pub(crate) fn pushed(push: &mut Command) -> Result<Value> {
    let printed = command::text(push)?;
    let result = printed.lines().last().unwrap_or_default();
    serde_json::from_str(result).with_context(|| format!("nixply push --json ended with {result}"))
}

impl Push {
    fn read(printed: &Value) -> Option<Push> {
        let layers = printed["layers"].as_array()?;
        let count = |outcome: &str| {
            layers
                .iter()
                .filter(|layer| layer["outcome"] == outcome)
                .count()
        };
        Some(Push {
            digest: printed["digest"].as_str()?.to_owned(),
            uploaded_bytes: printed["layer_bytes_sent"].as_u64()?,
            already_there_bytes: printed["layer_bytes_not_sent"].as_u64()?,
            uploaded_layers: count("uploaded"),
            already_there_layers: count("present") + count("mounted"),
            mounted_layers: count("mounted"),
            read_bytes: printed["store_bytes_read"].as_u64()?,
            requests: printed["requests"].as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_outcome_of_a_push_is_read() {
        let layer = |outcome: &str| json!({ "outcome": outcome });
        let mut printed = json!({
            "digest": "sha256:00", "layer_bytes_sent": 5, "layer_bytes_not_sent": 7,
            "store_bytes_read": 9, "requests": 3,
            "layers": [layer("uploaded"), layer("present"), layer("mounted")],
        });
        let push = Push::read(&printed).unwrap();
        assert_eq!((push.uploaded_bytes, push.already_there_bytes), (5, 7));
        assert_eq!((push.uploaded_layers, push.already_there_layers), (1, 2));
        assert_eq!(
            (push.mounted_layers, push.read_bytes, push.requests),
            (1, 9, 3)
        );
        printed["layers"] = Value::Null;
        assert_eq!(Push::read(&printed), None);
    }
}
