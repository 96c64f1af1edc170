//! Several images as one archive, for `docker load`.

use super::Derivation;
use crate::environment;
use crate::error::CliError;
use crate::image::pool;
use crate::stored::layout_error;
use nixply_layer::{Compression, Compressor};
use nixply_layout::merge_docker_archives;
use serde::Deserialize;
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

/// What the output wants to know.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Docker archives, compressed as a whole or not.
    archives: Vec<PathBuf>,
    /// How the tar as a whole is compressed.
    compressor: Compression,
}

pub(super) fn run(request: &Request, derivation: &Derivation) -> Result<(), CliError> {
    let file = File::create(&derivation.out).map_err(|error| derivation.cannot_write(&error))?;
    let pool = pool(environment::build_cores())?;
    let mut out = Compressor::new(request.compressor, pool, BufWriter::new(file));
    let spool_dir = environment::temporary_dir();
    merge_docker_archives(&request.archives, &spool_dir, &mut out)
        .map_err(|error| layout_error(&error))?;
    out.finish()
        .and_then(|file| Ok(file.into_inner()?))
        .map_err(|error| derivation.cannot_write(&error))?;
    Ok(())
}
