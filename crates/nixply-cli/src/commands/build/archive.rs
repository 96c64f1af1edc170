//! The image as one tar, compressed as a whole where that is wanted.

use super::{Derivation, PlanRequest, check_in_reach, image, progress};
use crate::commands::export::{names, write_options};
use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::image::pool;
use crate::stored::layout_error;
use nixply_layer::{Compression, Compressor};
use nixply_layout::{write_archive, write_docker_archive};
use serde::Deserialize;
use std::fs::File;
use std::io::BufWriter;

/// What the output wants to know.
#[derive(Debug, Deserialize)]
pub(super) struct Request {
    #[serde(flatten)]
    of_plan: PlanRequest,
    #[serde(default)]
    format: Format,
    /// How the tar as a whole is compressed.
    #[serde(default)]
    compressor: Option<Compression>,
}

/// The forms of an archive.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    /// An OCI layout and a docker-archive at once.
    #[default]
    Archive,
    /// What `docker save` made before Docker 25, layers uncompressed.
    DockerArchive,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let mut plan = request.of_plan.read()?;
    check_in_reach(&plan)?;
    if let Format::DockerArchive = request.format {
        // The form wants layers uncompressed; the config, and so Docker's image ID, is the same.
        plan = plan
            .with_compression(Compression::None)
            .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    }
    let (image, work) = image(plan)?;
    let compressor = request.compressor.unwrap_or(Compression::None);
    let file = File::create(&derivation.out).map_err(|error| derivation.cannot_write(&error))?;
    let pool = pool(environment::build_cores())?;
    let mut out = Compressor::new(compressor, pool, BufWriter::new(file));
    let write = match request.format {
        Format::Archive => write_archive,
        Format::DockerArchive => write_docker_archive,
    };
    let progress = progress(&image);
    let written = write(
        &image,
        &names(&image),
        &mut out,
        &write_options(&work),
        &progress,
    );
    progress.finish();
    written.map_err(|error| layout_error(&error))?;
    out.finish()
        .and_then(|file| Ok(file.into_inner()?))
        .map_err(|error| derivation.cannot_write(&error))?;
    Ok(())
}
