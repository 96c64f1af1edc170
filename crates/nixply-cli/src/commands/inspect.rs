//! `nixply inspect`: what an image or a plan holds.

mod config;
mod index;

use super::plan::describe as describe_plan;
use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::input::stored_place;
use crate::options::{ImageOptions, StoreOptions};
use crate::registries::{Registries, RegistryOptions};
use crate::stored::{OpenArgs, StoredError, open_stored};
use crate::text;
use nixply_image::{ImageContents, LayerHolds, Plan, store_paths_of_history};
use nixply_layer::Compression;
use nixply_oci::{
    ANNOTATION_LAYER_KEY, History, ImageSource, Platform, RuntimeConfig, StoredImage,
};
use nixply_registry::{RegistryError, StoredIndex, read_index};
use nixply_store::StorePath;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// Shows the layers, sizes and store paths of an image or a plan
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A `docker://REF`, an OCI layout, an archive, a plan, or whatever a plan can be made from
    image: String,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Serialize)]
struct Inspected<'a> {
    digest: String,
    platform: &'a Platform,
    created: Option<&'a str>,
    config: Option<&'a RuntimeConfig>,
    annotations: &'a std::collections::BTreeMap<String, String>,
    layers: Vec<InspectedLayer<'a>>,
}

#[derive(Debug, Serialize)]
struct InspectedLayer<'a> {
    digest: String,
    diff_id: Option<String>,
    key: Option<&'a str>,
    media_type: &'a str,
    size_bytes: u64,
    store_paths: Option<Vec<String>>,
    comment: Option<&'a str>,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let registries = args.registry.registries(&[&args.image])?;
    let text = match find(args, &registries)? {
        Some(Found::Image(source)) => {
            let inspected = inspect(source.image());
            if args.json {
                json(&inspected)?
            } else {
                describe(&inspected, &ImageContents::of_stored(source.image()))
            }
        }
        Some(Found::Index(index)) if args.json => index::json(&index)?,
        Some(Found::Index(index)) => index::describe(&index),
        None => {
            let plan = plan(args, &registries)?;
            if args.json {
                plan.to_json()
                    .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?
            } else {
                describe_plan(&plan)
            }
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
}

/// What exists already.
enum Found {
    Image(Box<dyn ImageSource>),
    /// Of several platforms, where nobody says which.
    Index(Box<StoredIndex>),
}

fn find(args: &Args, registries: &Registries) -> Result<Option<Found>, CliError> {
    let Some(place) = stored_place(&args.image)? else {
        return Ok(None);
    };
    let reference = match open_stored(place, &args.open, registries) {
        Ok(source) => return Ok(Some(Found::Image(source))),
        Err(StoredError::Registry(RegistryError::NoSuchPlatform {
            reference,
            wanted: None,
            ..
        })) => reference,
        Err(error) => return Err(error.into()),
    };
    let index = read_index(&registries.client(None)?, &reference)
        .map_err(|error| registries.error(&error, &reference))?;
    Ok(index.map(|index| Found::Index(Box::new(index))))
}

/// The plan, or what would be planned.
fn plan(args: &Args, registries: &Registries) -> Result<Plan, CliError> {
    let mut options = ImageOptions::default();
    options.config.platform.clone_from(&args.open.platform);
    image::plan(&Request {
        image: &args.image,
        options: &options,
        name: None,
        default_compression: Compression::default(),
        registries,
        store: &args.store,
    })
}

fn inspect(image: &StoredImage) -> Inspected<'_> {
    let histories = layer_histories(image);
    let layers = image
        .manifest
        .layers
        .iter()
        .enumerate()
        .map(|(idx, descriptor)| {
            let history = histories.get(idx).copied();
            InspectedLayer {
                digest: descriptor.digest.to_string(),
                diff_id: image
                    .config
                    .rootfs
                    .diff_ids
                    .get(idx)
                    .map(ToString::to_string),
                key: descriptor
                    .annotations
                    .get(ANNOTATION_LAYER_KEY)
                    .map(String::as_str),
                media_type: descriptor.media_type.as_str(),
                size_bytes: descriptor.size_bytes,
                store_paths: history.and_then(store_paths_of_history),
                comment: history.and_then(|history| {
                    history.comment.as_deref().or(history.created_by.as_deref())
                }),
            }
        })
        .collect();
    Inspected {
        digest: image.manifest_descriptor.digest.to_string(),
        platform: &image.config.platform,
        created: image.config.created.as_deref(),
        config: image.config.config.as_ref(),
        annotations: &image.manifest.annotations,
        layers,
    }
}

