//! `nixply push`: an image into a registry.

use crate::environment;
use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::local_records::Remembered;
use crate::options::{ImageOptions, WorkOptions, count};
use crate::progress::Progress;
use crate::registries::RegistryOptions;
use crate::stored::{parse_reference, registry_error};
use crate::text;
use nixply_image::Plan;
use nixply_layer::Compression;
use nixply_oci::{Image as _, ImageReference};
use nixply_registry::{
    LayerIndexPlace, LayerOutcome, PushOptions, PushReport, RecordStore, Survey, push_surveyed,
};
use serde::Serialize;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Makes an image and pushes it to a registry, reading only what the registry lacks
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A closure file, `-`, a plan, an image specification, a store path or an installable
    image: String,
    /// Where to: HOST/REPOSITORY[:TAG]
    #[arg(value_name = "REF")]
    reference: String,
    #[command(flatten)]
    options: ImageOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    work: WorkOptions,
    /// Push under this tag, too (can be repeated)
    #[arg(long = "tag", value_name = "TAG", help_heading = "Push options")]
    tags: Vec<String>,
    /// How many requests are under way at once [default: 8]
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Push options")]
    connections: Option<usize>,
    /// Write the image's digest to a file
    #[arg(long, value_name = "FILE", help_heading = "Push options")]
    digest_file: Option<PathBuf>,
    /// Do not learn from the image under the tag which layers are there: make every layer again
    #[arg(long, help_heading = "Push options")]
    no_records: bool,
    /// Print what was done as JSON
    #[arg(long, help_heading = "Push options")]
    json: bool,
    /// Show no progress
    #[arg(short, long, help_heading = "Push options")]
    quiet: bool,
}

/// The result for machines.
#[derive(Debug, Serialize)]
struct Pushed<'a> {
    reference: String,
    digest: Option<String>,
    tags: &'a [String],
    layers: Vec<Layer<'a>>,
    uploaded_bytes: u64,
    already_there_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Layer<'a> {
    digest: String,
    diff_id: String,
    size_bytes: u64,
    title: &'a str,
    outcome: &'static str,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let reference = parse_reference(&args.reference)?;
    if reference.digest().is_some() {
        return Err(CliError::new(
            ExitStatus::Usage,
            format!("`{reference}` names a digest, which follows from the image: expected a tag"),
        ));
    }
    let target = format!("docker://{reference}");
    let images = [&target, &args.image, args.options.plan.prior()];
    let registries = args.registry.registries(&images)?;
    let plan = image::plan(&Request {
        image: &args.image,
        options: &args.options,
        name: None,
        default_compression: Compression::default(),
        registries: &registries,
    })?;
    let targets = targets(&reference, &args.tags, &plan)?;
    if let Some(file) = &args.digest_file {
        check_directory_of(file)?;
    }
    let remembered = (!args.no_records).then(Remembered::open).flatten();
    let mut options = PushOptions::for_jobs(args.work.jobs());
    options.records = remembered
        .as_ref()
        .map(|records| records as &dyn RecordStore);
    options.spool_dir = Some(environment::temporary_dir());
    options.read_tags = !args.no_records;
    if args.no_records {
        options.layer_index = LayerIndexPlace::Off;
    }
    let client = registries.client(args.connections)?;
    let image = image::image(plan, &args.work)?;
    let progress = Progress::new("pushing", image.layers().len(), args.quiet);
    let survey = Survey::take(&client, &image, &targets, &options, &progress)
        .map_err(|error| registry_error(&error))?;
    image::check_present(image.plan(), &args.work, |layer_idx| {
        survey.known(layer_idx).is_some()
    })?;
    let report = push_surveyed(&client, &image, &targets, &survey, &options, &progress);
    progress.finish();
    let report = report.map_err(|error| registry_error(&error))?;
    if let Some(file) = &args.digest_file {
        let digest = report.manifest_digest.map(|digest| digest.to_string());
        let digest = digest.unwrap_or_default();
        nixply_layout::write_file_atomically(file, |out| {
            out.write_all(digest.as_bytes())
                .map_err(nixply_layout::LayoutError::Output)
        })
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    }
    let text = if args.json {
        json(&targets[0], &report)?
    } else {
        describe(&targets, &report)
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

/// A digest that cannot be written would be lost after the push: better to know before.
fn check_directory_of(file: &Path) -> Result<(), CliError> {
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => Err(CliError::new(
            ExitStatus::Failed,
            format!(
                "cannot write `{}`: its directory does not exist",
                file.display()
            ),
        )),
        _ => Ok(()),
    }
}

/// The tags in order: the reference's own, then those of `--tag`; else the plan's, else `latest`.
fn targets(
    reference: &ImageReference,
    tags: &[String],
    plan: &Plan,
) -> Result<Vec<ImageReference>, CliError> {
    let mut all: Vec<&str> = reference.tag().into_iter().collect();
    all.extend(tags.iter().map(String::as_str));
    if all.is_empty() {
        all.push(plan.tag.as_deref().unwrap_or("latest"));
    }
    let mut targets: Vec<ImageReference> = Vec::with_capacity(all.len());
    for tag in all {
        let target = reference
            .with_tag(tag)
            .map_err(|error| CliError::from_error(ExitStatus::Usage, &error))?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    Ok(targets)
}

fn json(reference: &ImageReference, report: &PushReport) -> Result<String, CliError> {
    let pushed = Pushed {
        reference: reference.to_string(),
        digest: report.manifest_digest.map(|digest| digest.to_string()),
        tags: &report.tags,
        layers: report
            .layers
            .iter()
            .filter_map(|layer| {
                let record = layer.record.as_ref()?;
                Some(Layer {
                    digest: record.digest.to_string(),
                    diff_id: record.diff_id.to_string(),
                    size_bytes: record.size_bytes,
                    title: &layer.title,
                    outcome: match layer.outcome {
                        LayerOutcome::Uploaded { .. } => "uploaded",
                        LayerOutcome::Mounted { .. } => "mounted",
                        _ => "present",
                    },
                })
            })
            .collect(),
        uploaded_bytes: report.layer_bytes_sent(),
        already_there_bytes: report.layer_bytes_not_sent(),
    };
    let text = serde_json::to_string_pretty(&pushed)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    Ok(text + "\n")
}

fn describe(targets: &[ImageReference], report: &PushReport) -> String {
    let uploaded = report
        .layers
        .iter()
        .filter(|layer| matches!(layer.outcome, LayerOutcome::Uploaded { .. }))
        .count();
    let there = report.layers.len() - uploaded;
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    format!(
        "{}\n  digest         {}\n  uploaded       {}, {}\n  already there  {}, {}\n",
        names.join("\n"),
        report
            .manifest_digest
            .map(|digest| digest.to_string())
            .unwrap_or_default(),
        text::count(uploaded, "layer"),
        text::size(report.layer_bytes_sent()),
        text::count(there, "layer"),
        text::size(report.layer_bytes_not_sent()),
    )
}
