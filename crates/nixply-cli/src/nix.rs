//! Asking Nix for closures.
//!
//! Nix changed the form of `nix path-info --json` and the flags it wants many times, so the forms are tried from the
//! newest to the oldest; `nix-store --dump-db`, whose form never changed, is the last.

use crate::error::{CliError, ExitStatus};
use crate::text::quoted;
use nixply_store::{Closure, ReadError, read_closure};
use std::process::{Command, Output};

/// What Nix is asked in turn, where a version does not know a flag.
const PATH_INFO: [&[&str]; 3] = [
    &[
        "--extra-experimental-features",
        "nix-command flakes",
        "path-info",
        "--json",
        "--json-format",
        "1",
        "-r",
    ],
    &[
        "--extra-experimental-features",
        "nix-command flakes",
        "path-info",
        "--json",
        "-r",
    ],
    &["path-info", "--json", "-r"],
];

/// The closure of store paths or installables, which must be built.
pub(crate) fn closure_of(installables: &[String]) -> Result<Closure, CliError> {
    if let Some(option) = installables.iter().find(|text| text.starts_with('-')) {
        return Err(CliError::new(
            ExitStatus::Input,
            format!("`{option}` is neither a store path nor an installable"),
        ));
    }
    let mut last = None;
    for flags in PATH_INFO {
        let Some(output) = run("nix", flags, installables)? else {
            break;
        };
        let unknown_flag = String::from_utf8_lossy(&output.stderr).contains("unrecognised flag");
        if output.status.success() {
            return read(&output.stdout, installables);
        }
        last = Some(output);
        if !unknown_flag {
            break;
        }
    }
    let all_paths = installables.iter().all(|text| text.starts_with('/'));
    if all_paths && let Some(output) = dump_db(installables)? {
        if output.status.success() {
            return read(&output.stdout, installables);
        }
        last = last.or(Some(output));
    }
    match last {
        Some(output) => Err(refused(installables, &output)),
        None => Err(CliError::new(
            ExitStatus::Failed,
            format!(
                "cannot ask Nix for the closure of {}: `nix` is not on PATH",
                quoted(installables)
            ),
        )
        .hint("give a closure file instead, made by `nix path-info --json -r` elsewhere")),
    }
}

/// Nix was there and did not answer.
fn refused(installables: &[String], output: &Output) -> CliError {
    let said = String::from_utf8_lossy(&output.stderr)
        .trim_end()
        .to_owned();
    // Every version of Nix says so of a store path that is not in the store.
    let not_built = said.contains("is not valid");
    let status = if not_built {
        ExitStatus::Input
    } else {
        ExitStatus::Failed
    };
    let message = format!("Nix cannot tell the closure of {}", quoted(installables));
    let hint = not_built.then(|| how_to_build(installables));
    CliError::context(status, message, &NixFailed(said)).maybe_hint(hint)
}

/// Store paths are fetched or built as they are, installables through the command that knows them.
fn how_to_build(installables: &[String]) -> String {
    let command = if installables.iter().all(|text| text.starts_with('/')) {
        "nix-store -r"
    } else {
        "nix build"
    };
    format!(
        "build or fetch it first: `{command} {}`",
        installables.join(" ")
    )
}

/// What Nix wrote on its standard error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NixFailed(String);

/// Paths that are named to one call: the kernel limits the length of a command line.
const DUMP_DB_PATHS: usize = 1000;

fn dump_db(paths: &[String]) -> Result<Option<Output>, CliError> {
    let Some(closure) = run("nix-store", &["--query", "--requisites"], paths)? else {
        return Ok(None);
    };
    if !closure.status.success() {
        return Ok(Some(closure));
    }
    let closure: Vec<String> = String::from_utf8_lossy(&closure.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    let mut whole: Option<Output> = None;
    for paths in closure.chunks(DUMP_DB_PATHS) {
        let Some(part) = run("nix-store", &["--dump-db"], paths)? else {
            return Ok(None);
        };
        match &mut whole {
            Some(whole) if part.status.success() => whole.stdout.extend(part.stdout),
            _ => whole = Some(part),
        }
        if whole
            .as_ref()
            .is_some_and(|output| !output.status.success())
        {
            break;
        }
    }
    Ok(whole)
}

/// Runs a program; none where it is not on `PATH`.
fn run(program: &str, flags: &[&str], arguments: &[String]) -> Result<Option<Output>, CliError> {
    match Command::new(program).args(flags).args(arguments).output() {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::context(
            ExitStatus::Failed,
            format!("cannot run `{program}`"),
            &error,
        )),
    }
}

fn read(bytes: &[u8], installables: &[String]) -> Result<Closure, CliError> {
    read_closure(bytes).map_err(|error| {
        let is_not_built = matches!(error, ReadError::InvalidPaths { .. });
        let build = is_not_built.then(|| how_to_build(installables));
        CliError::from_error(ExitStatus::Input, &error).maybe_hint(build.or_else(|| error.hint()))
    })
}
