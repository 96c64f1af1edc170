//! The Nix half in use: expressions that see nixply's functions and the store paths of Debian's packages.

use crate::command::{self, command, output};
use crate::nix::Nix;
use crate::nixply::Nixply;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `nix/` with a nixply in the store.
#[derive(Debug)]
pub(super) struct NixHalf {
    nix: Nix,
    /// The store path with `bin/nixply`: the tested binary with the loader of debnix' glibc, so that it runs in a sandbox.
    pub(super) nixply: PathBuf,
    /// `let … in`: `nixply` is `import nix/ { … }`, `debnix` the fixture of that name.
    prelude: String,
}

impl NixHalf {
    /// Puts the binary into the store. `debnix_dir` has the lock of the fixture.
    pub(super) fn new(
        root: &Path,
        nix: &Nix,
        nixply: &Nixply,
        debnix_dir: &Path,
    ) -> Result<NixHalf> {
        let stripped = debnix_dir.join("nixply");
        let mut strip = command("strip", ["-o"]);
        command::text(strip.arg(&stripped).arg(nixply.program()))?;
        let debnix = format!(
            "debnix = import {} {{ lock = {}; }};",
            root.join("fixtures/debnix/debnix.nix").display(),
            debnix_dir.join("lock.json").display()
        );
        let build = format!(
            "let {debnix} in debnix.program \"nixply\" {}",
            stripped.display()
        );
        let nixply = build_expression(nix, &build)?;
        fs::remove_file(stripped).context("cannot remove the stripped nixply")?;
        let prelude = format!(
            "let {debnix} tool = builtins.storePath {}; nixply = import {nix} {{ nixply = tool; }}; \
             pkgs = import {} {{ }}; withPkgs = import {nix} {{ nixply = tool; inherit pkgs; }}; inherit (withPkgs) dockerTools; in ",
            nixply.display(),
            root.join("fixtures/nixpkgs-like").display(),
            nix = root.join("nix").display(),
        );
        Ok(NixHalf {
            nix: nix.clone(),
            nixply,
            prelude,
        })
    }

    /// A whole expression, with all that it sees.
    pub(super) fn expression(&self, expression: &str) -> String {
        format!("{}{expression}", self.prelude)
    }

    /// Builds what an expression stands for.
    pub(super) fn build(&self, expression: &str) -> Result<PathBuf> {
        build_expression(&self.nix, &self.expression(expression))
    }

    /// Builds what an expression stands for, and says what Nix said meanwhile.
    pub(super) fn build_and_hear(&self, expression: &str) -> Result<(PathBuf, String)> {
        let built = output(&mut nix_build(&self.nix, &self.expression(expression)))?;
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        ensure!(built.status.success(), "{expression}: {said}");
        let path = String::from_utf8_lossy(&built.stdout).trim_end().to_owned();
        Ok((PathBuf::from(path), said))
    }

    /// Builds again what was built, and compares: `nix-build --check`.
    pub(super) fn check(&self, expression: &str) -> Result<()> {
        let mut build = nix_build(&self.nix, &self.expression(expression));
        command::text(build.arg("--check")).map(drop)
    }

    /// The value of an expression as JSON.
    pub(super) fn eval(&self, expression: &str) -> Result<Value> {
        let whole = self.expression(expression);
        command::json(&mut self.nix.command(
            "nix-instantiate",
            ["--eval", "--strict", "--json", "--expr", &whole],
        ))
    }

    /// What Nix says of an expression that cannot be built.
    pub(super) fn refused(&self, expression: &str) -> Result<String> {
        let built = output(&mut nix_build(&self.nix, &self.expression(expression)))?;
        ensure!(!built.status.success(), "this was built: {expression}");
        Ok(String::from_utf8_lossy(&built.stderr).into_owned())
    }
}

fn nix_build(nix: &Nix, expression: &str) -> Command {
    nix.command("nix-build", ["--no-out-link", "--expr", expression])
}

fn build_expression(nix: &Nix, expression: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(command::text(&mut nix_build(
        nix, expression,
    ))?))
}
