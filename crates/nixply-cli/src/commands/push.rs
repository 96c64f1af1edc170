//! `nixply push`: an image into a registry.

mod events;
mod observer;
mod record_options;
mod result;
mod summary;
pub(super) mod targets;

use crate::digest_file;
use crate::environment;
use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::interrupt;
use crate::local_records::Remembered;
use crate::options::{ImageOptions, WorkOptions, count};
use crate::progress::{Progress, Show};
use crate::registries::{Registries, RegistryOptions};
use crate::stored::parse_reference;
use crate::text;
use clap::ValueEnum;
use events::Events;
use nixply_image::{ManifestFormat, PlannedImage};
use nixply_layer::Compression;
use nixply_oci::{Image as _, ImageReference};
use nixply_registry::{
    Client, Interrupt, PushOptions, PushReport, RecordStore, RegistryError, Survey, push_surveyed,
};
use observer::Observer;
use record_options::RecordOptions;
use result::PushResult;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

/// Makes an image and pushes it to a registry, reading only what the registry lacks
#[derive(Debug, clap::Args)]
// Only the programs of Nix functions can do without REF.
#[command(override_usage = "nixply push [OPTIONS] <IMAGE> <REF>")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct Args {
    /// A closure file, `-`, a plan, an image specification, a store path or an installable
    image: String,
    /// Where to: HOST/REPOSITORY[:TAG]; without a tag, those of --tag, else the image's own, else `latest`
    #[arg(value_name = "REF", required_unless_present = "own_name")]
    reference: Option<String>,
    /// The image's own name, which counts where no REF is given
    #[arg(long, value_name = "REF", hide = true)]
    own_name: Option<String>,
    #[command(flatten)]
    options: ImageOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    records: RecordOptions,
    #[command(flatten)]
    work: WorkOptions,
    /// Push under this tag, too (can be repeated)
    #[arg(
        long = "tag",
        value_name = "TAG",
        conflicts_with = "by_digest",
        help_heading = "Push options"
    )]
    tags: Vec<String>,
    /// Move no tag: the image is found by its digest alone
    #[arg(long, help_heading = "Push options")]
    by_digest: bool,
    /// The form of the manifest [default: oci]
    #[arg(long, value_name = "FORMAT", help_heading = "Push options")]
    manifest_format: Option<ManifestFormatName>,
    /// How many requests are under way at once [default: 8]
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Push options")]
    connections: Option<usize>,
    /// Show what would be sent, and why, and change nothing
    #[arg(long, help_heading = "Push options")]
    dry_run: bool,
    /// Write the image's digest to a file
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "dry_run",
        help_heading = "Push options"
    )]
    digest_file: Option<PathBuf>,
    /// Print events and the result as JSON, one a line
    #[arg(long, help_heading = "Push options")]
    json: bool,
    /// Show no progress
    #[arg(short, long, help_heading = "Push options")]
    quiet: bool,
}

/// The forms of a manifest by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ManifestFormatName {
    /// OCI's image manifest
    Oci,
    /// Docker's image manifest version 2, schema 2; with gzip only
    Docker,
}

impl From<ManifestFormatName> for ManifestFormat {
    fn from(name: ManifestFormatName) -> Self {
        match name {
            ManifestFormatName::Oci => Self::Oci,
            ManifestFormatName::Docker => Self::Docker,
        }
    }
}

