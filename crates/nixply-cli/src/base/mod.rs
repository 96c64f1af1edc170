//! Base images: what `--base` and a specification's `base` name, read as far as planning needs it.

mod kept_trees;
mod layers;
mod tree;

pub(crate) use kept_trees::forget_trees;
pub(crate) use layers::BaseLayers;
pub(crate) use tree::read_tree;

use crate::document::Document;
use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::image::this_platform;
use crate::input::{StoredPlace, read_file, stored_place};
use crate::registries::Registries;
use crate::stored::{StoredError, layout_open_error, parse_reference};
use crate::text;
use nixply_image::{
    BaseDatabase, BaseError, BaseImage, BaseLock, BaseSpec, BaseTree, LayerFormatRecord, Plan,
};
use nixply_layer::{Compression, StoreRoot};
use nixply_layout::{ImageForm, LayoutError, OpenOptions, OpenedImage, open_image};
use nixply_oci::{ImageReference, ImageSource as _, LayerPlace, Platform};
use nixply_registry::{RegistryError, RegistryImage};
use std::path::Path;

/// What reading a base depends on.
#[derive(Debug)]
pub(crate) struct BaseRequest<'a> {
    /// The platform that was asked for; else that of the base, and of several bases that of this machine.
    pub(crate) platform: Option<&'a Platform>,
    /// How layers are compressed that the base has uncompressed.
    pub(crate) compression: Compression,
    /// How the image's own layers are written.
    pub(crate) layer_format: LayerFormatRecord,
    /// Whether root files or Nix's database are to stand above the base, so that what it holds has to be known.
    pub(crate) needs_tree: bool,
    /// Where the store is, which layers of a plan are read from.
    pub(crate) store: &'a StoreRoot,
    /// Where it may be.
    pub(crate) registries: &'a Registries,
}

/// Reads the base of a specification; `directory` is what its path is relative to.
pub(crate) fn read_spec(
    spec: &BaseSpec,
    directory: &Path,
    request: &BaseRequest<'_>,
) -> Result<BaseImage, CliError> {
    match spec {
        BaseSpec::Lock(lock) => of_lock(lock, "the base"),
        BaseSpec::Place(place) if place.starts_with("docker://") => read(place, request),
        BaseSpec::Place(place) => read(&directory.join(place).to_string_lossy(), request),
    }
}

/// Reads a base: `docker://REF`, or a file that is a lock, a plan, a layout or an archive.
pub(crate) fn read(place: &str, request: &BaseRequest<'_>) -> Result<BaseImage, CliError> {
    match stored_place(place)? {
        Some(StoredPlace::Registry(reference)) => {
            let reference = parse_reference(&reference)?;
            return from_registry(&reference, request);
        }
        Some(StoredPlace::Disk(path)) => return from_disk(&path, request),
        None => {}
    }
    let path = Path::new(place);
    if path.is_dir() {
        let message = format!("`{place}` is a directory that is no OCI layout");
        return Err(CliError::new(ExitStatus::Input, message));
    }
    let bytes = read_file(path)?;
    if BaseLock::is_lock(&bytes) {
        let lock = BaseLock::from_json(&bytes).map_err(|error| unusable(place, &error))?;
        return of_lock(&lock, place);
    }
    if Plan::is_plan(&bytes) {
        let plan = Plan::from_json(&bytes).map_err(|error| unusable(place, &error))?;
        // What is known of the layers below a plan is lost for all that is built on this image unless its own are read.
        let is_known = (plan.base.as_ref()).is_some_and(|base| base.tree.is_some());
        let store = (request.needs_tree || is_known).then_some(request.store);
        return BaseImage::of_plan(plan, request.compression, &request.layer_format, store)
            .map_err(|error| unusable(place, &error));
    }
    let failed = CliError::new(ExitStatus::Input, format!("`{place}` is no base image")).hint(
        "a base is `docker://REF`, a lock of `nixply base lock`, a plan, an OCI layout or an archive",
    );
    Err(match Document::of(&bytes) {
        Some(other) => other.instead_of("a base image", failed),
        None => failed,
    })
}

fn of_lock(lock: &BaseLock, name: &str) -> Result<BaseImage, CliError> {
    lock.image().map_err(|error| unusable(name, &error))
}

fn from_disk(path: &Path, request: &BaseRequest<'_>) -> Result<BaseImage, CliError> {
    // A plan names the store path, not the link to it.
    let path = path.canonicalize().map_err(|error| {
        let message = format!("cannot read `{}`", path.display());
        CliError::context(ExitStatus::Failed, message, &error)
    })?;
    let opened = open_one(&path, request.platform)?;
    let tree = read_tree(&opened)?;
    let image = opened.reference().to_string();
    let place = |layer| LayerPlace::Disk {
        path: path.clone(),
        image: image.clone(),
        layer,
    };
    let base = BaseImage::of_stored(opened.image(), Some(tree), Some(request.compression), place)
        .map_err(|error| unusable(&path.display().to_string(), &error))?;
    Ok(BaseImage {
        // A docker archive has no manifest; what stands for one here has a digest that nobody knows.
        digest: base
            .digest
            .filter(|_| opened.form() == ImageForm::OciLayout),
        ..base
    })
}

