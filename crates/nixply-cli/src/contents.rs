//! What is known of any `IMAGE`, without reading a layer: its layers and, where somebody has them, the references.

use crate::error::{CliError, ExitStatus};
use crate::image::{self, Request};
use crate::input::{Input, read_input};
use crate::nix;
use crate::options::ImageOptions;
use crate::stored::{OpenArgs, open, source_error};
use nixply_image::{ImageContents, LayerHolds, Plan};
use nixply_layer::{Compression, read_store_paths};
use nixply_oci::{ImageSource, MediaType};
use nixply_store::Closure;
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
}

/// Opens an image or plans one. `default_compression` is for what is planned here.
pub(crate) fn read(
    image: &str,
    args: &OpenArgs,
    default_compression: Compression,
    read_layers: bool,
) -> Result<Known, CliError> {
    if let Some(source) = open(image, args)? {
        let mut contents = ImageContents::of_stored(source.image());
        if read_layers {
            read_unnamed(&*source, &mut contents)?;
        }
        return Ok(Known {
            contents,
            plan: None,
            closure: None,
            compression: compression_of(&*source),
        });
    }
    let mut options = ImageOptions::default();
    options.config.platform.clone_from(&args.platform);
    let (plan, closure) = image::plan_with_closure(&Request {
        image,
        options: &options,
        name: None,
        default_compression,
        insecure: args.insecure,
    })?;
    let contents = ImageContents::of_plan(&plan)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    Ok(Known {
        contents,
        compression: Some(plan.compression),
        plan: Some(plan),
        closure,
    })
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

/// Takes the references from the closure that `--closure` names, where it does, else from the closure that was planned, else from Nix
/// on this machine where it has all the paths.
pub(crate) fn references(known: &mut Known, closure: Option<&str>) -> Result<References, CliError> {
    if let Some(given) = closure {
        return match read_input(given)? {
            Input::Closure(closure) => Ok(References::Known(closure)),
            Input::Plan(_) | Input::Spec(..) => Err(CliError::new(
                ExitStatus::Input,
                format!("--closure: `{given}` is no closure, so it has no references"),
            )),
        };
    }
    if let Some(closure) = known.closure.take() {
        return Ok(References::Known(closure));
    }
    let contents = &known.contents;
    let paths: Vec<String> = if contents.roots.is_empty() {
        contents
            .paths()
            .map(|held| contents.store_dir.display(&held.path))
            .collect()
    } else {
        let roots = contents.roots.iter();
        roots.map(|root| contents.store_dir.display(root)).collect()
    };
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
