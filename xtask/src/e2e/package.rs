//! nixply's package (`nix/package.nix`) without nixpkgs: what `buildRustPackage` would be given.

use super::World;
use crate::command;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Macros whose file is read when the crate is compiled.
const INCLUDES: [&str; 3] = ["include!(", "include_bytes!(", "include_str!("];

pub(super) fn source(world: &World) -> Result<()> {
    let expression = format!(
        "let given = import {}/nix/package.nix {{ rustPlatform.buildRustPackage = arguments: arguments; }}; in \
         {{ inherit (given) version; src = \"${{given.src}}\"; lock = toString given.cargoLock.lockFile; }}",
        world.root.display()
    );
    let words = ["--eval", "--strict", "--json", "--read-write-mode"];
    let mut evaluate = world.nix.command("nix-instantiate", words);
    let given = command::json(evaluate.args(["--expr", &expression]))?;
    let path = |name: &str| given[name].as_str().map(PathBuf::from).context("no path");
    let (source, lock) = (path("src")?, path("lock")?);

    let here = metadata(&world.root)?;
    let there = metadata(&source).context("Cargo cannot read what the package is built of")?;
    let packages = |metadata: &Value| -> Result<BTreeSet<String>> {
        let all = metadata["packages"].as_array().context("no packages")?;
        Ok(all
            .iter()
            .map(|package| format!("{} {}", package["name"], package["version"]))
            .collect())
    };
    ensure!(
        packages(&here)? == packages(&there)?,
        "other crates are built in {}",
        source.display()
    );
    let of_nixply = |package: &&Value| package["name"] == "nixply-cli";
    let all = there["packages"].as_array().context("no packages")?;
    let nixply = all.iter().find(of_nixply).context("no nixply-cli")?;
    ensure!(
        nixply["version"] == given["version"],
        "the package has the version {}, nixply {}",
        given["version"],
        nixply["version"]
    );
    ensure!(
        fs::read(&lock)? == fs::read(source.join("Cargo.lock"))?,
        "the crates are fetched by another Cargo.lock than they are built by"
    );
    // Git's crates would want hashes in `cargoLock.outputHashes`.
    ensure!(
        !fs::read_to_string(&lock)?.contains("source = \"git+"),
        "a crate is from git"
    );

    let files = rust_files(&source)?;
    for file in &files {
        let file_here = world.root.join(file.strip_prefix(&source)?);
        ensure!(
            fs::read(file)? == fs::read(file_here)?,
            "{} is another file",
            file.display()
        );
        for included in includes(&fs::read_to_string(file)?) {
            let included = file.with_file_name("").join(included);
            let is_inside = included
                .canonicalize()
                .is_ok_and(|path| path.starts_with(&source));
            ensure!(
                is_inside,
                "{} includes {}, which the package leaves out",
                file.display(),
                included.display()
            );
        }
    }
    ensure!(files.len() > 100, "there are {} source files", files.len());
    for left_out in [
        "docs",
        "nix",
        "fixtures",
        "xtask/src/e2e",
        "crates/nixply-cli/tests",
    ] {
        ensure!(
            world.root.join(left_out).exists() && !source.join(left_out).exists(),
            "with every change in {left_out} nixply would be another"
        );
    }
    Ok(())
}

/// What Cargo says of a workspace, after it has looked at every member; its lock file has to fit.
fn metadata(workspace: &Path) -> Result<Value> {
    let words = ["metadata", "--format-version=1", "--locked"];
    command::json(&mut command::cargo(workspace, &words))
}

fn rust_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(rust_files(&entry.path())?);
        } else if entry.path().extension().is_some_and(|end| end == "rs") {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// The files that a source file includes; all of ours are named by one text.
fn includes(text: &str) -> Vec<&str> {
    let of_macro = |name: &'static str| {
        text.split(name)
            .skip(1)
            .filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next())
    };
    INCLUDES.into_iter().flat_map(of_macro).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_found() {
        let text = "const A: &str = include_str!(\"a.css\");\nconst B: &[u8] = include_bytes!(\n    \"../b\",\n);";
        assert_eq!(includes(text), ["../b", "a.css"]);
        assert!(includes("let x = include_str;").is_empty());
    }
}
