//! The Nix of this machine, with settings of our own.

use crate::command;
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nix with a `nix.conf` in a folder of ours, so that nothing in `/etc` is touched and nothing in it matters.
#[derive(Debug, Clone)]
pub(crate) struct Nix {
    conf_dir: PathBuf,
}

impl Nix {
    /// Writes the `nix.conf` into `conf_dir`.
    pub(crate) fn new(conf_dir: PathBuf) -> Result<Nix> {
        // As root, Nix wants a group of build users, or to be told that there is none.
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let build_users = groups
            .lines()
            .find(|line| line.starts_with("nixbld:") && !line.ends_with(':'));
        let group = if build_users.is_some() { "nixbld" } else { "" };
        let settings = format!(
            "sandbox = false\nsubstituters =\nmax-jobs = auto\nbuild-users-group = {group}\n\
             experimental-features = nix-command\n"
        );
        fs::write(conf_dir.join("nix.conf"), settings)
            .with_context(|| format!("cannot write nix.conf into {}", conf_dir.display()))?;
        Ok(Nix { conf_dir })
    }

    /// One of Nix's programs with our settings.
    pub(crate) fn command<I: AsRef<OsStr>>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = I>,
    ) -> Command {
        let mut command = command::command(program, args);
        self.set_environment(&mut command);
        command
    }

    /// The directory of our settings, which goes when all is over.
    pub(crate) fn conf_dir(&self) -> &Path {
        &self.conf_dir
    }

    /// Gives our settings to a program that calls Nix.
    pub(crate) fn set_environment(&self, command: &mut Command) {
        command
            .env("NIX_CONF_DIR", &self.conf_dir)
            .env_remove("NIX_CONFIG")
            .env_remove("NIX_REMOTE");
    }

    /// Writes what `nix path-info --json` says of the closure of `root`.
    pub(crate) fn write_closure(&self, root: &Path, file: &Path) -> Result<()> {
        let mut path_info = self.command("nix", ["path-info", "--json", "--recursive"]);
        fs::write(file, command::stdout(path_info.arg(root))?)
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The store paths of the closure of `root`, dependencies first.
    pub(crate) fn closure_paths(&self, root: &Path) -> Result<Vec<PathBuf>> {
        let paths = command::text(
            self.command("nix-store", ["--query", "--requisites"])
                .arg(root),
        )?;
        Ok(paths.lines().map(PathBuf::from).collect())
    }
}
