//! Opening images that exist already, and the errors of the crates that hold them.

use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::input::{StoredPlace, stored_place};
use crate::keychain::credentials_error;
use crate::registries::Registries;
use nixply_layout::{LayoutError, OpenOptions, open_image};
use nixply_oci::{ImageReference, ImageSource, LayerError, Platform, SourceError};
use nixply_registry::RegistryError;
use std::error::Error;

/// How an image that exists already is found and opened.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Image options")]
pub(crate) struct OpenArgs {
    /// Which image, where there is one for each of several platforms
    #[arg(long, value_name = "OS/ARCH")]
    pub(crate) platform: Option<Platform>,
    /// Which image, where a layout or an archive holds several: a name or a digest
    #[arg(long, value_name = "NAME")]
    pub(crate) reference: Option<String>,
}

/// Opens an image in a registry (`docker://REF`), an OCI layout or an archive; none where `image` is none of them.
pub(crate) fn open(
    image: &str,
    args: &OpenArgs,
    registries: &Registries,
) -> Result<Option<Box<dyn ImageSource>>, CliError> {
    match stored_place(image)? {
        None => Ok(None),
        Some(place) => Ok(Some(open_stored(place, args, registries)?)),
    }
}

/// Why an image that exists already was not opened.
#[derive(Debug)]
pub(crate) enum StoredError {
    /// The registry or the way to it.
    Registry(RegistryError),
    /// Anything else.
    Other(CliError),
}

impl From<CliError> for StoredError {
    fn from(error: CliError) -> Self {
        Self::Other(error)
    }
}

impl From<StoredError> for CliError {
    fn from(error: StoredError) -> Self {
        match error {
            StoredError::Registry(error) => registry_error(&error),
            StoredError::Other(error) => error,
        }
    }
}

/// Opens an image whose place is known.
pub(crate) fn open_stored(
    place: StoredPlace,
    args: &OpenArgs,
    registries: &Registries,
) -> Result<Box<dyn ImageSource>, StoredError> {
    match place {
        StoredPlace::Registry(reference) => {
            let reference = parse_reference(&reference)?;
            let opened = registries.open(&reference, args.platform.as_ref())?;
            Ok(Box::new(opened))
        }
        StoredPlace::Disk(path) => {
            let options = OpenOptions {
                platform: args.platform.as_ref(),
                reference: args.reference.as_deref(),
                spool_dir: &environment::temporary_dir(),
            };
            let opened = open_image(&path, &options).map_err(|error| {
                let hint = matches!(error, LayoutError::Ambiguous { .. })
                    .then(|| "choose one with --reference, or --platform".to_owned());
                layout_open_error(&error).maybe_hint(hint)
            })?;
            Ok(Box::new(opened))
        }
    }
}

/// An image on disk could not be opened: what can be read and is damaged is not what it claims to be.
pub(crate) fn layout_open_error(error: &LayoutError) -> CliError {
    let status = match error {
        LayoutError::File { .. } => ExitStatus::Failed,
        _ => ExitStatus::Input,
    };
    CliError::from_error(status, error)
}

/// Reads an image reference of the command line.
pub(crate) fn parse_reference(text: &str) -> Result<ImageReference, CliError> {
    let text = text.strip_prefix("docker://").unwrap_or(text);
    text.parse()
        .map_err(|error| CliError::from_error(ExitStatus::Usage, &error))
}

/// A stored image could not be read: the registry's or the network's fault where there is one, else the image's.
pub(crate) fn source_error(layer_idx: usize, error: &(dyn Error + 'static)) -> CliError {
    let status = match registry_error_in(error) {
        Some(error) if error.is_network_or_registry() => ExitStatus::Network,
        _ => ExitStatus::Input,
    };
    CliError::context(
        status,
        format!("cannot read layer {} of the image", layer_idx + 1),
        error,
    )
}

/// The registry's error in a chain, also where it went through an I/O error, which hides it from `source`.
fn registry_error_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a RegistryError> {
    if let Some(SourceError(inner)) = error.downcast_ref() {
        return registry_error_in(&**inner);
    }
    if let Some(inner) = error
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref)
    {
        return registry_error_in(inner);
    }
    error
        .downcast_ref()
        .or_else(|| registry_error_in(error.source()?))
}

/// The layer's own error is what the user has to know: it names the file.
pub(crate) fn registry_error(error: &RegistryError) -> CliError {
    if let RegistryError::Credentials(error) = error {
        return credentials_error(error);
    }
    let status = match error {
        _ if error.is_network_or_registry() => ExitStatus::Network,
        RegistryError::NoTagOrDigest { .. } | RegistryError::PartElsewhere { .. } => {
            ExitStatus::Usage
        }
        RegistryError::Pem { file: None, .. } => {
            let message = "cannot use what --ca-cert, --client-cert and --client-key name";
            return CliError::context(ExitStatus::Input, message, error);
        }
        RegistryError::Pem { .. }
        | RegistryError::SamePlatform { .. }
        | RegistryError::NoParts
        | RegistryError::TooManyParts { .. } => ExitStatus::Input,
        RegistryError::LayerDiffers { .. } => ExitStatus::Verification,
        // A layer of a base image that another registry did not give.
        RegistryError::Layer {
            source: LayerError::Make(cause),
            ..
        } if registry_error_in(&**cause).is_some_and(RegistryError::is_network_or_registry) => {
            ExitStatus::Network
        }
        _ => ExitStatus::Failed,
    };
    CliError::from_error(status, error).maybe_hint(error.hint().map(str::to_owned))
}

/// An image could not be written.
pub(crate) fn layout_error(error: &LayoutError) -> CliError {
    let status = match error {
        LayoutError::Name { .. } | LayoutError::NameWithDigest { .. } => ExitStatus::Usage,
        _ => ExitStatus::Failed,
    };
    CliError::from_error(status, error)
}
