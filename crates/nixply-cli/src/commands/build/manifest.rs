//! The image's manifest alone: its SHA-256 is the digest that a registry will know the image by.

use super::{Derivation, PlanRequest, image, progress};
use crate::commands::export::write_options;
use crate::error::{CliError, ExitStatus};
use crate::stored::layout_error;
use nixply_layout::{ImageNames, write_archive};
use nixply_oci::{Image as _, LayerRecord};

pub(super) fn run(request: &PlanRequest, derivation: &Derivation) -> Result<(), CliError> {
    let (image, work) = image(request.read()?)?;
    let names = ImageNames {
        references: Vec::new(),
    };
    let progress = progress(&image);
    // Every layer has to be made once to be known; the archive that holds them goes nowhere.
    let written = write_archive(
        &image,
        &names,
        &mut std::io::sink(),
        &write_options(&work),
        &progress,
    );
    progress.finish();
    let layers = written.map_err(|error| layout_error(&error))?.layers;
    let records: Vec<LayerRecord> = layers.into_iter().map(|layer| layer.record).collect();
    let finished = image
        .finish(&records)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    derivation.write(&finished.manifest)
}
