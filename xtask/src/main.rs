//! What a developer of nixply types: `cargo xtask demo`, `cargo xtask test` and `cargo xtask bench` (`docs/development.md`).

mod bench;
mod checks;
mod command;
mod debian_root;
mod debnix;
mod demo;
mod e2e;
mod fleet;
mod install;
mod nix;
mod nixply;
mod oci;
mod say;
mod scratch;
mod services;
mod tally;
mod test;

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask demo             from a Nix closure to a running container, on this machine
       cargo xtask test [SECTION]…  all tests, or some sections of them: fmt, checks, clippy, doc, unit, e2e,
                                    e2e:WORDS for the steps of e2e that have these words in their names
       cargo xtask bench reuse      what a fleet moves under every packer, and whether the gates hold
       cargo xtask bench speed      what reading, packing and planning cost (docs/benchmarks.md)
       cargo xtask bench derivation what it costs Nix to evaluate and build a plan (docs/benchmarks.md)
       cargo xtask bench push [--case NAME]… [--quick] [--peer-script FILE]
                                    what pushing costs against nixpkgs' streamed images and skopeo (docs/benchmarks.md)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((command, [])) if command == "demo" => root().and_then(|root| demo::run(&root)),
        Some((command, sections)) if command == "test" => {
            root().and_then(|root| test::run(&root, sections))
        }
        Some((command, [what])) if command == "bench" && what == "reuse" => {
            root().and_then(|root| bench::reuse(&root))
        }
        Some((command, [what])) if command == "bench" && what == "speed" => {
            root().and_then(|root| bench::speed(&root))
        }
        Some((command, [what])) if command == "bench" && what == "derivation" => {
            root().and_then(|root| bench::derivation::run(&root))
        }
        Some((command, [what, options @ ..])) if command == "bench" && what == "push" => {
            root().and_then(|root| bench::push::run(&root, options))
        }
        // Started by the benchmark of pushing.
        Some((command, [])) if command == "counting-registry" => bench::push::counting::serve(),
        _ => {
            say::say(USAGE);
            return ExitCode::from(2);
        }
    };
    if let Err(error) = result {
        say::say(format!("error: {error:#}"));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The root of the work tree.
fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    Ok(here
        .context("xtask is in a folder of the work tree")?
        .to_owned())
}

/// Cargo's target directory, which this program was built in.
fn target_dir() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let dir = here.parent().and_then(Path::parent);
    Ok(dir.context("xtask is in target/PROFILE/")?.to_owned())
}
