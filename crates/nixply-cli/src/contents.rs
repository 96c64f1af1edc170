//! What is known of any `IMAGE`, without reading a layer: its layers and, where somebody has them, the references.

use crate::error::{CliError, ExitStatus};
use crate::image::{self, Request};
use crate::input::{Input, closure_paths, read_input, read_input_closure};
use crate::nix;
use crate::options::{ConfigOptions, ImageOptions, PlanOptions, StoreOptions};
use crate::registries::Registries;
use crate::stored::{OpenArgs, open, source_error};
use crate::text;
use nixply_image::{ImageContents, LayerHolds, Plan};
use nixply_layer::{Compression, read_store_paths};
use nixply_oci::{ImageSource, MediaType};
use nixply_store::{Closure, StorePath};
use std::collections::BTreeSet;
use std::path::Path;

/// An image as `diff` and `explain` take it.
#[derive(Debug)]
pub(crate) struct Known {
    /// Its layers.
    pub(crate) contents: ImageContents,
    /// The plan, where there is one.
    pub(crate) plan: Option<Plan>,
    /// The closure that was planned, where there was one.
    pub(crate) closure: Option<Closure>,
    /// The compression that a plan beside it should be compared under.
    pub(crate) compression: Option<Compression>,
    /// True where it was planned here, so that the plan options counted.
    pub(crate) is_planned_here: bool,
}

/// How `diff` and `explain` take an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) open: &'a OpenArgs,
    pub(crate) registries: &'a Registries,
    /// For what is planned here; a plan and an image are as they are.
    pub(crate) plan: &'a PlanOptions,
    pub(crate) store: &'a StoreOptions,
    pub(crate) read_layers: bool,
}

/// Opens an image or plans one. `default_compression` is for what is planned here.
pub(crate) fn read(
    image: &str,
    reading: Reading<'_>,
    default_compression: Compression,
) -> Result<Known, CliError> {
    let args = reading.open;
    if let Some(source) = open(image, args, reading.registries)? {
        let mut contents = ImageContents::of_stored(source.image());
        if reading.read_layers {
            read_unnamed(&*source, &mut contents)?;
        }
        return Ok(Known {
            contents,
            plan: None,
            closure: None,
            compression: compression_of(&*source),
            is_planned_here: false,
        });
    }
    let input = read_input(image)?;
    let is_planned_here = !matches!(input, Input::Plan(_) | Input::Decided(_));
    let options = ImageOptions {
        plan: if is_planned_here {
            reading.plan.clone()
        } else {
            PlanOptions::default()
        },
        config: ConfigOptions {
            platform: args.platform.clone(),
            ..ConfigOptions::default()
        },
    };
    let request = Request {
        image,
        options: &options,
        name: None,
        default_compression,
        registries: reading.registries,
        store: reading.store,
    };
    let (plan, closure) = image::plan_input(input, &request)?;
    let contents = ImageContents::of_plan(&plan)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    Ok(Known {
        contents,
        compression: Some(plan.compression),
        plan: Some(plan),
        closure,
        is_planned_here,
    })
}

/// Refuses plan options where nothing was planned that they could count for.
pub(crate) fn check_options(
    options: &PlanOptions,
    read: &[(&str, &Known)],
) -> Result<(), CliError> {
    let compression = options.compression.map(|_| "--compression");
    let Some(option) = options.deciding().or(compression) else {
        return Ok(());
    };
    if read.iter().any(|(_, known)| known.is_planned_here) {
        return Ok(());
    }
    let whats: Vec<String> = read
        .iter()
        .map(|(image, known)| {
            let what = match known.plan {
                Some(_) => "a plan",
                None => "an image that exists already",
            };
            format!("`{image}` is {what}")
        })
        .collect();
    Err(CliError::new(
        ExitStatus::Usage,
        format!("{option} has no meaning here: {}", whats.join(", ")),
    )
    .hint(
        "plan options are for what is planned here: a closure, a specification or an installable",
    ))
}

