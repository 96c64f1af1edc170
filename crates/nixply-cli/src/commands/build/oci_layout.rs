//! The image as an OCI layout directory.

use super::{Derivation, PlanRequest, image, progress};
use crate::commands::export::{names, write_options};
use crate::error::CliError;
use crate::stored::layout_error;
use nixply_layout::write_oci_dir;

pub(super) fn run(request: &PlanRequest, derivation: &Derivation) -> Result<(), CliError> {
    let (image, work) = image(request.read()?)?;
    let progress = progress(&image);
    let written = write_oci_dir(
        &image,
        &names(&image),
        &derivation.out,
        &write_options(&work),
        &progress,
    );
    progress.finish();
    written.map(drop).map_err(|error| layout_error(&error))
}
