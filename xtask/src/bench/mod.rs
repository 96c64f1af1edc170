//! `cargo xtask bench reuse`: the reuse laboratory over the fleet of the fixtures, with the gates.
//! `cargo xtask bench speed`: the benchmarks of planning.
//! `cargo xtask bench derivation`: what an image costs as a derivation (`derivation.rs`).
//! `cargo xtask bench push`: the benchmarks of pushing (`push/`).

pub(crate) mod derivation;
pub(crate) mod push;

use crate::command::{cargo, pass_through};
use crate::say::say;
use anyhow::{Context as _, Result, bail};
use nixply_reuse::gates::{Gate, read_gates};
use nixply_reuse::planners::{Planner, planner};
use nixply_reuse::{Fleet, FleetFile, Images, Moved, NoClock, Run, Settings, replay};
use std::fs;
use std::path::{Path, PathBuf};

/// What stands beside the gates for comparison.
const BASELINES: [&str; 5] = [
    "auto-layer",
    "popularity",
    "nix2container",
    "size",
    "per-path",
];

/// How many layers the comparison has.
const MAX_LAYERS: usize = 100;

/// Replays every draw, prints the figures, and fails where a gate is missed.
pub(crate) fn reuse(root: &Path) -> Result<()> {
    let folder = root.join("fixtures/fleet");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let file = FleetFile::read("nixos-19.09.json", &read("nixos-19.09.json")?)?;
    let gates = read_gates("gates.json", &read("gates.json")?)?;
    let mut missed = 0;
    for (draw, projects) in &file.draws {
        let fleet = Fleet {
            pins: file.pins.clone(),
            images: Images::Projects(projects.clone()),
        };
        let gates: Vec<&Gate> = gates.iter().filter(|gate| gate.draw == *draw).collect();
        missed += replay_draw(draw, &fleet, &gates)?;
    }
    if missed > 0 {
        bail!("{missed} figures miss their gate");
    }
    say("every gate holds");
    Ok(())
}

/// Runs the benchmarks of planning, which criterion reports.
pub(crate) fn speed(root: &Path) -> Result<()> {
    let bench = ["bench", "-p", "nixply-bench", "--bench", "planning"];
    pass_through(&mut cargo(root, &bench))
}

/// Builds a program with optimisation, whatever xtask was built with.
fn build_optimised(root: &Path, args: &[&str], file: &str) -> Result<PathBuf> {
    let target_dir = crate::target_dir()?;
    let mut build = cargo(root, &["build", "--quiet", "--locked", "--release"]);
    pass_through(build.args(args).arg("--target-dir").arg(&target_dir))?;
    let program = target_dir.join("release").join(file);
    fs::canonicalize(&program).with_context(|| format!("{} was not built", program.display()))
}

/// Returns how many figures miss their gate.
fn replay_draw(draw: &str, fleet: &Fleet, gates: &[&Gate]) -> Result<usize> {
    let asked = gates
        .iter()
        .map(|gate| (gate.planner.as_str(), gate.max_layers, gate.level));
    let baselines = BASELINES.map(|name| (name, MAX_LAYERS, None));
    let planners: Vec<Box<dyn Planner>> = asked
        .chain(baselines)
        .map(|(name, max_layers, level)| {
            planner(name, max_layers, level)
                .with_context(|| format!("no packer is called `{name}`"))
        })
        .collect::<Result<_>>()?;
    let runs = replay(fleet, planners, &Settings::default(), &mut NoClock)?;
    say(format!(
        "{draw}: {} pins, bytes as a multiple of one layer per path",
        fleet.pins.len()
    ));
    say(format!(
        "{:<14} {:>6} {:>7} {:>7} {:>7} {:>8} {:>7}",
        "packer", "layers", "push", "pull", "cross", "deploy", "chain"
    ));
    let mut count = 0;
    for (idx, run) in runs.iter().enumerate() {
        let misses = gates
            .get(idx)
            .map_or_else(Vec::new, |gate| gate.misses(run));
        count += misses.len();
        let said: Vec<String> = misses
            .iter()
            .map(|miss| format!("{} above {:.3}", miss.measure, thousandths(miss.gate)))
            .collect();
        say(format!("{}  {}", row(run), said.join(", ")).trim_end());
    }
    say("");
    Ok(count)
}

fn row(run: &Run) -> String {
    let ratio = |moved: Moved| moved.ratio().unwrap_or(f64::NAN);
    let total = run.total;
    format!(
        "{:<14} {:>6} {:>7.3} {:>7.3} {:>7.3} {:>8.3} {:>7.3}",
        run.planner,
        run.most_layers,
        ratio(total.push),
        ratio(total.pull),
        ratio(total.cross),
        ratio(total.deploy),
        ratio(total.chain),
    )
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn thousandths(gate: u64) -> f64 {
    gate as f64 / 1000.0
}