impl Args {
    /// Where to push: to REF, else to the image's own name, as the programs of Nix functions have it.
    fn reference(&self) -> Result<ImageReference, CliError> {
        if let Some(given) = &self.reference {
            return parse_reference(given);
        }
        let own_name = self.own_name.as_deref().unwrap_or_default();
        match own_name.parse::<ImageReference>() {
            Ok(reference) if self.by_digest => Ok(reference.without_tag_and_digest()),
            Ok(reference) => Ok(reference),
            Err(error) => Err(CliError::context(
                ExitStatus::Usage,
                "nobody says where to push to",
                &error,
            )
            .hint(
                "add HOST/REPOSITORY[:TAG] to the command, as in `nix run .#app.push -- HOST/app:v1`; \
                 an image whose `name` has a registry's host needs no REF, and `copyToRegistry` takes none",
            )),
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let start = Instant::now();
    let push = prepare(args)?;
    if let Some(file) = &args.digest_file {
        digest_file::check_directory(file)?;
    }
    let events = args.json.then(Events::default);
    let report = push.run(args, events.as_ref());
    if let (Some(events), Err(error)) = (&events, &report) {
        events.error(error);
    }
    let report = report?;
    if let (Some(file), Some(digest)) = (&args.digest_file, report.manifest_digest) {
        digest_file::write(file, digest)?;
    }
    if let Some(events) = events {
        let target = &push.targets[0];
        let result = PushResult::new(target, &report, args.dry_run, start.elapsed());
        events.result(&result);
        return events.finish();
    }
    let text = if args.dry_run {
        summary::describe_dry_run(&push.targets, &report)
    } else {
        summary::describe(&push.targets, &report, start.elapsed())
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

/// A push that can begin.
struct Push {
    image: PlannedImage,
    targets: Vec<ImageReference>,
    registries: Registries,
    client: Client,
}

fn prepare(args: &Args) -> Result<Push, CliError> {
    let reference = args.reference()?;
    if reference.digest().is_some() {
        return Err(CliError::new(
            ExitStatus::Usage,
            format!("`{reference}` names a digest, which follows from the image: expected a tag"),
        ));
    }
    args.records.reuse_from()?;
    let target = format!("docker://{reference}");
    let [image, prior, base] = args.options.plan.images(&args.image);
    let registries = args.registry.registries(&[&target, image, prior, base])?;
    let plan = image::plan(&Request {
        image: &args.image,
        options: &args.options,
        name: None,
        default_compression: Compression::default(),
        registries: &registries,
        store: &args.work.store,
    })?;
    let targets = targets::targets(&reference, &args.tags, args.by_digest, &plan)?;
    let mut image = image::image(plan, &args.work, &registries)?;
    if let Some(format) = args.manifest_format {
        image = image
            .with_manifest_format(format.into())
            .map_err(|error| CliError::from_error(ExitStatus::Usage, &error))?;
        warn_of_lost_annotations(&image, format);
    }
    Ok(Push {
        image,
        targets,
        client: registries.client(args.connections)?,
        registries,
    })
}

fn warn_of_lost_annotations(image: &PlannedImage, format: ManifestFormatName) {
    let annotations = &image.plan().annotations;
    if format == ManifestFormatName::Docker && !annotations.is_empty() {
        let names: Vec<&String> = annotations.keys().collect();
        text::warning(&format!(
            "Docker's manifest has no annotations: {} left out",
            text::printable(&text::quoted(&names))
        ));
    }
}

impl Push {
    fn run(&self, args: &Args, events: Option<&Events>) -> Result<PushReport, CliError> {
        let verbose = self.registries.is_verbose();
        let remembered = args
            .records
            .uses_this_machine()
            .then(|| Remembered::open(verbose))
            .flatten();
        let stop = Interrupt::default();
        let mut options = PushOptions::for_jobs(args.work.jobs());
        options.records = remembered
            .as_ref()
            .map(|records| records as &dyn RecordStore);
        options.spool_dir = Some(environment::temporary_dir());
        options.dry_run = args.dry_run;
        options.interrupt = stop.clone();
        args.records.apply(&mut options)?;
        if let Some(events) = events {
            events.start(&self.targets, self.image.layers().len(), args.dry_run);
        }
        let show = match events {
            _ if args.quiet || args.dry_run => Show::Nothing,
            Some(_) => Show::Drawn,
            None => Show::All,
        };
        let progress = Progress::new("pushing", true, &self.image, show);
        let observer = Observer {
            progress: &progress,
            events,
            verbose,
            quiet: args.quiet,
            named: args.records.named()?,
        };
        let pushed = interrupt::stopping(
            move || stop.throw(),
            || self.push(args, &options, &observer),
        );
        progress.finish();
        if let Some(remembered) = &remembered
            && verbose
        {
            remembered.tell_trouble();
        }
        pushed.map_err(interrupt::or)
    }

    fn push(
        &self,
        args: &Args,
        options: &PushOptions<'_>,
        observer: &Observer<'_>,
    ) -> Result<PushReport, CliError> {
        let Self {
            image,
            targets,
            client,
            ..
        } = self;
        let survey = Survey::take(client, image, targets, options, observer)
            .map_err(|error| self.registries.error(&error, &targets[0]))?;
        observer.warn_of_useless(&survey, image.layers().len());
        if !options.dry_run {
            image::check_present(image.plan(), &args.work, |layer_idx| {
                survey.known(layer_idx).is_some()
            })?;
        }
        push_surveyed(client, image, targets, &survey, options, observer)
            .map_err(|error| self.failed(&error, options.dry_run))
    }

    /// The push had begun when this happened.
    fn failed(&self, error: &RegistryError, dry_run: bool) -> CliError {
        const AGAIN: &str = "run the same command again: it sends only the rest";
        let shown = self.registries.error(error, &self.targets[0]);
        if dry_run || !matches!(error, RegistryError::Transport { .. }) {
            return shown;
        }
        let hint = match shown.hint_text() {
            Some(hint) => format!("{hint}; then {AGAIN}"),
            None => AGAIN.to_owned(),
        };
        shown.hint(hint)
    }
}

/// An error and its causes in one line, for what goes on all the same.
fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
