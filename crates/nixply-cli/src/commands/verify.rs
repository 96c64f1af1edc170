//! `nixply verify`: is an image what the store makes?

use super::inspect::layer_histories;
use crate::error::{CliError, ExitStatus, output};
use crate::image::{self, Request};
use crate::options::{ImageOptions, StoreOptions};
use crate::registries::{Registries, RegistryOptions};
use crate::stored::{OpenArgs, open, source_error};
use crate::text;
use nixply_image::{
    ManifestFormat, Plan, PlannedLayer, PlannedPermissions, entry_permissions, finish,
    permissions_of_history, store_paths_of_history,
};
use nixply_layer::{
    CompareError, Compression, Difference, DifferenceKind, DockerToolsHeader, LayerContents,
    LayerFormat, LayerSpec, StorePathContent, StoreRoot, compare_layer, read_diff_id, write_layer,
};
use nixply_oci::{DiffId, ImageSource, LayerRecord, MediaType, StoredImage};
use nixply_store::{NarHash, StoreDir};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

/// Makes every layer of an image again from the store and compares it with the image's
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A `docker://REF`, an OCI layout or an archive
    image: String,
    /// Compare with this plan, config and root files included; without it, layers are compared with the store paths that
    /// the image's history names
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Print what was found as JSON
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
struct Verification {
    digest: String,
    verified: bool,
    layers: Vec<VerifiedLayer>,
    /// How the config differs from the plan's, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<String>,
}

#[derive(Debug, Serialize)]
struct VerifiedLayer {
    /// Counted from the bottom, from 1.
    layer: usize,
    diff_id: String,
    /// What the layer was compared with.
    compared_with: ComparedWith,
    /// The first entry that differs and how, where one does.
    difference: Option<String>,
}

