//! A program that is a command of nixply with its first arguments: `bin/NAME`, which needs no shell.
//!
//! The file's first line names `nixply program` as its interpreter; what that does with the rest is in
//! [`crate::commands::program`].

use super::Derivation;
use crate::commands::program::Program;
use crate::error::{CliError, ExitStatus};
use serde::Deserialize;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

/// The longest first line that every Linux kernel still in use reads whole (`BINPRM_BUF_SIZE` before Linux 5.1, less the
/// line's end).
const FIRST_LINE_MAX_BYTES: usize = 127;

/// What the output wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The program's file name in `bin`; the output is the program itself where there is none.
    #[serde(default)]
    name: Option<String>,
    /// The absolute path of `nixply`.
    interpreter: PathBuf,
    program: Program,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let first_line = format!("#!{} program", request.interpreter.display());
    if first_line.len() > FIRST_LINE_MAX_BYTES {
        let message = format!(
            "`{first_line}` is longer than the {FIRST_LINE_MAX_BYTES} bytes that a kernel reads"
        );
        return Err(CliError::new(ExitStatus::Input, message)
            .hint("give the package of nixply a shorter name"));
    }
    let json = request.program.to_json()?;
    let file = match &request.name {
        Some(name) => derivation.out.join("bin").join(name),
        None => derivation.out.clone(),
    };
    let made = match &request.name {
        Some(_) => fs::create_dir_all(derivation.out.join("bin")),
        None => Ok(()),
    };
    made.and_then(|()| fs::write(&file, format!("{first_line}\n{json}\n")))
        .and_then(|()| fs::set_permissions(&file, Permissions::from_mode(0o755)))
        .map_err(|error| derivation.cannot_write(&error))
}
