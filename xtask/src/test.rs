//! `cargo xtask test`: everything that has to hold, in sections.

use crate::checks::CHECKS;
use crate::command;
use crate::e2e;
use crate::install::{
    self, DOCKER, FAKEROOT, NGINX, NIX, OPENSSL, PODMAN, PROOT, REGISTRY, SKOPEO,
};
use crate::say::say;
use crate::tally::{SKIP_MARK, Tally};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Instant;

/// What a section does.
enum Work {
    /// It passes or fails as a whole.
    Whole(fn(&Path) -> Result<()>),
    /// It counts what it does itself, and fails as a whole when it cannot go on.
    Counted(fn(&Path, &mut Tally) -> Result<()>),
    /// The same with steps, of which only those with certain words in their name may be wanted.
    Steps(fn(&Path, Option<&str>, &mut Tally) -> Result<()>),
}

/// The name on the command line, what it is, and how it runs.
type Section = (&'static str, &'static str, Work);

const SECTIONS: &[Section] = &[
    (
        "fmt",
        "formatting",
        Work::Whole(|root| cargo(root, &["fmt", "--all", "--check"], &[])),
    ),
    (
        "checks",
        "the shape of the workspace",
        Work::Counted(checks),
    ),
    (
        "clippy",
        "lints",
        Work::Whole(|root| {
            let args = "clippy --workspace --all-targets --locked --quiet -- -D warnings";
            cargo(root, &words(args), &[])
        }),
    ),
    (
        "doc",
        "documentation",
        Work::Whole(|root| {
            let args = "doc --workspace --no-deps --locked --quiet";
            cargo(root, &words(args), &[("RUSTDOCFLAGS", "-D warnings")])
        }),
    ),
    (
        "unit",
        "unit, property, golden and snapshot tests",
        Work::Counted(cargo_test),
    ),
    (
        "e2e",
        "end to end: real Nix, real registry, real containers",
        Work::Steps(e2e::run),
    ),
];

/// Runs the named sections, or all of them. `e2e:WORDS` runs the steps of `e2e` whose names hold the words.
pub(crate) fn run(root: &Path, names: &[String]) -> Result<()> {
    let (names, only): (Vec<&str>, Vec<Option<&str>>) = names
        .iter()
        .map(|name| match name.split_once(':') {
            Some(("e2e", words)) => ("e2e", Some(words)),
            _ => (name.as_str(), None),
        })
        .unzip();
    let only = only.into_iter().flatten().next();
    if let Some(unknown) = names
        .iter()
        .find(|name| !SECTIONS.iter().any(|(section, ..)| section == *name))
    {
        let known: Vec<_> = SECTIONS.iter().map(|(section, ..)| *section).collect();
        bail!(
            "there is no section `{unknown}`; there are {}",
            known.join(", ")
        );
    }
    let mut tally = Tally::default();
    let start = Instant::now();
    if names.is_empty() || names.iter().any(|name| ["unit", "e2e"].contains(name)) {
        let tools = [
            NIX, REGISTRY, SKOPEO, DOCKER, PODMAN, NGINX, OPENSSL, FAKEROOT, PROOT,
        ];
        let missing = install::install(&tools);
        let missing = missing.iter().map(|tool| tool.name);
        let others = install::install_with_go()?
            .into_iter()
            .chain(install::install_with_npm()?);
        for name in missing.chain(others) {
            say(format!(
                "{name} is missing: the tests that need it are skipped"
            ));
        }
    }
    for (name, title, work) in SECTIONS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        say(format!("\n== {name}: {title}"));
        let section_start = Instant::now();
        let result = match work {
            Work::Whole(work) => work(root).map(|()| tally.pass()),
            Work::Counted(work) => work(root, &mut tally),
            Work::Steps(work) => work(root, only, &mut tally),
        };
        if let Err(error) = result {
            say(format!("FAILED: {error:#}"));
            tally.fail(&format!("{name}: {title}"));
        }
        say(format!(
            "== {name}: {:.1} s",
            section_start.elapsed().as_secs_f64()
        ));
    }
    say(format!(
        "\nall sections: {:.1} s",
        start.elapsed().as_secs_f64()
    ));
    for line in tally.details() {
        say(line);
    }
    say(&tally);
    if !tally.is_good() {
        bail!("the tests failed");
    }
    Ok(())
}

fn cargo(root: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    command::pass_through(command::cargo(root, args).envs(environment.iter().copied()))
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "all sections that count have the same type"
)]
fn checks(root: &Path, tally: &mut Tally) -> Result<()> {
    for (name, check) in CHECKS {
        match check(root) {
            Ok(()) => {
                say(format!("ok: {name}"));
                tally.pass();
            }
            Err(error) => {
                say(format!("FAILED: {name}\n{error:#}"));
                tally.fail(name);
            }
        }
    }
    Ok(())
}

/// Runs `cargo test`, counts each test, and shows what failed. All that was printed is in `target/xtask-test.log`.
fn cargo_test(root: &Path, tally: &mut Tally) -> Result<()> {
    let log_file = crate::target_dir()?.join("xtask-test.log");
    let mut log =
        File::create(&log_file).with_context(|| format!("cannot write {}", log_file.display()))?;
    // Only with --show-output does a test that passed show that it was skipped.
    let args = words("test --workspace --locked --no-fail-fast -- --show-output");
    let mut child = command::cargo(root, &args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("cargo test has no output")?;
    let errors = child.stderr.take().context("cargo test has no errors")?;
    let errors = thread::spawn(move || pass_on(errors));
    let failures_before = tally.failures();
    let mut in_passed_output = false;
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?)
            .trim_end_matches('\r')
            .to_owned();
        writeln!(log, "{line}")?;
        tally.read_test_output(&line);
        // libtest prints the output of tests that passed between these two lines.
        in_passed_output = (in_passed_output || line == "successes:")
            && line != "failures:"
            && !line.starts_with("test result:");
        let is_noise = in_passed_output
            || line.is_empty()
            || (line.starts_with("test ") && line.ends_with(" ... ok"));
        if !is_noise {
            say(line);
        }
    }
    let marks = errors.join().unwrap_or_default();
    for mark in marks {
        writeln!(log, "{mark}")?;
        tally.read_test_output(&mark);
    }
    let status = child.wait()?;
    if !status.success() && tally.failures() == failures_before {
        // It failed before any test did: a crate does not compile, or a test binary crashed.
        bail!("cargo test ended with {status}; see {}", log_file.display());
    }
    Ok(())
}

/// Shows what cargo and the tests write to standard error, and gives back the lines that say that a test was skipped:
/// tests write them past what libtest captures.
fn pass_on(errors: impl Read) -> Vec<String> {
    let mut marks = Vec::new();
    for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if line.starts_with(SKIP_MARK) {
            marks.push(line);
        } else {
            say(line);
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_among_what_cargo_says() {
        let errors =
            "   Compiling x\nSKIPPED: a: there is no moon\n     Running tests\nSKIPPED: b: no sun";
        let expected = ["SKIPPED: a: there is no moon", "SKIPPED: b: no sun"];
        assert_eq!(pass_on(errors.as_bytes()), expected);
    }
}
