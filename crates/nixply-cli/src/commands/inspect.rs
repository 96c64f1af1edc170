//! `nixply inspect`: what an image or a plan holds.

use super::plan::describe as describe_plan;
use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::options::{ImageOptions, StoreOptions};
use crate::registries::{Registries, RegistryOptions};
use crate::stored::{OpenArgs, open};
use crate::text;
use nixply_image::{Plan, store_paths_of_history};
use nixply_layer::Compression;
use nixply_oci::{ANNOTATION_LAYER_KEY, History, Platform, RuntimeConfig, StoredImage};
use serde::Serialize;
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
    let text = if let Some(source) = open(&args.image, &args.open, &registries)? {
        let inspected = inspect(source.image());
        if args.json {
            json(&inspected)?
        } else {
            describe(&inspected)
        }
    } else {
        let plan = plan(args, &registries)?;
        if args.json {
            plan.to_json()
                .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?
        } else {
            describe_plan(&plan)
        }
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))
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

fn describe(inspected: &Inspected<'_>) -> String {
    let rows: Vec<Vec<String>> = inspected
        .layers
        .iter()
        .enumerate()
        .map(|(idx, layer)| {
            let contents = match &layer.store_paths {
                Some(paths) => paths.join(" "),
                None => layer.comment.unwrap_or_default().to_owned(),
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
    let command = inspected
        .config
        .map(|config| {
            let words = config.entrypoint.iter().chain(&config.cmd).flatten();
            words.map(String::as_str).collect::<Vec<_>>().join(" ")
        })
        .unwrap_or_default();
    format!(
        "digest    {}\nplatform  {}\ncreated   {}\ncommand   {}\n\n{}\n{}, {}\n",
        inspected.digest,
        inspected.platform,
        text::printable(inspected.created.unwrap_or("not said")),
        if command.is_empty() {
            "none".to_owned()
        } else {
            text::printable(&command)
        },
        text::table(
            &["layer", "size", "digest", "diff ID", "contents"],
            &[0, 1],
            &rows
        ),
        text::count(inspected.layers.len(), "layer"),
        text::size(total),
    )
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
