//! `nixply base`: base images that others are built on.

use crate::base::{open_in_registry, read_tree};
use crate::error::{CliError, ExitStatus, output};
use crate::registries::RegistryOptions;
use crate::stored::parse_reference;
use clap::Subcommand;
use nixply_image::BaseLock;
use nixply_oci::{ImageSource as _, Platform};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Locks base images, so that planning on them needs no network
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BaseCommand,
}

#[derive(Debug, Subcommand)]
enum BaseCommand {
    Lock(Box<LockArgs>),
}

/// Writes all that planning needs of a base image in a registry: its digest, manifest and config, and which of its
/// directories are symbolic links; its layers are read once for that and not kept
#[derive(Debug, clap::Args)]
struct LockArgs {
    /// The image: HOST/REPOSITORY[:TAG][@DIGEST]
    #[arg(value_name = "REF")]
    reference: String,
    /// Which image, where there is one for each of several platforms [default: linux and this machine's architecture]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Where to; standard output where absent, or `-`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    registry: RegistryOptions,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    match &args.command {
        BaseCommand::Lock(args) => lock(args),
    }
}

fn lock(args: &LockArgs) -> Result<(), CliError> {
    let reference = parse_reference(&args.reference)?;
    let registries = args
        .registry
        .registries(&[&format!("docker://{reference}")])?;
    let opened = open_in_registry(&reference, args.platform.as_ref(), &registries)?;
    let platform = &opened.image().config.platform;
    if let Some(wanted) = args
        .platform
        .as_ref()
        .filter(|wanted| !platform.serves(wanted))
    {
        let message = format!("{reference} is for {platform}, expected {wanted}");
        return Err(CliError::new(ExitStatus::Input, message));
    }
    let text = |what: &str, bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|error| {
            let message = format!("the {what} of {reference} is no text");
            CliError::context(ExitStatus::Input, message, &error)
        })
    };
    let lock = BaseLock::new(
        &reference,
        Some(reference.to_string()),
        platform.clone(),
        text("manifest", opened.manifest_bytes())?,
        text("config", opened.config_bytes())?,
        read_tree(&opened)?,
    );
    let failed = |error: &nixply_image::BaseError| CliError::from_error(ExitStatus::Input, error);
    // What could not be used later is told now.
    lock.image().map_err(|error| failed(&error))?;
    let json = lock.to_json().map_err(|error| failed(&error))?;
    match args
        .output
        .as_deref()
        .filter(|path| *path != Path::new("-"))
    {
        Some(file) => {
            nixply_layout::write_file_atomically(file, |out| Ok(out.write_all(json.as_bytes())?))
                .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))
        }
        None => std::io::stdout()
            .lock()
            .write_all(json.as_bytes())
            .map_err(|error| output(&error)),
    }
}
