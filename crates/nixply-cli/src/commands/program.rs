//! `nixply program`: the interpreter of programs that `nixply build` writes.
//!
//! Such a file is a line `#!…/nixply program` and a JSON object: the first words of a nixply command, to which the words
//! of the caller are added. So `nix run .#runtime.push -- REF` needs no shell.

use crate::error::{CliError, ExitStatus};
use crate::input::read_file;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// The schema that this version reads and writes.
const SCHEMA: &str = "nixply.program/1";

/// Runs a program that nixply wrote: a nixply command with its first words
#[derive(Debug, clap::Args)]
// `--help` and all else behind the file belong to the command that it names.
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// The program
    file: PathBuf,
    /// What is added to its command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// A command of nixply and its first words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    schema: String,
    /// The words, from the name of the command on.
    command: Vec<String>,
}

impl Program {
    /// The program as one line of JSON.
    pub(crate) fn to_json(&self) -> Result<String, CliError> {
        serde_json::to_string(self).map_err(|error| {
            CliError::context(ExitStatus::Failed, "cannot write the program", &error)
        })
    }

    /// Reads a program; `name` is what errors call it.
    fn from_bytes(bytes: &[u8], name: &str) -> Result<Self, CliError> {
        let no_program = |message: String| {
            CliError::new(
                ExitStatus::Input,
                format!("`{name}` is no program of nixply: {message}"),
            )
        };
        let json = match bytes.strip_prefix(b"#!") {
            Some(rest) => rest.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or(b""),
            None => bytes,
        };
        let program: Self =
            serde_json::from_slice(json).map_err(|error| no_program(error.to_string()))?;
        if program.schema != SCHEMA {
            let found = &program.schema;
            return Err(no_program(format!(
                "its schema is `{found}`, expected `{SCHEMA}`"
            )));
        }
        // A program of a program could be itself.
        if program.command.first().is_none_or(|name| name == "program") {
            return Err(no_program("it names no command".to_owned()));
        }
        Ok(program)
    }
}

/// True where a file's first line names `nixply program` as the interpreter.
pub(crate) fn is_program(bytes: &[u8]) -> bool {
    let first_line = bytes.split(|byte| *byte == b'\n').next().unwrap_or(b"");
    first_line.starts_with(b"#!") && first_line.trim_ascii_end().ends_with(b"/nixply program")
}

/// The plan of the image that a program pushes, loads or streams, where it does any of these.
pub(crate) fn plan_of(program: &[u8], name: &str) -> Result<Option<PathBuf>, CliError> {
    let program = Program::from_bytes(program, name)?;
    Ok(match program.command.as_slice() {
        [command, plan, ..] if matches!(command.as_str(), "push" | "load" | "stream") => {
            Some(PathBuf::from(plan)).filter(|plan| plan.is_absolute())
        }
        _ => None,
    })
}

/// The words of the whole command line that a program and its caller make, `nixply` first.
pub(crate) fn command_line(args: &Args) -> Result<Vec<OsString>, CliError> {
    let program = Program::from_bytes(&read_file(&args.file)?, &args.file.display().to_string())?;
    let mut words = vec![OsString::from("nixply")];
    words.extend(program.command.into_iter().map(OsString::from));
    words.extend(args.arguments.iter().cloned());
    Ok(words)
}
