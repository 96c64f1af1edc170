//! The weekly update of infra (`update.yml`), against a repository on this machine.

use super::runner::Runner;
use super::workflow;
use crate::command::{self, command};
use crate::e2e::World;
use crate::e2e::flake::this_system;
use crate::say::say;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const BRANCH: &str = "update-flake-lock";

/// What stands for `gh`: it tells what it was asked, and a pull request that was made is open.
const GH: &str = r#"#!/bin/sh
echo "$*" >> "$GH_LOG"
case "$1 $2" in "pr list") grep -c "^pr create " "$GH_LOG" || true ;; esac
"#;

/// `git` in a repository of the test.
fn git(dir: &Path, words: &[&str]) -> Result<String> {
    let identity = [
        "-c",
        "user.name=Tester",
        "-c",
        "user.email=tester@localhost",
    ];
    let mut git = command("git", identity);
    command::text(git.args(words).current_dir(dir))
        .with_context(|| format!("git {}", words.join(" ")))
}

/// Four weeks: something has moved; the pull request is still open; it was merged, and nothing has moved since; something has
/// moved that breaks the examples.
pub(in super::super) fn update(world: &World) -> Result<()> {
    let runner = Runner::new(world, "update")?;
    let origin = repository(&runner)?;
    let gh = runner.dir.join("bin/gh");
    fs::write(&gh, GH)?;
    command::text(command("chmod", ["+x"]).arg(gh))?;
    let main = git(&origin, &["rev-parse", "main"])?;
    let nixpkgs = runner.dir.join("nixpkgs-stub/default.nix");
    let stub = fs::read_to_string(&nixpkgs)?;

    fs::write(&nixpkgs, format!("# Another week.\n{stub}"))?;
    let asked = week(&runner, &origin, 1)?;
    ensure!(
        asked
            .iter()
            .any(|words| words.starts_with(&format!("pr create --head {BRANCH} "))),
        "no pull request was opened: {asked:?}"
    );
    ensure!(
        git(&origin, &["diff", "--name-only", "main", BRANCH])? == "flake.lock"
            && git(&origin, &["rev-parse", "main"])? == main,
        "the branch has more than the lock file, or main has moved"
    );

    let first = git(&origin, &["rev-parse", BRANCH])?;
    fs::write(&nixpkgs, format!("# Yet another.\n{stub}"))?;
    let asked = week(&runner, &origin, 2)?;
    ensure!(
        !asked.iter().any(|words| words.starts_with("pr create ")),
        "a second pull request was opened: {asked:?}"
    );
    ensure!(
        git(&origin, &["rev-parse", BRANCH])? != first
            && git(&origin, &["rev-parse", &format!("{BRANCH}^")])? == main,
        "the branch was not moved"
    );

    git(&origin, &["branch", "--force", "main", BRANCH])?;
    let asked = week(&runner, &origin, 3)?;
    ensure!(
        asked.is_empty(),
        "nothing has moved, and gh was asked {asked:?}"
    );

    let merged = git(&origin, &["rev-parse", BRANCH])?;
    fs::write(&nixpkgs, stub.replace("\"ripgrep\"", ""))?;
    let broken = week(&runner, &origin, 4);
    let said = broken.map_err(|error| format!("{error:#}"));
    ensure!(
        said.as_ref().is_err_and(|said| said.contains("ripgrep")),
        "a package is gone, and the update ended with {said:?}"
    );
    ensure!(
        git(&origin, &["rev-parse", BRANCH])? == merged,
        "an update that does not build was pushed"
    );
    Ok(())
}

/// The template as a repository, as its README says, with this machine's flakes for those of the internet.
fn repository(runner: &Runner<'_>) -> Result<std::path::PathBuf> {
    let dir = runner.dir.join("infra");
    let file = dir.join("flake.nix");
    let mut flake = fs::read_to_string(&file)?;
    for (input, name) in [
        ("github:NixOS/nixpkgs/nixos-unstable-small", "nixpkgs-stub"),
        ("github:my-org/nixply", "nixply-flake"),
    ] {
        ensure!(flake.contains(input), "the flake has no input {input}");
        let path = format!("path:{}", runner.dir.join(name).display());
        flake = flake.replace(input, &path);
    }
    fs::write(&file, flake)?;
    fs::remove_file(dir.join("flake.lock"))?;
    git(&dir, &["init", "--quiet", "--initial-branch", "main"])?;
    git(&dir, &["add", "."])?;
    command::stdout(super::nix_here(runner.world, "flake lock").current_dir(&dir))?;
    git(&dir, &["add", "flake.lock"])?;
    git(&dir, &["commit", "--quiet", "--message", "Begin"])?;
    let origin = runner.dir.join("origin.git");
    let name = origin.display().to_string();
    git(&dir, &["clone", "--quiet", "--bare", ".", &name])?;
    Ok(origin)
}

/// Runs the job in a fresh checkout, and tells what `gh` was asked.
fn week(runner: &Runner<'_>, origin: &Path, number: u32) -> Result<Vec<String>> {
    let dir = runner.dir.join(format!("week-{number}"));
    let (from, to) = (origin.display().to_string(), dir.display().to_string());
    git(&runner.dir, &["clone", "--quiet", &from, &to])?;
    let log = runner.dir.join("gh.log");
    let asked = |log: &Path| fs::read_to_string(log).unwrap_or_default();
    let before = asked(&log).lines().count();
    let workflow = workflow::read(&dir.join(".github/workflows/update.yml"))?;
    let values = BTreeMap::from([("secrets.GITHUB_TOKEN".to_owned(), "token".to_owned())]);
    let log_name = log.display().to_string();
    for script in workflow::github_scripts(&workflow["jobs"]["update"], &values)? {
        runner.run(&script, &this_system(), &dir, &[("GH_LOG", &log_name)])?;
    }
    let asked: Vec<String> = asked(&log)
        .lines()
        .skip(before)
        .map(str::to_owned)
        .collect();
    say(format!("week {number}: gh was asked {asked:?}"));
    Ok(asked)
}
