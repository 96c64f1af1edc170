//! `nixply catalog`: a fleet's catalog made of package sets, and whether a catalog fits a closure.

mod check;
mod sets;

use crate::error::{CliError, ExitStatus, output};
use crate::input::read_input_closure;
use crate::packer_input::read_catalog;
use crate::text;
use nixply_image::DEFAULT_MAX_LAYERS;
use nixply_pack::{Catalog, CatalogError};
use nixply_store::{Closure, StorePath};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Makes a fleet's catalog of package sets, or checks whether one fits a closure
///
/// A catalog says which paths of a package collection come and go together, so that the images of a fleet are packed
/// alike: `--catalog` of the commands that make an image takes it. It is made once for each pin and kept beside the lock
/// file. Exit codes: as for every command; with --check 1 if the catalog does not know all of the closure.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("task").required(true).args(["sets", "check"]))]
pub(crate) struct Args {
    /// The closure of all package sets, or with --check that of an image: a closure file, `-`, a store path or an
    /// installable
    closure: String,
    /// The package sets: a JSON object of names, each with an array of store paths
    #[arg(long, value_name = "SETS")]
    sets: Option<PathBuf>,
    /// How coarse the groups are: those below 64 KiB · 2^N ride on others [default: proposed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(Catalog::MAX_LEVEL)))]
    level: Option<u32>,
    /// The most layers of the images that a level is proposed for [default: 100]
    #[arg(long, value_name = "N", conflicts_with = "level",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    max_layers: Option<usize>,
    /// Write the catalog to a file; `-` is standard output [default: -]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say how much of the closure this catalog knows, and make none
    #[arg(long, value_name = "FILE", conflicts_with_all = ["level", "max_layers", "output"])]
    check: Option<PathBuf>,
    /// Print what --check found as JSON
    #[arg(long, conflicts_with = "sets")]
    json: bool,
    /// Name every path that --check found unknown
    #[arg(long, conflicts_with_all = ["sets", "json"])]
    all: bool,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    if let Some(file) = &args.check {
        // The small file first: a wrong one is told before Nix is asked.
        let catalog = read_catalog(file)?;
        return check::run(&catalog, &closure(&args.closure)?, args.json, args.all);
    }
    let Some(file) = &args.sets else {
        return Err(CliError::new(ExitStatus::Usage, "--sets is missing"));
    };
    let named = sets::read(file)?;
    let closure = closure(&args.closure)?;
    let sets = sets::resolve(named, file, closure.store_dir())?;
    let level = match args.level {
        Some(level) => level,
        None => proposed_level(&closure, &sets, args.max_layers)?,
    };
    let catalog = Catalog::new(&closure, &sets, level).map_err(|error| not_made(&error))?;
    let json = catalog
        .to_json()
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    let mut stdout = std::io::stdout().lock();
    match args
        .output
        .as_deref()
        .filter(|file| *file != Path::new("-"))
    {
        Some(file) => {
            nixply_layout::write_file_atomically(file, |out| Ok(out.write_all(json.as_bytes())?))
                .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
            let summary = format!(
                "{} of {} in {}, level {level}: {}\n",
                catalog.path_count(),
                text::count(closure.paths().len(), "store path"),
                text::count(catalog.set_names().len(), "package set"),
                text::count(catalog.groups().len(), "group"),
            );
            stdout.write_all(summary.as_bytes())
        }
        None => stdout.write_all(json.as_bytes()),
    }
    .map_err(|error| output(&error))
}

/// The catalog of package sets that a derivation names, as JSON. A level is proposed where none is given.
pub(crate) fn of_sets(
    closure: &Closure,
    sets: &BTreeMap<String, Vec<String>>,
    level: Option<u32>,
) -> Result<String, CliError> {
    let mut parsed = BTreeMap::new();
    for (name, texts) in sets {
        let paths = texts.iter().map(|text| closure.store_dir().parse(text));
        let paths: Vec<StorePath> = paths.collect::<Result<_, _>>().map_err(|error| {
            CliError::context(ExitStatus::Input, format!("package set `{name}`"), &error)
        })?;
        parsed.insert(name.clone(), paths);
    }
    let level = match level {
        Some(level) if level > Catalog::MAX_LEVEL => {
            let most = Catalog::MAX_LEVEL;
            let message =
                format!("there is no level {level} of a catalog: expected at most {most}");
            return Err(CliError::new(ExitStatus::Input, message));
        }
        Some(level) => level,
        None => proposed_level(closure, &parsed, None)?,
    };
    let catalog = Catalog::new(closure, &parsed, level).map_err(|error| not_made(&error))?;
    catalog.to_json().map_err(|error| not_made(&error))
}

/// The closure that an argument stands for.
fn closure(argument: &str) -> Result<Closure, CliError> {
    read_input_closure(argument)?.ok_or_else(|| {
        CliError::new(
            ExitStatus::Input,
            format!("`{argument}` is no closure, so it has no references"),
        )
        .hint("`nix path-info --json -r PATH…` writes a closure")
    })
}

fn proposed_level(
    closure: &Closure,
    sets: &BTreeMap<String, Vec<StorePath>>,
    max_layers: Option<usize>,
) -> Result<u32, CliError> {
    let max_layers = max_layers.unwrap_or(DEFAULT_MAX_LAYERS);
    let proposal =
        Catalog::propose_level(closure, sets, max_layers).map_err(|error| not_made(&error))?;
    let level = proposal.level;
    text::note(
        &format!(
            "level {level} is proposed for images of at most {}",
            text::count(max_layers, "layer")
        ),
        Some(&format!(
            "pin it with `--level {level}`: a level that changes from pin to pin moves layers for nothing"
        )),
    );
    Ok(level)
}

fn not_made(error: &CatalogError) -> CliError {
    let hint = matches!(error, CatalogError::UnknownRoot { .. }).then(|| {
        "the closure must hold all package sets, of the same pin: `nix path-info --json -r` of all their paths"
            .to_owned()
    });
    CliError::from_error(ExitStatus::Input, error).maybe_hint(hint)
}
