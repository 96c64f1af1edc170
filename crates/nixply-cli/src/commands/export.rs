//! `nixply export`: an image onto the disk or to standard output.

use crate::environment;
use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::options::{ImageOptions, NameOptions, WorkOptions};
use crate::progress::{Progress, Show};
use crate::registries::RegistryOptions;
use crate::stored::layout_error;
use clap::ValueEnum;
use nixply_image::PlannedImage;
use nixply_layer::Compression;
use nixply_layout::{
    ImageNames, LayoutError, WriteOptions, WriteReport, write_archive, write_docker_archive,
    write_file_atomically, write_oci_dir,
};
use std::io::Write;
use std::path::{Path, PathBuf};

/// How much memory finished layers may take while they wait for their turn in an archive; above it they wait in files
/// without a name. Chosen, not measured: a few layers of a usual image.
const ARCHIVE_MEMORY_BYTES: u64 = 64 << 20;

/// Writes an image as an archive or an OCI layout
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A closure file, `-`, a plan, an image specification, a store path or an installable
    image: String,
    /// The form to write
    #[arg(long, value_name = "FORMAT", default_value = "archive")]
    format: Format,
    /// Where to; `-` is standard output
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    #[command(flatten)]
    options: ImageOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    name: NameOptions,
    #[command(flatten)]
    work: WorkOptions,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// The forms of an image on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One tar that is an OCI layout and a docker-archive at once: every tool loads it
    Archive,
    /// An OCI layout directory
    OciDir,
    /// What `docker save` made before Docker 25, layers uncompressed
    DockerArchive,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let to_stdout = args.output == Path::new("-");
    if to_stdout && args.format == Format::OciDir {
        return Err(CliError::new(
            ExitStatus::Usage,
            "an OCI layout directory cannot go to standard output",
        )
        .hint("use `--format archive`, which is an OCI layout in one tar"));
    }
    let images = args.options.plan.images(&args.image);
    let registries = args.registry.registries(&images)?;
    let plan = image::plan(&Request {
        image: &args.image,
        options: &args.options,
        name: Some(&args.name),
        default_compression: match args.format {
            // The form wants layers uncompressed, so compressing them first would be work for nothing.
            Format::DockerArchive => Compression::None,
            Format::Archive | Format::OciDir => Compression::default(),
        },
        registries: &registries,
        store: &args.work.store,
    })?;
    image::check_present(&plan, &args.work, |_| false)?;
    let image = image::image(plan, &args.work, &registries)?;
    let progress = Progress::new("writing", false, &image, Show::unless(args.quiet));
    let written = write(&image, args, to_stdout, &progress);
    progress.finish();
    let report = written.map_err(|error| layout_error(&error))?;
    if to_stdout {
        return Ok(());
    }
    // A docker-archive has no manifest; Docker names the image by its config.
    let digest = match args.format {
        Format::DockerArchive => report.config_digest,
        Format::Archive | Format::OciDir => report.manifest_digest,
    };
    let text = format!("{digest}\n");
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

fn write(
    image: &PlannedImage,
    args: &Args,
    to_stdout: bool,
    progress: &Progress,
) -> Result<WriteReport, LayoutError> {
    let names = names(image);
    let options = write_options(&args.work);
    let archive = |out: &mut dyn Write| match args.format {
        Format::DockerArchive => write_docker_archive(image, &names, out, &options, progress),
        Format::Archive | Format::OciDir => write_archive(image, &names, out, &options, progress),
    };
    match args.format {
        Format::OciDir => write_oci_dir(image, &names, &args.output, &options, progress),
        _ if to_stdout => archive(&mut std::io::stdout().lock()),
        _ => write_file_atomically(&args.output, archive),
    }
}

/// The image's full name, where it has one.
pub(crate) fn names(image: &PlannedImage) -> ImageNames {
    ImageNames {
        references: image.plan().image_name().into_iter().collect(),
    }
}

/// What writing an image may use.
pub(crate) fn write_options(work: &WorkOptions) -> WriteOptions {
    WriteOptions {
        jobs: work.jobs(),
        memory_budget_bytes: ARCHIVE_MEMORY_BYTES,
        spool_dir: environment::temporary_dir(),
    }
}
