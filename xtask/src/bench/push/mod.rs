//! `cargo xtask bench push`: what a push costs, against the peer and against what no push can do without.
//!
//! Everything that is compared is measured in one run, in turn. What is pushed is a store made of what is installed
//! (`store.rs`); where to, is a real registry with fresh storage, or one that only counts (`counting.rs`).

mod cases;
pub(crate) mod counting;
mod nar;
mod peer;
mod process;
mod report;
mod store;
mod world;

use super::build_optimised;
use crate::install::{self, REGISTRY, SKOPEO};
use crate::say::say;
use crate::scratch::Scratch;
use anyhow::{Context, Result, bail};
use cases::{CASES, Case};
use report::Verdict;
use std::path::{Path, PathBuf};
use store::Store;
use world::World;

/// What is asked for.
#[derive(Debug, Default)]
struct Options {
    /// The names of cases; all of them where there is none.
    cases: Vec<String>,
    is_quick: bool,
    peer_script: Option<PathBuf>,
}

impl Options {
    fn read(words: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .with_context(|| format!("{word} wants a value"))
            };
            match word.as_str() {
                "--quick" => options.is_quick = true,
                "--case" => options.cases.push(value()?.clone()),
                "--peer-script" => options.peer_script = Some(value()?.into()),
                _ => bail!(
                    "`{word}` is no option of bench push: expected --case NAME, --quick or --peer-script FILE"
                ),
            }
        }
        let known: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        if let Some(unknown) = options
            .cases
            .iter()
            .find(|name| !known.contains(&name.as_str()))
        {
            bail!(
                "there is no case `{unknown}`: expected one of {}",
                known.join(", ")
            );
        }
        Ok(options)
    }

    fn wants(&self, case: &Case) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|name| name == case.name)
    }
}

/// Measures, prints, writes the section of `docs/benchmarks.md` after a whole run, and fails where a figure is missed.
pub(crate) fn run(root: &Path, words: &[String]) -> Result<()> {
    let options = Options::read(words)?;
    if let Some(missing) = install::install(&[REGISTRY, SKOPEO]).first() {
        say(format!(
            "{} is missing; what needs it is skipped",
            missing.name
        ));
    }
    let target_dir = crate::target_dir()?;
    let folder = target_dir.join(if options.is_quick {
        "bench-push-quick"
    } else {
        "bench-push"
    });
    let store = Store::make(&folder, options.is_quick)?;
    let world = World {
        nixply: build_optimised(root, &["--package", "nixply-cli"], "nixply")?,
        floor: build_optimised(
            root,
            &["--package", "nixply-bench", "--example", "push_floor"],
            "examples/push_floor",
        )?,
        peer_script: peer::find_script(options.peer_script.as_deref()),
        scratch: Scratch::new()?,
        store,
        is_quick: options.is_quick,
        rows: Vec::new().into(),
        peak: Vec::new().into(),
    };
    let preface = world.preface();
    say(&preface);
    for case in CASES.iter().filter(|case| options.wants(case)) {
        say(format!("\n{}", case.name));
        (case.measure)(&world).with_context(|| format!("case {}", case.name))?;
    }
    world.add_peak();
    let rows = world.rows.borrow();
    if options.cases.is_empty() && !options.is_quick {
        report::write(&root.join("docs/benchmarks.md"), &preface, &rows)?;
    }
    let missed = rows
        .iter()
        .filter(|row| row.verdict == Verdict::Missed)
        .count();
    if missed > 0 {
        bail!("{missed} figures are missed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_named() {
        let read = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            Options::read(&words)
        };
        let options = read("--case cold --quick --case floor").unwrap();
        assert_eq!(options.cases, ["cold", "floor"]);
        assert!(options.is_quick);
        assert!(read("--case").is_err());
        let unknown = read("--case warm").unwrap_err().to_string();
        assert!(
            unknown.starts_with("there is no case `warm`: expected one of cold, "),
            "{unknown}"
        );
    }
}
