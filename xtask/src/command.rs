//! Running programs: what they print is captured, and a failure names the command and what it said.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// How many lines of a failed program's standard error are shown.
const SHOWN_ERROR_LINES: usize = 15;

/// The program of that name on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// A command, ready to take its arguments.
pub(crate) fn command<I: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = I>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// A cargo command for the workspace at `root`.
///
/// `cargo run`, which started this program, describes the package xtask in variables. Build scripts that watch them
/// would run again, and all that depends on them, each time that cargo is called once from here and once by hand.
pub(crate) fn cargo(root: &Path, args: &[&str]) -> Command {
    let mut cargo = command("cargo", args);
    for (name, _) in std::env::vars_os() {
        let is_of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix));
        if is_of_package {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root);
    cargo
}

/// Runs a command and gives back its result, whatever its exit code.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))
}

/// Runs a command that has to succeed, and gives back its standard output.
pub(crate) fn stdout(command: &mut Command) -> Result<Vec<u8>> {
    let output = output(command)?;
    if !output.status.success() {
        bail!(
            "{} ended with {}\n{}",
            shown(command),
            output.status,
            last_lines(&output.stderr)
        );
    }
    Ok(output.stdout)
}

/// As [`stdout`], as text without white space at its end.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let bytes = stdout(command)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// As [`stdout`], read as JSON.
pub(crate) fn json(command: &mut Command) -> Result<serde_json::Value> {
    let bytes = stdout(command)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} did not print JSON", shown(command)))
}

/// Runs a command that has to succeed and talks to the developer itself.
pub(crate) fn pass_through(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// The command line as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(SHOWN_ERROR_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = text(&mut command("sh", ["-c", "echo the reason >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`sh -c echo the reason >&2; exit 3` ended with exit status: 3"),
            "{error}"
        );
        assert!(error.ends_with("\nthe reason"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_found() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-here"), None);
    }
}