/// The default level of the kind that an image's layers are compressed with; the level itself is not recorded.
fn compression_of(source: &dyn ImageSource) -> Option<Compression> {
    let kind = match source.image().manifest.layers.first()?.media_type {
        MediaType::OciLayerTarZstd => "zstd",
        MediaType::OciLayerTar | MediaType::DockerLayerTar => "none",
        MediaType::OciLayerTarGzip | MediaType::DockerLayerTarGzip => "gzip",
        _ => return None,
    };
    kind.parse().ok()
}

/// Reads every layer that does not say what it holds, for the names of the store paths in it.
fn read_unnamed(source: &dyn ImageSource, contents: &mut ImageContents) -> Result<(), CliError> {
    for idx in 0..contents.layers.len() {
        if !matches!(contents.layers[idx].holds, LayerHolds::Unknown(_)) {
            continue;
        }
        let media_type = &source.image().manifest.layers[idx].media_type;
        let mut layer = source
            .open_layer(idx)
            .map_err(|error| source_error(idx, &error))?;
        let found = read_store_paths(&mut layer, media_type, &contents.store_dir)
            .map_err(|error| source_error(idx, &error))?;
        contents.set_found(idx, found);
    }
    Ok(())
}

/// The references of an image's store paths, or why they are not known.
#[derive(Debug)]
pub(crate) enum References {
    Known(Closure),
    /// Why not, in words that go on a sentence.
    Unknown(String),
}

impl References {
    pub(crate) fn closure(&self) -> Option<&Closure> {
        match self {
            Self::Known(closure) => Some(closure),
            Self::Unknown(_) => None,
        }
    }

    pub(crate) fn why_unknown(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why),
        }
    }
}

/// Takes the references from the closure that was planned, else from the one that `--closure` names, where it does, else from
/// Nix on this machine where it has all the paths.
pub(crate) fn references(
    image: &str,
    known: &mut Known,
    closure: Option<&str>,
) -> Result<References, CliError> {
    if let Some(closure_of_image) = known.closure.take() {
        if closure.is_some() {
            text::warning(&format!(
                "--closure is left out: `{image}` has references of its own"
            ));
        }
        return Ok(References::Known(closure_of_image));
    }
    if let Some(given) = closure {
        return match read_input_closure(given)? {
            Some(closure) => Ok(check_closure(image, known, given, closure)),
            None => Err(CliError::new(
                ExitStatus::Input,
                format!("--closure: `{given}` is no closure, so it has no references"),
            )),
        };
    }
    let contents = &known.contents;
    let paths = closure_paths(contents);
    if paths.is_empty() {
        return Ok(References::Unknown(
            "the image names no store paths".to_owned(),
        ));
    }
    // Asking costs a process; a path that is not there is not valid either.
    let absent = |path: &String| Path::new(path).symlink_metadata().is_err();
    if paths.iter().any(absent) {
        return Ok(References::Unknown(
            "its store paths are not on this machine".to_owned(),
        ));
    }
    match nix::closure_of(&paths) {
        Ok(closure) => Ok(References::Known(closure)),
        Err(_) => Ok(References::Unknown(
            "Nix on this machine does not know its store paths".to_owned(),
        )),
    }
}

/// A closure without all paths of the image is the closure of something else, of an earlier version most likely. What it lacks
/// would count as without references, and every package that was built again as a cause.
fn check_closure(image: &str, known: &Known, given: &str, closure: Closure) -> References {
    let contents = &known.contents;
    let paths: BTreeSet<&StorePath> = contents.paths().map(|held| &held.path).collect();
    let lacking: Vec<&StorePath> = paths
        .iter()
        .copied()
        .filter(|path| closure.find(path).is_none())
        .collect();
    let Some(first) = lacking.first() else {
        return References::Known(closure);
    };
    text::warning(&format!(
        "--closure: `{given}` is not the closure of `{image}`: it lacks {} of {}, {} for one; going on without references",
        lacking.len(),
        text::count(paths.len(), "store path"),
        contents.store_dir.display(first),
    ));
    References::Unknown(format!("`{given}` lacks some of its store paths"))
}
