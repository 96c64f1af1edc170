//! The fleet of `nixply bench reuse`: a folder, a fleet file, or closures of the user's own images.

use super::history;
use super::reuse::failed;
use crate::error::{CliError, ExitStatus};
use crate::input::read_file;
use crate::text;
use nixply_reuse::{Draws, Fleet, FleetFile, Images, Pin, draw_projects, read_draws};
use std::path::{Path, PathBuf};

/// The seed of a draw where none is asked for and none is given.
const DEFAULT_SEED: u64 = 1;

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
    /// How many projects a new draw composes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16,
        help_heading = "Fleet options"
    )]
    pub(crate) projects: usize,
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
    if let ([input], None, true) = (
        options.inputs.as_slice(),
        &options.list,
        options.revs.is_empty(),
    ) {
        let path = Path::new(input);
        let title = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !path.join("flake.nix").is_file() {
            return Ok(Source {
                file: read_folder(path)?,
                title,
                default_draw: DEFAULT_SEED.to_string(),
            });
        }
        if path.is_file() {
            let bytes = read_file(path)?;
            if FleetFile::is_fleet_file(&bytes) {
                return Ok(Source {
                    file: FleetFile::read(input, &bytes).map_err(|error| failed(&error))?,
                    title,
                    default_draw: "none".to_owned(),
                });
            }
        }
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

/// Every `X.json` that has an `X.images.json`, in the order of names.
fn read_folder(folder: &Path) -> Result<FleetFile, CliError> {
    let failed_to_read = |error: &std::io::Error| {
        let message = format!("cannot read `{}`", folder.display());
        CliError::context(ExitStatus::Failed, message, error)
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed_to_read(&error))? {
        let entry = entry.map_err(|error| failed_to_read(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".images.json").map(str::to_owned));
    }
    names.sort();
    if names.is_empty() {
        return Err(CliError::new(
            ExitStatus::Input,
            format!(
                "`{}` has no DATE.images.json, and it is no flake",
                folder.display()
            ),
        )
        .hint(
            "DATE.json holds a closure as `nix path-info --json -r` prints it, DATE.images.json \
             {\"NAME\": [\"/nix/store/…\"]}",
        ));
    }
    let mut pins = Vec::new();
    for name in names {
        let closure = read_file(&folder.join(format!("{name}.json")))?;
        let sets = read_file(&folder.join(format!("{name}.images.json")))?;
        pins.push(Pin::read(&name, &closure, &sets).map_err(|error| failed(&error))?);
    }
    let projects = folder.join("projects.json");
    let draws = if projects.is_file() {
        let document = projects.display().to_string();
        read_draws(&document, &read_file(&projects)?).map_err(|error| failed(&error))?
    } else {
        Draws::new()
    };
    Ok(FleetFile { pins, draws })
}

/// The images, and what they are called.
fn images(options: &FleetOptions, source: &Source) -> Result<(Images, String), CliError> {
    let draws = &source.file.draws;
    let first = draws.keys().next();
    let draw = options
        .draw
        .as_ref()
        .or(first)
        .unwrap_or(&source.default_draw);
    if let Some(projects) = draws.get(draw) {
        return Ok((Images::Projects(projects.clone()), draw.clone()));
    }
    if draw == "none" {
        return Ok((Images::Sets, "images as they are".to_owned()));
    }
    let Ok(seed) = draw.parse() else {
        let names: Vec<&String> = draws.keys().collect();
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
    let projects = draw_projects(&source.file.pins, seed, options.projects);
    Ok((
        Images::Projects(projects),
        format!("projects drawn by seed {seed}"),
    ))
}
