//! The registries that a command speaks to.

use crate::error::{CliError, ExitStatus};
use crate::keychain::{CredentialOptions, credentials_error};
use crate::stored::{StoredError, parse_reference};
use nixply_oci::{ImageReference, Platform};
use nixply_registry::{ConfiguredKeychain, Credentials, Keychain as _, RegistryImage};

/// How registries are reached, and who one is to them.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryOptions {
    #[command(flatten)]
    credentials: CredentialOptions,
    /// Allow plain HTTP and unverified certificates for the registry
    #[arg(long)]
    insecure: bool,
}

/// The registries of one command line.
#[derive(Debug)]
pub(crate) struct Registries {
    keychain: ConfiguredKeychain,
    pub(crate) insecure: bool,
}

impl RegistryOptions {
    /// Prepares for the images of a command line, most important first. A user name and password that are given are for
    /// the registry of the first that is in one.
    ///
    /// Reads the password from standard input, where that is asked for.
    pub(crate) fn registries(&self, images: &[&str]) -> Result<Registries, CliError> {
        let host = images.iter().find_map(|image| host_of(image));
        if self.credentials.password_stdin {
            if host.is_none() {
                let message =
                    "--username has no meaning here: no image of the command line is in a registry";
                return Err(CliError::new(ExitStatus::Usage, message));
            }
            if images.contains(&"-") {
                let message = "the image and the password cannot both come from standard input";
                return Err(CliError::new(ExitStatus::Usage, message)
                    .hint("set REGISTRY_USERNAME and REGISTRY_PASSWORD, or use `nixply login`"));
            }
        }
        Ok(Registries {
            keychain: self.credentials.keychain(host.as_deref())?,
            insecure: self.insecure,
        })
    }
}

impl Registries {
    /// The credentials for a repository.
    pub(crate) fn credentials(&self, reference: &ImageReference) -> Result<Credentials, CliError> {
        self.keychain
            .resolve(reference.host(), reference.repository())
            .map_err(|error| credentials_error(&error))
    }

    /// Opens an image in a registry.
    pub(crate) fn open(
        &self,
        reference: &ImageReference,
        platform: Option<&Platform>,
    ) -> Result<RegistryImage, StoredError> {
        let credentials = self.credentials(reference)?;
        RegistryImage::open(reference, platform, &credentials, self.insecure)
            .map_err(StoredError::Registry)
    }
}

/// The host of an image that is in a registry.
fn host_of(image: &str) -> Option<String> {
    let reference = image.strip_prefix("docker://")?;
    Some(parse_reference(reference).ok()?.host().to_owned())
}
