//! A machine that runs the jobs of workflows and pipelines, with everything that stands for the internet.

use super::workflow::Script;
use super::{copy_templates, nix_here};
use crate::command::{self, command};
use crate::e2e::World;
use crate::e2e::flake::this_system;
use anyhow::{Context, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Stands for every package of the fleet: what `mkFleet` looks for in packages.
const PACKAGE_FILES: [&str; 8] = [
    "bin/bash",
    "bin/env",
    "bin/sudo",
    "etc/ssl/certs/ca-bundle.crt",
    "lib/ld-linux.so",
    "libexec/nix-ld",
    "share/nix-direnv/direnvrc",
    "share/zoneinfo/UTC",
];

/// What stands for `nix` on a runner. The flakes see their stub of nixpkgs by the environment; each platform's images are
/// made here, on whatever this is; and cosign, which needs the internet, only tells what it was asked.
const RUNNER_NIX: &str = r#"#!/bin/sh
case "$*" in
  "run --inputs-from . nixpkgs#cosign -- "*)
    shift 5
    echo "$*" >> "$COSIGN_LOG"
    case $1 in
      sign) touch "$COSIGN_LOG.$(echo "$3" | tr / _)" ;;
      verify) test -e "$COSIGN_LOG.$(echo "$2" | tr / _)" ;;
    esac
    exit ;;
  "run .#nixply -- "*)
    shift 3
    exec "$NIXPLY" "$@" ;;
esac
for word in "$@"; do
  shift
  case $word in
    .#*) word=".#packages.$SYSTEM.${word#.#}" ;;
    --) set -- "$@" --impure ;;
  esac
  set -- "$@" "$word"
done
case " $* " in *" -- "*) ;; *) set -- "$@" --impure ;; esac
exec "$NIX" --extra-experimental-features "nix-command flakes" "$@"
"#;

/// A machine that runs jobs: a checkout of the project, and what stands for the rest.
pub(super) struct Runner<'a> {
    pub(super) world: &'a World,
    /// Has `project`, the lock of which is done, and what is shared by all jobs.
    pub(super) dir: PathBuf,
    pub(super) host: String,
    packages: String,
}

impl<'a> Runner<'a> {
    pub(super) fn new(world: &'a World, name: &str) -> Result<Runner<'a>> {
        let dir = world.scratch.subdir(name)?;
        copy_templates(world, &dir, &dir.display().to_string(), &|words| {
            nix_here(world, words)
        })?;
        let package = dir.join("package");
        for file in PACKAGE_FILES {
            let file = package.join(file);
            fs::create_dir_all(file.parent().context("no parent")?)?;
            fs::write(file, "")?;
        }
        let added = command::text(world.nix.command("nix-store", ["--add"]).arg(&package))?;
        let packages = json!({
            "*": added,
            "python312": world.python.root,
            "nixply": world.nix_half.nixply,
            "system": this_system(),
        });
        let bin = world.scratch.subdir(&format!("{name}/bin"))?;
        fs::write(bin.join("nix"), RUNNER_NIX)?;
        command::text(command("chmod", ["+x"]).arg(bin.join("nix")))?;
        Ok(Runner {
            world,
            dir,
            host: world.reference("")?.trim_end_matches('/').to_owned(),
            packages: packages.to_string(),
        })
    }

    /// A fresh checkout.
    pub(super) fn checkout(&self, job: &str) -> Result<PathBuf> {
        let dir = self.dir.join(job);
        fs::create_dir_all(&dir)?;
        let mut copy = command("cp", ["-r", "--"]);
        command::stdout(copy.arg(self.dir.join("project/.")).arg(&dir))?;
        Ok(dir)
    }

    pub(super) fn run(
        &self,
        script: &Script,
        system: &str,
        dir: &Path,
        variables: &[(&str, &str)],
    ) -> Result<String> {
        let mut run = script.command(&[("ghcr.io", &self.host)], dir);
        self.world.nix.set_environment(&mut run);
        let path = std::env::var("PATH").unwrap_or_default();
        run.env("PATH", format!("{}:{path}", self.dir.join("bin").display()))
            .env("NIX", command::find_program("nix").context("no nix")?)
            .env("NIXPLY", self.world.nixply.program())
            .env("NIXPKGS_STUB", &self.packages)
            .env("SYSTEM", system)
            .env("HOME", self.dir.join("home"))
            .env("COSIGN_LOG", self.dir.join("cosign.log"))
            // A runner is a new machine and remembers nothing.
            .env("NIXPLY_CACHE_DIR", dir.join("cache"))
            .envs(variables.iter().copied());
        command::text(&mut run)
    }

    /// What cosign was asked since the last call.
    pub(super) fn cosign(&self) -> Result<Vec<String>> {
        let log = self.dir.join("cosign.log");
        let asked = fs::read_to_string(&log)?;
        fs::remove_file(log)?;
        Ok(asked.lines().map(str::to_owned).collect())
    }

    /// What a run of a workflow asked of the registry.
    pub(super) fn requests(&self, work: impl FnOnce() -> Result<()>) -> Result<Requests> {
        let registry = self
            .world
            .registry
            .as_ref()
            .map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let before = registry.log_from(0)?.len();
        work()?;
        let log = registry.log_from(before)?;
        let count = |methods: &[&str]| {
            let is_one = |line: &&str| {
                methods
                    .iter()
                    .any(|method| line.contains(&format!("\"{method} /v2/")))
            };
            log.lines().filter(is_one).count()
        };
        Ok(Requests {
            reads: count(&["GET", "HEAD"]),
            uploads: count(&["POST", "PATCH"]),
            manifests: log
                .lines()
                .filter(|line| line.contains("\"PUT /v2/") && line.contains("/manifests/"))
                .count(),
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Requests {
    pub(super) reads: usize,
    /// Of blobs.
    pub(super) uploads: usize,
    /// Written.
    pub(super) manifests: usize,
}
