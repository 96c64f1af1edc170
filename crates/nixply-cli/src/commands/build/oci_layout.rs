//! The image as an OCI layout directory.

use super::{Derivation, PlanRequest, check_in_reach, image, progress};
use crate::commands::export::{names, write_options};
use crate::error::CliError;
use crate::stored::layout_error;
use nixply_layout::write_oci_dir;

pub(super) fn run(request: &PlanRequest, derivation: &Derivation) -> Result<(), CliError> {
    let plan = request.read()?;
    check_in_reach(&plan)?;
    let (image, work) = image(plan)?;
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
