//! The fleet of `nixply bench reuse`: a folder, a fleet file, or closures of the user's own images.

use super::draw_order::natural;
use super::folder::{holds_pins, read_folder};
use super::history;
use super::reuse::failed;
use crate::error::{CliError, ExitStatus};
use crate::input::{read_file, store_path_of};
use crate::text;
use nixply_reuse::{Draws, Fleet, FleetFile, Images, Pin, draw_projects};
use std::path::{Path, PathBuf};

/// The seed of a draw where none is asked for and none is given.
const DEFAULT_SEED: u64 = 1;

/// How many projects a new draw composes where `--projects` does not say.
const DEFAULT_PROJECTS: usize = 16;

/// What the fleet is made of.
#[derive(Debug, clap::Args)]
pub(crate) struct FleetOptions {
    /// A folder of DATE.json and DATE.images.json, a fleet file, or one installable, store path or closure file an image
    #[arg(required_unless_present = "list")]
    pub(crate) inputs: Vec<String>,
    /// Read installables from a file, one a line
    #[arg(long, value_name = "FILE", help_heading = "Fleet options")]
    pub(crate) list: Option<PathBuf>,
    /// Take the installables at this git revision, oldest first (can be repeated)
    #[arg(
        long = "rev",
        value_name = "REV",
        value_delimiter = ',',
        help_heading = "Fleet options"
    )]
    pub(crate) revs: Vec<String>,
    /// Take only pins whose name begins so (can be repeated)
    #[arg(
        long = "pin",
        value_name = "PREFIX",
        value_delimiter = ',',
        help_heading = "Fleet options"
    )]
    pub(crate) pins: Vec<String>,
    /// Which projects are composed of the package sets: a draw of projects.json, a number as seed of a new one, or
    /// `none`, where each set is an image
    #[arg(long, value_name = "NAME|SEED|none", help_heading = "Fleet options")]
    pub(crate) draw: Option<String>,
    /// How many projects a new draw composes [default: 16]
    #[arg(long, value_name = "N", help_heading = "Fleet options",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) projects: Option<usize>,
}

/// A fleet and what it is called.
pub(crate) struct FleetInput {
    pub(crate) fleet: Fleet,
    pub(crate) draws: Draws,
    pub(crate) title: String,
}

/// Where the pins came from decides what is done without `--draw`.
struct Source {
    file: FleetFile,
    title: String,
    /// What `--draw` is where it is not given and there are no draws.
    default_draw: String,
}

/// Reads the fleet.
pub(crate) fn read(options: &FleetOptions, quiet: bool) -> Result<FleetInput, CliError> {
    let mut source = read_source(options, quiet)?;
    if !options.pins.is_empty() {
        let wanted = |pin: &Pin| {
            options
                .pins
                .iter()
                .any(|prefix| pin.name.starts_with(prefix))
        };
        let names: Vec<String> = source
            .file
            .pins
            .iter()
            .map(|pin| pin.name.clone())
            .collect();
        source.file.pins.retain(wanted);
        if source.file.pins.is_empty() {
            return Err(CliError::new(
                ExitStatus::Input,
                format!("no pin begins with {}", text::quoted(&options.pins)),
            )
            .hint(format!("the pins are {}", names.join(", "))));
        }
    }
    let (images, draw) = images(options, &source)?;
    Ok(FleetInput {
        title: format!("{}, {draw}", source.title),
        draws: source.file.draws,
        fleet: Fleet {
            pins: source.file.pins,
            images,
        },
    })
}

fn read_source(options: &FleetOptions, quiet: bool) -> Result<Source, CliError> {
    for input in &options.inputs {
        let Some(pins) = read_pins(input)? else {
            continue;
        };
        if options.inputs.len() > 1 || options.list.is_some() || !options.revs.is_empty() {
            return Err(CliError::new(
                ExitStatus::Usage,
                format!("`{input}` holds all pins of a fleet, so it must be the only input"),
            )
            .hint("a pin is added to a folder as DATE.json and DATE.images.json"));
        }
        return Ok(pins);
    }
    let installables = history::installables(options)?;
    Ok(Source {
        file: FleetFile {
            pins: history::pins(&installables, &options.revs, quiet)?,
            draws: Draws::new(),
        },
        title: text::count(installables.len(), "image"),
        default_draw: "none".to_owned(),
    })
}

/// The pins of a folder or a fleet file; none where the input is something else.
fn read_pins(input: &str) -> Result<Option<Source>, CliError> {
    let path = Path::new(input);
    let title = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    // A flake is an image, and so is a store path that holds no pins.
    let is_image = || {
        let in_store = |path: PathBuf| store_path_of(&path).is_some();
        path.join("flake.nix").is_file()
            || (path.canonicalize().is_ok_and(in_store) && !holds_pins(path))
    };
    if path.is_dir() && !is_image() {
        return Ok(Some(Source {
            file: read_folder(path)?,
            title,
            default_draw: DEFAULT_SEED.to_string(),
        }));
    }
    if path.is_file() {
        let bytes = read_file(path)?;
        if FleetFile::is_fleet_file(&bytes) {
            return Ok(Some(Source {
                file: FleetFile::read(input, &bytes).map_err(|error| failed(&error))?,
                title,
                default_draw: "none".to_owned(),
            }));
        }
    }
    Ok(None)
}

/// The images, and what they are called.
fn images(options: &FleetOptions, source: &Source) -> Result<(Images, String), CliError> {
    let draws = &source.file.draws;
    let mut names: Vec<&String> = draws.keys().collect();
    names.sort_by(|a, b| natural(a, b));
    let draw = options
        .draw
        .as_ref()
        .or(names.first().copied())
        .unwrap_or(&source.default_draw);
    if let Some(projects) = draws.get(draw) {
        only_new_draws_count(options, draw)?;
        let title = match (&options.draw, names.len()) {
            (Some(_), _) | (None, 0 | 1) => draw.clone(),
            (None, draws) => format!("{draw} (the first of {draws} draws)"),
        };
        return Ok((Images::Projects(projects.clone()), title));
    }
    if draw == "none" {
        only_new_draws_count(options, draw)?;
        return Ok((Images::Sets, "images as they are".to_owned()));
    }
    let Ok(seed) = draw.parse() else {
        let known = if names.is_empty() {
            "there are no draws in the input".to_owned()
        } else {
            format!("the draws are {}", text::quoted(&names))
        };
        return Err(CliError::new(
            ExitStatus::Usage,
            format!("`--draw {draw}` is no draw: expected the name of one, a number or `none`"),
        )
        .hint(known));
    };
    let projects = draw_projects(
        &source.file.pins,
        seed,
        options.projects.unwrap_or(DEFAULT_PROJECTS),
    );
    Ok((
        Images::Projects(projects),
        format!("projects drawn by seed {seed}"),
    ))
}

/// Refuses `--projects` where no projects are drawn.
fn only_new_draws_count(options: &FleetOptions, draw: &str) -> Result<(), CliError> {
    if options.projects.is_none() {
        return Ok(());
    }
    let why = if draw == "none" {
        "every package set is an image as it is".to_owned()
    } else {
        format!("the draw `{draw}` has its projects already")
    };
    Err(CliError::new(
        ExitStatus::Usage,
        format!("--projects has no meaning here: {why}"),
    )
    .hint("`--draw SEED`, a number, draws new projects"))
}
