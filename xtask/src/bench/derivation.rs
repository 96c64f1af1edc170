//! `cargo xtask bench derivation`: what an image costs as a derivation, from the expression to the plan in the store.

use crate::command;
use crate::install::{self, NIX};
use crate::nix::Nix;
use crate::say::say;
use crate::scratch::Scratch;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As many store paths as a container of today has.
const PATHS: usize = 300;

/// An odd number, for the median.
const RUNS: usize = 9;

/// What evaluation and build have to stay below.
const TARGET: Duration = Duration::from_secs(1);

/// What one run took.
struct Took {
    evaluation: Duration,
    /// Of the specification and the plan.
    build: Duration,
    /// The same expression again, for which there is nothing to do.
    again: Duration,
}

/// Measures, prints, and fails where the target is missed.
pub(crate) fn run(root: &Path) -> Result<()> {
    ensure!(
        install::install(&[NIX]).is_empty(),
        "without Nix there are no derivations"
    );
    let scratch = Scratch::new()?;
    let nix = Nix::new(scratch.subdir("nix")?)?;
    let nixply = super::build_optimised(root, &["--package", "nixply-cli"], "nixply")?;
    let tool = scratch.subdir("tool")?;
    fs::create_dir(tool.join("bin"))?;
    fs::copy(nixply, tool.join("bin/nixply"))?;
    let tool = command::text(nix.command("nix-store", ["--add"]).arg(&tool))?;
    let closure = make_closure(&nix)?;
    let held = nix.closure_paths(&closure)?.len();
    ensure!(held == PATHS, "the closure has {held} paths");

    let mut runs = Vec::new();
    for n in 0..RUNS {
        // A name that no run had before, so that everything is built.
        let name = format!("bench-{}-{n}", std::process::id());
        let image = format!(
            "(import {} {{ nixply = builtins.storePath {tool}; }}).lib.buildImage {{ name = \"{name}\"; \
             config.Cmd = [ \"${{builtins.storePath {}}}\" ]; }}",
            root.join("nix").display(),
            closure.display()
        );
        runs.push(measure(&nix, &image)?);
    }
    say(format!(
        "an image of {PATHS} store paths, {RUNS} runs, least and median"
    ));
    let row = |what: &str, time: fn(&Took) -> Duration| {
        let mut times: Vec<Duration> = runs.iter().map(time).collect();
        times.sort_unstable();
        let median = times[RUNS / 2];
        say(format!(
            "{what:<34} {:>4} ms {:>4} ms",
            times[0].as_millis(),
            median.as_millis()
        ));
        median
    };
    row("evaluation", |took| took.evaluation);
    row("build of specification and plan", |took| took.build);
    let whole = row("both", |took| took.evaluation + took.build);
    row("nix-build when nothing has changed", |took| took.again);
    ensure!(
        whole < TARGET,
        "{} ms, to reach: below {} ms",
        whole.as_millis(),
        TARGET.as_millis()
    );
    Ok(())
}

/// Text files in the store, each of which refers to four others, and one to all of them.
fn make_closure(nix: &Nix) -> Result<PathBuf> {
    let expression = format!(
        "let
          inherit (builtins) concatStringsSep elemAt genList toFile;
          users = n: [ (n / 2) (n / 3) (n / 5) (n - 1) ];
          text = n: if n == 0 then \"0\" else concatStringsSep \"\\n\" (map (elemAt files) (users n));
          files = genList (n: toFile \"nixply-bench-${{toString n}}\" (text n)) {};
        in
        toFile \"nixply-bench\" (concatStringsSep \"\\n\" files)",
        PATHS - 1
    );
    let instantiate = ["--eval", "--json", "--read-write-mode", "--expr"];
    let root = command::json(nix.command("nix-instantiate", instantiate).arg(&expression))?;
    root.as_str().map(PathBuf::from).context("no store path")
}

fn measure(nix: &Nix, image: &str) -> Result<Took> {
    let start = Instant::now();
    let derivation = command::text(&mut nix.command("nix-instantiate", ["--expr", image]))?;
    let evaluation = start.elapsed();
    let start = Instant::now();
    let plan = command::text(&mut nix.command("nix-store", ["--realise", &derivation]))?;
    let build = start.elapsed();
    let start = Instant::now();
    let words = ["--no-out-link", "--expr", image];
    let same = command::text(&mut nix.command("nix-build", words))?;
    ensure!(plan == same, "{plan} was built, then {same}");
    Ok(Took {
        evaluation,
        build,
        again: start.elapsed(),
    })
}
