//! `--digest-file`: the digest of what was pushed, for the next program.

use crate::error::{CliError, ExitStatus};
use nixply_oci::Digest;
use std::path::Path;

/// Writes a digest, without a newline.
pub(crate) fn write(file: &Path, digest: Digest) -> Result<(), CliError> {
    nixply_layout::write_file_atomically(file, |out| {
        out.write_all(digest.to_string().as_bytes())
            .map_err(nixply_layout::LayoutError::Output)
    })
    .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))
}

/// A digest that cannot be written would be lost after the push: better to know before.
pub(crate) fn check_directory(file: &Path) -> Result<(), CliError> {
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => Err(CliError::new(
            ExitStatus::Failed,
            format!(
                "cannot write `{}`: its directory does not exist",
                file.display()
            ),
        )),
        _ => Ok(()),
    }
}