/// The history entries that stand for a layer, bottom first.
pub(crate) fn layer_histories(image: &StoredImage) -> Vec<&History> {
    image
        .config
        .history
        .iter()
        .filter(|history| !history.empty_layer)
        .collect()
}

fn json(inspected: &Inspected<'_>) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(inspected)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    Ok(text + "\n")
}

fn describe(inspected: &Inspected<'_>, contents: &ImageContents) -> String {
    let rows: Vec<Vec<String>> = inspected
        .layers
        .iter()
        .zip(&contents.layers)
        .enumerate()
        .map(|(idx, (layer, outline))| {
            let contents = match (&layer.store_paths, &outline.holds) {
                (Some(paths), _) => paths.join(" "),
                (None, LayerHolds::RootFiles(names)) if !names.is_empty() => root_title(names),
                (None, _) => layer.comment.unwrap_or_default().to_owned(),
            };
            vec![
                (idx + 1).to_string(),
                text::size(layer.size_bytes),
                text::short(&layer.digest).to_owned(),
                layer.diff_id.as_deref().map_or("", text::short).to_owned(),
                shorten(&text::printable(&contents)),
            ]
        })
        .collect();
    let total = inspected
        .layers
        .iter()
        .map(|layer| layer.size_bytes)
        .fold(0, u64::saturating_add);
    let mut fields = vec![
        ("digest", vec![inspected.digest.clone()]),
        ("platform", vec![inspected.platform.to_string()]),
        (
            "created",
            vec![text::printable(inspected.created.unwrap_or("not said"))],
        ),
    ];
    let config = inspected.config.map(config::describe).unwrap_or_default();
    let is_run = |name: &str| matches!(name, "entrypoint" | "command");
    if !config
        .iter()
        .any(|(name, lines)| is_run(name) && !lines.is_empty())
    {
        fields.push(("command", vec!["none".to_owned()]));
    }
    fields.extend(config);
    format!(
        "{}\n{}\n{}, {}\n",
        columns(&fields),
        text::table(
            &["layer", "size", "digest", "diff ID", "contents"],
            &[0, 1],
            &rows
        ),
        text::count(inspected.layers.len(), "layer"),
        text::size(total),
    )
}

/// A line for each line of a field, the name in front of the first.
fn columns(fields: &[(&str, Vec<String>)]) -> String {
    let shown = || fields.iter().filter(|(_, lines)| !lines.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, lines) in shown() {
        for (idx, line) in lines.iter().enumerate() {
            let name = if idx == 0 { name } else { "" };
            let _ = writeln!(text, "{name:width$}  {line}");
        }
    }
    text
}

/// What a layer has outside the store; `/nix/store/…-bash/` stands for links into that path.
fn root_title(names: &[String]) -> String {
    const NAMED: usize = 3;
    let content = |name: &str| {
        let path = name.strip_prefix('/')?.strip_suffix('/')?;
        let base_name = path.rsplit('/').next()?;
        let name = StorePath::new(base_name).map(|path| path.name().to_owned());
        Some(name.unwrap_or_else(|_| base_name.to_owned()))
    };
    let contents: Vec<String> = names.iter().filter_map(|name| content(name)).collect();
    let files: Vec<&String> = names
        .iter()
        .filter(|name| content(name).is_none())
        .collect();
    let mut parts = Vec::new();
    if !files.is_empty() {
        let first: Vec<&str> = files.iter().take(NAMED).map(|file| file.as_str()).collect();
        let more = match files.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let count = text::count(files.len(), "root file");
        parts.push(format!("{count}: {}{more}", first.join(", ")));
    }
    if !contents.is_empty() {
        parts.push(format!("links into {}", contents.join(", ")));
    }
    parts.join("; ")
}

/// A line of a table holds so much of a layer's contents; `--json` has all of it.
fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    text.chars()
        .take(MAX_CHARS - 2)
        .chain(" …".chars())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_outside_the_store_is_a_sentence() {
        let store = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz";
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let linked = [
            format!("{store}-bash-5.2/"),
            format!("{store}-coreutils-9.5/"),
        ];
        let linked = linked.each_ref().map(String::as_str);
        assert_eq!(
            root_title(&names(&linked)),
            "links into bash-5.2, coreutils-9.5"
        );
        let files = ["etc/group", "etc/passwd", "home/app", "tmp"];
        assert_eq!(
            root_title(&names(&[&files[..], &linked].concat())),
            "4 root files: etc/group, etc/passwd, home/app and 1 more; links into bash-5.2, coreutils-9.5"
        );
        assert_eq!(root_title(&names(&files[..1])), "1 root file: etc/group");
    }
}