impl VerifiedLayer {
    fn is_as_made(&self) -> bool {
        self.difference.is_none() && self.compared_with != ComparedWith::DigestOnly
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum ComparedWith {
    /// The layer was made again from the store.
    Store,
    /// It is a finished layer of the base image, and the one that the plan names.
    Plan,
    /// Nobody says what it was made from; its digest and diff ID were checked.
    DigestOnly,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let registries = args
        .registry
        .registries(&[&args.image, args.plan.as_deref().unwrap_or_default()])?;
    let source = open(&args.image, &args.open, &registries)?.ok_or_else(|| {
        if let Err(error) = std::fs::metadata(&args.image) {
            return CliError::context(
                ExitStatus::Failed,
                format!("cannot open `{}`", args.image),
                &error,
            )
            .hint("an image in a registry is written `docker://HOST/REPOSITORY:TAG`");
        }
        CliError::new(ExitStatus::Input, format!("`{}` is no image", args.image))
            .hint("expected docker://REF, an OCI layout directory or an archive")
    })?;
    let plan = (args.plan.as_deref())
        .map(|plan| read_plan(plan, &registries, &args.store))
        .transpose()?;
    let said = match &plan {
        Some(plan) => plan_specs(plan, source.image())?,
        None => history_specs(source.image()),
    };
    let mut layers = Vec::with_capacity(said.len());
    for (idx, said) in said.into_iter().enumerate() {
        layers.push(verify_layer(&*source, idx, &said, &args.store)?);
    }
    let config = match &plan {
        Some(plan) => config_difference(plan, source.image())?,
        None => None,
    };
    let verified = Verification {
        digest: source.image().manifest_descriptor.digest.to_string(),
        verified: layers.iter().all(VerifiedLayer::is_as_made) && config.is_none(),
        layers,
        config,
    };
    let text = if args.json {
        serde_json::to_string_pretty(&verified)
            .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?
            + "\n"
    } else {
        describe(&verified)
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))?;
    verdict(&verified)
}

/// What is not compared is not verified.
fn verdict(verified: &Verification) -> Result<(), CliError> {
    let failed = |message| Err(CliError::new(ExitStatus::Verification, message));
    let n_layers = verified.layers.len();
    if let Some(layer) = verified
        .layers
        .iter()
        .find(|layer| layer.difference.is_some())
    {
        return failed(format!(
            "layer {} of {n_layers} is not what the store makes: {}",
            layer.layer,
            layer.difference.as_deref().unwrap_or_default()
        ));
    }
    if let Some(difference) = &verified.config {
        return failed(format!("the config is not the plan's: {difference}"));
    }
    let compared = verified
        .layers
        .iter()
        .filter(|layer| layer.is_as_made())
        .count();
    if compared < n_layers {
        let message = format!(
            "compared {compared} of {n_layers} layers: nothing says what the others were made from"
        );
        return failed(message).map_err(|error| error.hint("name the image's plan with --plan"));
    }
    Ok(())
}

/// The layers are equal: what else does the config say that the plan does not?
fn config_difference(plan: &Plan, image: &StoredImage) -> Result<Option<String>, CliError> {
    let records: Vec<LayerRecord> = image
        .manifest
        .layers
        .iter()
        .zip(&image.config.rootfs.diff_ids)
        .map(|(descriptor, diff_id)| LayerRecord {
            diff_id: *diff_id,
            digest: descriptor.digest.into(),
            size_bytes: descriptor.size_bytes,
            media_type: descriptor.media_type.clone(),
        })
        .collect();
    let format = match image.manifest_descriptor.media_type {
        MediaType::DockerManifest => ManifestFormat::Docker,
        _ => ManifestFormat::Oci,
    };
    let finished = finish(plan, &records, format)
        .map_err(|error| CliError::from_error(ExitStatus::Verification, &error))?;
    let (expected, found) = (
        finished.config_descriptor.digest,
        image.manifest.config.digest,
    );
    Ok((expected != found).then(|| format!("expected {expected}, found {found}")))
}

/// A plan, or what is planned by an image specification or a closure without further options.
fn read_plan(text: &str, registries: &Registries, store: &StoreOptions) -> Result<Plan, CliError> {
    image::plan(&Request {
        image: text,
        options: &ImageOptions::default(),
        name: None,
        default_compression: Compression::default(),
        registries,
        store,
    })
}

/// What is said of a layer.
#[derive(Debug, Default)]
struct Said {
    /// The ways in which it may have been made; none where nobody says.
    candidates: Vec<LayerSpec>,
    /// The hash of its tar, where it is a finished layer of a base image.
    base: Option<DiffId>,
}

fn plan_specs(plan: &Plan, image: &StoredImage) -> Result<Vec<Said>, CliError> {
    let specs = plan
        .layer_specs()
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    let found = image.manifest.layers.len();
    if specs.len() != found {
        return Err(CliError::new(
            ExitStatus::Verification,
            format!("the image has {found} layers, the plan {}", specs.len()),
        ));
    }
    let said = specs
        .into_iter()
        .zip(&plan.layers)
        .map(|(spec, layer)| Said {
            candidates: spec.into_iter().collect(),
            base: match layer {
                PlannedLayer::Base(base) => Some(base.diff_id),
                _ => None,
            },
        });
    Ok(said.collect())
}

/// What the history says of each layer. It does not tell the format, so both are tried.
fn history_specs(image: &StoredImage) -> Vec<Said> {
    let histories = layer_histories(image);
    (0..image.manifest.layers.len())
        .map(|idx| {
            let contents = histories
                .get(idx)
                .and_then(|history| store_paths_of_history(history))
                .and_then(|paths| store_contents(&paths, &permissions_of_history(histories[idx])));
            let Some(contents) = contents else {
                return Said::default();
            };
            let candidates = [
                LayerFormat::Nixply,
                LayerFormat::DockerTools(DockerToolsHeader::default()),
            ]
            .into_iter()
            .map(|format| LayerSpec {
                contents: contents.clone(),
                format,
                compression: Compression::None,
            });
            Said {
                candidates: candidates.collect(),
                base: None,
            }
        })
        .collect()
}

/// The entries of store paths that have an owner or a mode of their own, by store path.
type Permissions = BTreeMap<String, Vec<PlannedPermissions>>;

fn store_contents(paths: &[String], permissions: &Permissions) -> Option<LayerContents> {
    let store_dir = StoreDir::new(paths.first()?.rsplit_once('/')?.0).ok()?;
    let paths = paths
        .iter()
        .map(|path| {
            Some(StorePathContent {
                path: store_dir.parse(path).ok()?,
                // Only a layer's key depends on the hash, and no key is computed here.
                nar_hash: NarHash::from_bytes([0; 32]),
                nar_size_bytes: 0,
                permissions: entry_permissions(permissions.get(path).map_or(&[], Vec::as_slice))?,
            })
        })
        .collect::<Option<_>>()?;
    Some(LayerContents::Store { store_dir, paths })
}

fn verify_layer(
    source: &dyn ImageSource,
    idx: usize,
    said: &Said,
    store: &StoreOptions,
) -> Result<VerifiedLayer, CliError> {
    let mut first = None;
    for spec in &said.candidates {
        match compare(source, idx, spec, store)? {
            None => {
                let made = made_diff_id(spec, store)?;
                return Ok(verified(
                    source,
                    idx,
                    ComparedWith::Store,
                    wrong_diff_id(source, idx, made),
                ));
            }
            Some(difference) => first = first.or(Some(difference)),
        }
    }
    if let Some(difference) = first {
        return Ok(verified(
            source,
            idx,
            ComparedWith::Store,
            Some(explain(&difference)),
        ));
    }
    let mut stored = open_layer(source, idx)?;
    let media_type = &source.image().manifest.layers[idx].media_type;
    let found = read_diff_id(&mut stored, media_type).map_err(|error| source_error(idx, &error))?;
    let (compared_with, other) = match said.base {
        Some(named) if named == found => (ComparedWith::Plan, None),
        Some(named) => {
            let other = format!("the plan names diff ID {named}, the layer has {found}");
            (ComparedWith::Plan, Some(other))
        }
        None => (ComparedWith::DigestOnly, None),
    };
    let difference = other.or_else(|| wrong_diff_id(source, idx, found));
    Ok(verified(source, idx, compared_with, difference))
}

/// What the config says of a layer, where that is not what the layer is.
fn wrong_diff_id(source: &dyn ImageSource, idx: usize, found: DiffId) -> Option<String> {
    match source.image().config.rootfs.diff_ids.get(idx) {
        Some(named) if *named == found => None,
        Some(named) => Some(format!(
            "the config names diff ID {named}, the layer has {found}"
        )),
        None => Some(format!(
            "the config names no diff ID, the layer has {found}"
        )),
    }
}

fn made_diff_id(spec: &LayerSpec, store: &StoreOptions) -> Result<DiffId, CliError> {
    let spec = LayerSpec {
        compression: Compression::None,
        ..spec.clone()
    };
    write_layer(
        &spec,
        &store_root(&spec, store),
        &image::pool(1)?,
        &mut std::io::sink(),
    )
    .map(|record| record.diff_id)
    .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))
}

