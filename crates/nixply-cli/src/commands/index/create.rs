//! `nixply index create`: an image index of what registries have already, under tags.

use super::super::push::targets::tagged;
use crate::digest_file;
use crate::error::{CliError, ExitStatus, output};
use crate::interrupt;
use crate::options::pair;
use crate::registries::RegistryOptions;
use crate::stored::parse_reference;
use crate::text;
use nixply_oci::{Digest, ImageReference, MediaType, Platform};
use nixply_registry::{IndexOptions, IndexPart, IndexReport, Interrupt, create_index};
use serde::Serialize;
use std::io::Write as _;
use std::path::PathBuf;

/// Pushes an image index of images that are in the registry, one for each platform
///
/// Nothing is pushed where every tag names this very index already. The order in which images are given makes no
/// difference.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to: HOST/REPOSITORY[:TAG]
    #[arg(value_name = "REF")]
    reference: String,
    /// An image of the index: HOST/REPOSITORY@DIGEST, HOST/REPOSITORY:TAG, or DIGEST alone for one in the repository of the
    /// index (can be repeated). An index stands for its images
    #[arg(long = "from", value_name = "REF", required = true, num_args = 1.., action = clap::ArgAction::Append)]
    from: Vec<String>,
    /// Push under this tag, too (can be repeated)
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Set an annotation of the index (can be repeated)
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// Show what would be pushed and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Write the index's digest to a file
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    digest_file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    registry: RegistryOptions,
}

/// `nixply.index/1`.
#[derive(Debug, Serialize)]
struct IndexResult<'a> {
    schema: &'static str,
    dry_run: bool,
    reference: String,
    digest: String,
    media_type: &'a str,
    size_bytes: u64,
    tags: &'a [String],
    unchanged: bool,
    manifests: Vec<Manifest<'a>>,
    requests: u64,
    retries: u64,
}

#[derive(Debug, Serialize)]
struct Manifest<'a> {
    digest: String,
    media_type: &'a str,
    size_bytes: u64,
    platform: Option<&'a Platform>,
    /// Where it was found, by digest.
    from: String,
    /// True if it was not in the index's repository.
    brought: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let reference = parse_reference(&args.reference)?;
    if reference.digest().is_some() {
        return Err(CliError::new(
            ExitStatus::Usage,
            format!("`{reference}` names a digest, which follows from the images: expected a tag"),
        ));
    }
    let targets = tagged(&reference, &args.tags, "latest")?;
    let parts = parts(&reference, &args.from)?;
    if let Some(file) = &args.digest_file {
        digest_file::check_directory(file)?;
    }
    let target = format!("docker://{reference}");
    let registries = args.registry.registries(&[&target])?;
    let client = registries.client(None)?;
    let stop = Interrupt::default();
    let options = IndexOptions {
        annotations: args.annotation.iter().cloned().collect(),
        dry_run: args.dry_run,
        interrupt: stop.clone(),
    };
    let created = interrupt::stopping(
        move || stop.throw(),
        || create_index(&client, &targets, &parts, &options),
    );
    let report = created
        .map_err(|error| registries.error(&error, &targets[0]))
        .map_err(interrupt::or)?;
    if let Some(file) = &args.digest_file {
        digest_file::write(file, report.descriptor.digest)?;
    }
    let text = if args.json {
        json(&reference, &report, args.dry_run)?
    } else {
        describe(&targets, &report, args.dry_run)
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

/// The images; a digest alone is one in the repository of the index.
fn parts(target: &ImageReference, given: &[String]) -> Result<Vec<ImageReference>, CliError> {
    given
        .iter()
        .map(|given| match given.trim().parse::<Digest>() {
            Ok(digest) => Ok(target.with_digest(digest)),
            Err(error) if given.starts_with("sha256:") => {
                Err(CliError::from_error(ExitStatus::Usage, &error))
            }
            Err(_) => parse_reference(given),
        })
        .collect()
}

fn json(
    reference: &ImageReference,
    report: &IndexReport,
    dry_run: bool,
) -> Result<String, CliError> {
    let index = &report.descriptor;
    let result = IndexResult {
        schema: "nixply.index/1",
        dry_run,
        reference: reference.with_digest(index.digest).to_string(),
        digest: index.digest.to_string(),
        media_type: index.media_type.as_str(),
        size_bytes: index.size_bytes,
        tags: &report.tags,
        unchanged: report.is_unchanged,
        manifests: report.parts.iter().map(Manifest::from).collect(),
        requests: report.traffic.requests,
        retries: report.traffic.retries,
    };
    let mut text = serde_json::to_string_pretty(&result)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    text.push('\n');
    Ok(text)
}

impl<'a> From<&'a IndexPart> for Manifest<'a> {
    fn from(part: &'a IndexPart) -> Self {
        let descriptor = &part.descriptor;
        Self {
            digest: descriptor.digest.to_string(),
            media_type: descriptor.media_type.as_str(),
            size_bytes: descriptor.size_bytes,
            platform: descriptor.platform.as_ref(),
            from: part.from.to_string(),
            brought: part.is_brought,
        }
    }
}

fn describe(targets: &[ImageReference], report: &IndexReport, dry_run: bool) -> String {
    let rows: Vec<Vec<String>> = report.parts.iter().map(|part| row(part, dry_run)).collect();
    let form = match report.descriptor.media_type {
        MediaType::DockerManifestList => "Docker's manifest list",
        _ => "OCI's image index",
    };
    let end = match (report.is_unchanged, dry_run) {
        (true, true) => "; nothing has changed: nothing would be pushed",
        (true, false) => "; nothing has changed: nothing was pushed",
        (false, _) => "",
    };
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    format!(
        "{}\n  digest  {}\n  form    {form}{end}\n\n{}",
        names.join(", "),
        report.descriptor.digest,
        text::table(&["platform", "digest", "from"], &[], &rows),
    )
}

fn row(part: &IndexPart, dry_run: bool) -> Vec<String> {
    let platform = part.descriptor.platform.as_ref();
    let repository = part.from.without_tag_and_digest();
    let from = match (part.is_brought, dry_run) {
        (false, _) => "already there".to_owned(),
        (true, false) => format!("mounted from {repository}"),
        (true, true) => format!("would be mounted from {repository}"),
    };
    vec![
        text::printable(&platform.map_or_else(String::new, ToString::to_string)),
        part.descriptor.digest.to_string(),
        from,
    ]
}
