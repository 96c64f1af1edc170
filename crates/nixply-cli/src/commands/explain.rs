//! `nixply explain`: why the layers are as they are, and what a store path is there for.

mod image;
mod path;
mod report;

use crate::contents::{self, Known, Reading, References, references};
use crate::error::{CliError, ExitStatus, output};
use crate::options::{PlanOptions, StoreOptions};
use crate::registries::RegistryOptions;
use crate::stored::OpenArgs;
use crate::text;
use nixply_image::{
    ImageGraph, LayerExplanation, LayerHolds, MIN_HASH_DIGITS, PathQuery, explain_layers, find_path,
};
use nixply_layer::Compression;
use nixply_store::StorePath;
use std::fmt::Write as _;
use std::io::Write as _;

/// Tells why the layers are as they are, and what a store path is there for
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A plan, a `docker://REF`, an OCI layout, an archive, or whatever a plan can be made from
    image: String,
    /// A store path of the image, its name with or without version, or the first 5 digits of its hash
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
    path: Option<String>,
    /// The closure of IMAGE, for its references, where IMAGE is an image or a plan: a file, a store path or an installable
    #[arg(long, value_name = "CLOSURE")]
    closure: Option<String>,
    /// Name every layer and every chain of references
    #[arg(long)]
    all: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Read layers that do not say which store paths they hold
    #[arg(long)]
    read_layers: bool,
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    store: StoreOptions,
}

/// An image and what is known of it.
#[derive(Debug)]
struct Explained<'a> {
    args: &'a Args,
    known: &'a Known,
    references: &'a References,
    graph: Option<ImageGraph<'a>>,
    layers: Vec<LayerExplanation>,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let closure = args.closure.as_deref().unwrap_or_default();
    let images = [&args.image, args.plan.prior(), closure];
    let registries = args.registry.registries(&images)?;
    let reading = Reading {
        open: &args.open,
        registries: &registries,
        plan: &args.plan,
        store: &args.store,
        read_layers: args.read_layers,
    };
    let mut known = contents::read(&args.image, reading, Compression::default())?;
    contents::check_options(&args.plan, &[(&args.image, &known)])?;
    let references = references(&args.image, &mut known, args.closure.as_deref())?;
    let graph = references
        .closure()
        .map(|closure| ImageGraph::new(closure, &known.contents));
    let layers = explain_layers(&known.contents, known.plan.as_ref(), graph.as_ref());
    let explained = Explained {
        args,
        known: &known,
        references: &references,
        graph,
        layers,
    };
    let text = match &args.path {
        None if args.json => report::image(&explained)?,
        None => image::describe(&explained),
        Some(text) => {
            let path = find(&explained, text)?;
            if args.json {
                report::path(&explained, &path)?
            } else {
                path::describe(&explained, &path)
            }
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

/// How many of several paths with one name are listed.
const MAX_LISTED: usize = 20;

fn find(explained: &Explained<'_>, text: &str) -> Result<StorePath, CliError> {
    let contents = &explained.known.contents;
    match find_path(contents, text) {
        PathQuery::Found(path) => Ok(path),
        PathQuery::Ambiguous(paths) => {
            let mut message = format!("`{text}` is the name of {} store paths:", paths.len());
            for path in paths.iter().take(MAX_LISTED) {
                message.push_str("\n  ");
                message.push_str(&contents.store_dir.display(path));
            }
            if paths.len() > MAX_LISTED {
                let _ = write!(message, "\n  and {} more", paths.len() - MAX_LISTED);
            }
            Err(CliError::new(ExitStatus::Input, message).hint(format!(
                "name one by its path, or by at least {MIN_HASH_DIGITS} digits of its hash"
            )))
        }
        PathQuery::Unknown(near) => {
            let message = format!("the image has no store path `{}`", text::printable(text));
            let hint = if !near.is_empty() {
                Some(format!("did you mean `{}`?", near.join("`, `")))
            } else if contents
                .layers
                .iter()
                .any(|layer| matches!(layer.holds, LayerHolds::Unknown(_)))
            {
                Some(
                    "not every layer says which store paths it holds; --read-layers reads those that do not"
                        .to_owned(),
                )
            } else if text.len() < MIN_HASH_DIGITS {
                Some(format!("of a hash, give at least {MIN_HASH_DIGITS} digits"))
            } else {
                None
            };
            Err(CliError::new(ExitStatus::Input, message).maybe_hint(hint))
        }
    }
}

impl Explained<'_> {
    /// The NAR size of a path, from the plan or the closure.
    fn nar_size_bytes(&self, path: &StorePath) -> Option<u64> {
        let contents = &self.known.contents;
        let planned = contents
            .paths()
            .find(|held| held.path == *path)?
            .nar_size_bytes;
        planned.or_else(|| self.graph.as_ref()?.nar_size_bytes(path))
    }

    /// The roots: those that the image records, else those that its references tell.
    fn roots(&self) -> Vec<&StorePath> {
        match &self.graph {
            Some(graph) => graph.roots().collect(),
            None => self.known.contents.roots.iter().collect(),
        }
    }
}