/// Opens the only image, or the one for a platform: of several, where nobody asks for one, that of this machine.
fn open_one(path: &Path, platform: Option<&Platform>) -> Result<OpenedImage, CliError> {
    let spool_dir = environment::temporary_dir();
    let open = |platform: Option<&Platform>| {
        let options = OpenOptions {
            platform,
            reference: None,
            spool_dir: &spool_dir,
        };
        open_image(path, &options)
    };
    let opened = match open(platform) {
        Err(LayoutError::Ambiguous { .. }) if platform.is_none() => open(Some(&this_platform())),
        opened => opened,
    };
    opened.map_err(|error| layout_open_error(&error))
}

fn from_registry(
    reference: &ImageReference,
    request: &BaseRequest<'_>,
) -> Result<BaseImage, CliError> {
    let opened = open_in_registry(reference, request.platform, request.registries)?;
    let by_digest = reference.with_digest(opened.image().manifest_descriptor.digest);
    let tree = if request.needs_tree {
        Some(known_tree(reference, &opened)?)
    } else {
        None
    };
    let place = |_| LayerPlace::Registry {
        registry: by_digest.to_string(),
    };
    let base = BaseImage::of_stored(opened.image(), tree, None, place)
        .map_err(|error| unusable(&reference.to_string(), &error))?;
    Ok(BaseImage {
        name: Some(reference.to_string()),
        ..base
    })
}

/// Opens an image in a registry; of several, where nobody asks for one, that of this machine.
pub(crate) fn open_in_registry(
    reference: &ImageReference,
    platform: Option<&Platform>,
    registries: &Registries,
) -> Result<RegistryImage, CliError> {
    let opened = match registries.open(reference, platform) {
        Err(StoredError::Registry(RegistryError::NoSuchPlatform { .. })) if platform.is_none() => {
            registries.open(reference, Some(&this_platform()))
        }
        opened => opened,
    };
    opened.map_err(CliError::from)
}

/// What the layers of an image in a registry hold: from an earlier look, or by reading all of them once.
fn known_tree(reference: &ImageReference, opened: &RegistryImage) -> Result<BaseTree, CliError> {
    let digest = opened.image().manifest_descriptor.digest;
    if let Some(tree) = kept_trees::kept_tree(digest) {
        return Ok(tree);
    }
    let bytes: u64 = opened
        .image()
        .manifest
        .layers
        .iter()
        .map(|layer| layer.size_bytes)
        .sum();
    text::note(
        &format!(
            "reading the layers of {reference} once ({}), for its directories and store paths",
            text::size(bytes)
        ),
        Some("a lock file of `nixply base lock` tells them without the network"),
    );
    let tree = read_tree(opened)?;
    kept_trees::keep_tree(digest, &tree);
    Ok(tree)
}

fn unusable(name: &str, error: &(dyn std::error::Error + 'static)) -> CliError {
    CliError::context(
        ExitStatus::Input,
        format!("cannot use `{name}` as a base image"),
        error,
    )
}

/// Says that store paths come to a base whose database does not know them.
pub(crate) fn note_database(base: Option<&BaseImage>) {
    if base.is_some_and(|base| base.database == BaseDatabase::InLayers) {
        text::note(
            "the base image has a database of its store paths, which does not tell those of this image",
            Some("a Nix in the container could delete them; `nix_database` makes one of all"),
        );
    }
}

/// Why an image cannot stand on its base, with what to do about it.
pub(crate) fn planning_error(error: &BaseError) -> CliError {
    let hint = match error {
        BaseError::NoRoom { .. } => Some("raise `--max-layers`; Docker takes 125 at most"),
        BaseError::UnknownTree => {
            Some("give the lock of `nixply base lock` as the base, which tells them")
        }
        BaseError::Platform { .. } => {
            Some("give a base image for that platform, or another `--platform`")
        }
        BaseError::SameContent { .. } => {
            Some("leave one of them out, or let the first win with `\"on_collision\": \"first\"`")
        }
        BaseError::HidesDirectory { .. } => {
            Some("leave it out, or let it stand elsewhere; what the directory holds would be lost")
        }
        BaseError::UnknownDirectories => {
            Some("the lock is of an earlier version: make it again with `nixply base lock`")
        }
        BaseError::TarLink { .. } => Some(
            "let the script put it elsewhere, or a link of its own in the place of that of the base",
        ),
        BaseError::TarSamePlace { .. } => {
            Some("let the script put both into the directory that the link leads to")
        }
        BaseError::Database => Some("ask for one with `nix_database`"),
        BaseError::UnknownPath { .. } => {
            Some("let the closure hold the base's store paths, too, or do without `nix_database`")
        }
        _ => None,
    };
    CliError::from_error(ExitStatus::Input, error).maybe_hint(hint.map(str::to_owned))
}
