//! The image's manifest alone: its SHA-256 is the digest that a registry will know the image by.

use super::{Derivation, PlanRequest, image, progress};
use crate::commands::export::write_options;
use crate::error::{CliError, ExitStatus};
use crate::stored::layout_error;
use nixply_image::PlannedImage;
use nixply_layout::{ImageNames, write_archive};
use nixply_oci::{FinishedImage, Image, ImageError, Layer, LayerRecord, Platform};

pub(super) fn run(request: &PlanRequest, derivation: &Derivation) -> Result<(), CliError> {
    let (image, work) = image(request.read()?)?;
    let names = ImageNames {
        references: Vec::new(),
    };
    let unknown = UnknownLayers::of(&image);
    let progress = progress(&image);
    // Every layer has to be made once to be known; the archive that holds them goes nowhere.
    let written = write_archive(
        &unknown,
        &names,
        &mut std::io::sink(),
        &write_options(&work),
        &progress,
    );
    progress.finish();
    let layers = written.map_err(|error| layout_error(&error))?.layers;
    let records: Vec<LayerRecord> = layers.into_iter().map(|layer| layer.record).collect();
    let finished = unknown
        .finish(&records)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    derivation.write(&finished.manifest)
}

/// An image without its lowest layers, as far as they are known: those of a base, which need not be here.
#[derive(Debug)]
struct UnknownLayers<'a> {
    image: &'a PlannedImage,
    known: Vec<LayerRecord>,
}

impl<'a> UnknownLayers<'a> {
    fn of(image: &'a PlannedImage) -> Self {
        let known = image.layers().iter().map_while(|layer| layer.known());
        Self {
            image,
            known: known.collect(),
        }
    }
}

impl Image for UnknownLayers<'_> {
    fn layers(&self) -> &[Box<dyn Layer>] {
        &self.image.layers()[self.known.len()..]
    }

    fn platform(&self) -> &Platform {
        self.image.platform()
    }

    fn finish(&self, records: &[LayerRecord]) -> Result<FinishedImage, ImageError> {
        let all = [self.known.as_slice(), records].concat();
        self.image.finish(&all)
    }
}