/// Makes the layer again beside the stored one.
fn compare(
    source: &dyn ImageSource,
    idx: usize,
    spec: &LayerSpec,
    store: &StoreOptions,
) -> Result<Option<Difference>, CliError> {
    let mut stored = open_layer(source, idx)?;
    let media_type = &source.image().manifest.layers[idx].media_type;
    compare_layer(spec, &store_root(spec, store), &mut stored, media_type).map_err(|error| {
        // What cannot be read of the image is the image's fault; what cannot be made is not.
        match error {
            CompareError::Make(_) => CliError::from_error(ExitStatus::Failed, &error),
            _ => source_error(idx, &error),
        }
    })
}

fn store_root(spec: &LayerSpec, store: &StoreOptions) -> StoreRoot {
    store.root(match &spec.contents {
        LayerContents::Store { store_dir, .. } => store_dir.clone(),
        LayerContents::Root { .. } | LayerContents::Tar(_) | LayerContents::Nix2container(_) => {
            StoreDir::default()
        }
    })
}

fn open_layer(
    source: &dyn ImageSource,
    idx: usize,
) -> Result<Box<dyn std::io::Read + '_>, CliError> {
    source
        .open_layer(idx)
        .map_err(|error| source_error(idx, &error))
}

fn verified(
    source: &dyn ImageSource,
    idx: usize,
    compared_with: ComparedWith,
    difference: Option<String>,
) -> VerifiedLayer {
    let named = source.image().config.rootfs.diff_ids.get(idx);
    VerifiedLayer {
        layer: idx + 1,
        diff_id: named.map(ToString::to_string).unwrap_or_default(),
        compared_with,
        difference,
    }
}

fn explain(difference: &Difference) -> String {
    let what = match &difference.kind {
        DifferenceKind::Header {
            field,
            expected,
            found,
        } => {
            format!("{field}: expected {expected}, found {found}")
        }
        DifferenceKind::Contents { offset_bytes } => {
            format!("its contents differ from byte {offset_bytes} on")
        }
        DifferenceKind::Missing => "it is missing in the image".to_owned(),
        DifferenceKind::Extra => "it is in the image and not in the store".to_owned(),
        DifferenceKind::Truncated => "the image's layer ends within it".to_owned(),
        DifferenceKind::Padding => "what follows it differs".to_owned(),
        other => format!("{other:?}"),
    };
    if difference.entry.is_empty() {
        format!("end of the layer: {what}")
    } else {
        format!("`{}`: {what}", difference.entry)
    }
}

fn describe(verified: &Verification) -> String {
    let mut text = format!("digest  {}\n", verified.digest);
    for layer in &verified.layers {
        let what = match (&layer.difference, layer.compared_with) {
            (Some(difference), _) => format!("differs: {difference}"),
            (None, ComparedWith::Store) => "as the store makes it".to_owned(),
            (None, ComparedWith::Plan) => "a layer of the base image, as planned".to_owned(),
            (None, ComparedWith::DigestOnly) => {
                "digest and diff ID are right; nothing says what it was made from".to_owned()
            }
        };
        let _ = writeln!(
            text,
            "layer {} ({}): {what}",
            layer.layer,
            text::short(&layer.diff_id)
        );
    }
    if verified.verified {
        let _ = writeln!(
            text,
            "verified {}",
            text::count(verified.layers.len(), "layer")
        );
    }
    text
}
