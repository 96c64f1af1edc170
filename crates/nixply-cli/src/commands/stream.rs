//! `nixply stream`: what the script of dockerTools' `streamLayeredImage` does, for those who call it.

use super::export::{names, write_options};
use crate::error::{CliError, ExitStatus};
use crate::image::{self, Request};
use crate::options::{ImageOptions, StoreOptions, WorkOptions};
use crate::progress::{Progress, Show};
use crate::registries::RegistryOptions;
use crate::stored::layout_error;
use nixply_layer::Compression;
use nixply_layout::write_docker_archive;

/// Writes an image to standard output as a docker archive
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plan, or whatever else an image is made from
    image: String,
    /// The tag where the image names none
    #[arg(long, hide = true)]
    default_tag: Option<String>,
    /// Name and tag in place of the image's own, `NAME:TAG`
    #[arg(short = 't', long = "repo_tag", value_name = "NAME:TAG", value_parser = repo_tag)]
    repo_tag: Option<(String, String)>,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let work = WorkOptions {
        jobs: None,
        store: StoreOptions::default(),
    };
    let registries = RegistryOptions::default().registries(&[&args.image])?;
    let mut plan = image::plan(&Request {
        image: &args.image,
        options: &ImageOptions::default(),
        name: None,
        default_compression: Compression::None,
        registries: &registries,
        store: &work.store,
    })?;
    match &args.repo_tag {
        Some((name, tag)) => (plan.name, plan.tag) = (Some(name.clone()), Some(tag.clone())),
        None => plan.tag = plan.tag.or_else(|| args.default_tag.clone()),
    }
    let plan = plan
        .with_compression(Compression::None)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    image::check_present(&plan, &work, |_| false)?;
    let image = image::image(plan, &work, &registries)?;
    let progress = Progress::new("writing", false, &image, Show::All);
    let written = write_docker_archive(
        &image,
        &names(&image),
        &mut std::io::stdout().lock(),
        &write_options(&work),
        &progress,
    );
    progress.finish();
    written.map(drop).map_err(|error| layout_error(&error))
}

/// The tag begins behind the last colon: a host may have a port.
fn repo_tag(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once(':') {
        Some((name, tag)) if !name.is_empty() && !tag.is_empty() && !tag.contains('/') => {
            Ok((name.to_owned(), tag.to_owned()))
        }
        _ => Err("expected a name, `:` and a tag".to_owned()),
    }
}
