//! `nixply bench reuse`: what a fleet of images moves, under every packer.

use super::compressed::{self, CompressedOptions};
use super::fleet::{self, FleetOptions};
use super::steps::Steps;
use super::table;
use crate::error::{CliError, ExitStatus, output};
use crate::text;
use nixply_pack::Catalog;
use nixply_reuse::planners::{self, Planner};
use nixply_reuse::{ByteKind, FleetFile, Report, ReuseError, Settings, page, replay};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Compares the bytes that a fleet of images moves over time, under every packer
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    fleet: FleetOptions,
    /// The most layers of store paths that an image may have (can be repeated) [default: 100]
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    max_layers: Vec<usize>,
    /// Compare only this packer: solo, fleet, solo+prior, fleet+prior, auto-layer, popularity, nix2container, size,
    /// per-path (can be repeated) [default: all]
    #[arg(long = "packer", value_name = "NAME", value_delimiter = ',')]
    packers: Vec<String>,
    /// The level of the catalogs that `fleet` makes [default: as proposed at the first pin]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(Catalog::MAX_LEVEL)))]
    level: Option<u32>,
    /// How often each image is deployed at each pin with nothing but its own paths renewed
    #[arg(long, value_name = "N", default_value_t = 2)]
    deploys: usize,
    /// Do not tell packers which paths are an image's own: let them find out
    #[arg(long)]
    guess_volatile: bool,
    #[command(flatten)]
    compressed: CompressedOptions,
    /// Write the report as JSON; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output options")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output options")]
    html: Option<PathBuf>,
    /// Write the fleet to one compact file, which this command reads again without asking Nix; `-` is standard output
    #[arg(long, value_name = "FILE", help_heading = "Output options")]
    save: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long, help_heading = "Output options")]
    quiet: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let to_stdout = one_for_stdout(args)?;
    let planners = planners(args)?;
    let input = fleet::read(&args.fleet, args.quiet)?;
    let mut stdout = String::new();
    let mut put = |file: &Path, content: String| {
        if file == Path::new("-") {
            stdout = content;
            Ok(())
        } else {
            write(file, &content)
        }
    };
    if let Some(file) = &args.save {
        let fleet_file = FleetFile {
            pins: input.fleet.pins.clone(),
            draws: input.draws.clone(),
        };
        put(file, fleet_file.to_json().map_err(|error| failed(&error))?)?;
    }
    let mut settings = Settings {
        deploys: args.deploys,
        names_own_paths: !args.guess_volatile,
        ..Settings::default()
    };
    let mut bytes = ByteKind::Nar;
    if let Some(sizes) = compressed::sizes(&args.compressed, &input.fleet, args.quiet)? {
        bytes = sizes.kind;
        settings.path_bytes = sizes.path_bytes;
    }
    let mut steps = Steps::new("replaying", input.fleet.pins.len(), args.quiet);
    let runs =
        replay(&input.fleet, planners, &settings, &mut steps).map_err(|error| failed(&error))?;
    drop(steps);
    let report = Report::new(&input.title, &input.fleet, &settings, bytes, runs);
    if let Some(file) = &args.html {
        put(file, page(&report))?;
    }
    if let Some(file) = &args.json {
        put(file, report.to_json().map_err(|error| failed(&error))?)?;
    }
    if !to_stdout {
        stdout = table::describe(&report);
    }
    std::io::stdout()
        .lock()
        .write_all(stdout.as_bytes())
        .map_err(|error| output(&error))
}

/// Whether a file is standard output in place of the table. Two of them would stand there one after the other.
fn one_for_stdout(args: &Args) -> Result<bool, CliError> {
    let files = [
        ("--json", &args.json),
        ("--html", &args.html),
        ("--save", &args.save),
    ];
    let is_stdout = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    let options: Vec<&str> = files
        .into_iter()
        .filter(|(_, file)| is_stdout(file))
        .map(|(option, _)| option)
        .collect();
    match options.as_slice() {
        [] => Ok(false),
        [_] => Ok(true),
        [first, second, ..] => Err(CliError::new(
            ExitStatus::Usage,
            format!("{first} and {second} cannot both go to standard output"),
        )),
    }
}

/// Every packer that was asked for, at every number of layers.
fn planners(args: &Args) -> Result<Vec<Box<dyn Planner>>, CliError> {
    let all: Vec<&str> = planners::names().collect();
    let names: Vec<&str> = if args.packers.is_empty() {
        all.clone()
    } else {
        args.packers.iter().map(String::as_str).collect()
    };
    let mut planners = Vec::new();
    for &max_layers in args
        .max_layers
        .iter()
        .chain(args.max_layers.is_empty().then_some(&100))
    {
        for &name in &names {
            let Some(planner) = planners::planner(name, max_layers, args.level) else {
                let known = text::quoted(&all);
                let message =
                    format!("`{name}` is not a packer that can be compared: expected {known}");
                return Err(CliError::new(ExitStatus::Usage, message));
            };
            planners.push(planner);
        }
    }
    Ok(planners)
}

/// The exit code of a library's error: what cannot be packed failed, everything else was wrong input.
pub(crate) fn failed(error: &ReuseError) -> CliError {
    let status = match error {
        ReuseError::Plan { .. } | ReuseError::Catalog { .. } => ExitStatus::Failed,
        _ => ExitStatus::Input,
    };
    let hint = matches!(error, ReuseError::UnknownSet { .. }).then(|| {
        "where there are pins of several distributions, `--pin PREFIX` takes those of one"
            .to_owned()
    });
    CliError::from_error(status, error).maybe_hint(hint)
}

fn write(file: &Path, content: &str) -> Result<(), CliError> {
    nixply_layout::write_file_atomically(file, |out| Ok(out.write_all(content.as_bytes())?))
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))
}
