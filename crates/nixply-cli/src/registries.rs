//! The registries that a command speaks to.

use crate::error::{CliError, ExitStatus};
use crate::keychain::CredentialOptions;
use crate::network::NetworkOptions;
use crate::stored::{StoredError, parse_reference, registry_error};
use crate::text;
use nixply_oci::{ImageReference, Platform};
use nixply_registry::{
    Client, ClientOptions, ConfiguredKeychain, Credentials, Keychain, RegistryError, RegistryImage,
};
use std::path::PathBuf;
use std::sync::Arc;

/// How registries are reached, and who one is to them.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Registry options")]
pub(crate) struct RegistryOptions {
    #[command(flatten)]
    credentials: CredentialOptions,
    #[command(flatten)]
    network: NetworkOptions,
}

/// The registries of one command line.
#[derive(Debug, Clone)]
pub(crate) struct Registries {
    keychain: Arc<ConfiguredKeychain>,
    /// The host that the user gave credentials for directly, and by what.
    given: Option<(String, &'static str)>,
    options: ClientOptions,
}

impl RegistryOptions {
    /// Those of a derivation, which has no command line.
    pub(crate) fn in_builder(insecure: bool, ca_certificates: Option<PathBuf>) -> Self {
        Self {
            network: NetworkOptions::in_builder(insecure, ca_certificates),
            ..Self::default()
        }
    }

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
            keychain: Arc::new(self.credentials.keychain(host.as_deref())?),
            given: host.zip(self.credentials.given_by()),
            options: self.network.client_options()?,
        })
    }
}

impl Registries {
    /// True if every request is shown, and what else only costs time.
    pub(crate) fn is_verbose(&self) -> bool {
        self.options.observer.is_some()
    }

    /// A client of these registries.
    pub(crate) fn client(&self, connections: Option<usize>) -> Result<Client, CliError> {
        let mut options = self.options.clone();
        options.connections = connections.unwrap_or(options.connections);
        let keychain: Arc<ConfiguredKeychain> = Arc::clone(&self.keychain);
        new_client(keychain, options)
    }

    /// A client of these registries, with the library's own error.
    pub(crate) fn new_client(&self) -> Result<Client, RegistryError> {
        let keychain: Arc<ConfiguredKeychain> = Arc::clone(&self.keychain);
        Client::new(keychain, self.options.clone())
    }

    /// Opens an image in a registry.
    pub(crate) fn open(
        &self,
        reference: &ImageReference,
        platform: Option<&Platform>,
    ) -> Result<RegistryImage, StoredError> {
        let client = self.client(None)?;
        RegistryImage::open(&client, reference, platform).map_err(|error| {
            if error.is_unauthorized() {
                StoredError::Other(self.error(&error, reference))
            } else {
                StoredError::Registry(error)
            }
        })
    }

    /// An error about an image, for people: where credentials were refused, it says whose they are and whence.
    pub(crate) fn error(&self, error: &RegistryError, image: &ImageReference) -> CliError {
        let hint = error
            .is_unauthorized()
            .then(|| self.refused_user(image))
            .flatten();
        let shown = registry_error(error);
        match hint {
            Some(hint) => shown.hint(hint),
            None => shown,
        }
    }

    /// Who one is to the registry of an image; none where one is nobody.
    fn refused_user(&self, image: &ImageReference) -> Option<String> {
        let (host, repository) = (image.host(), image.repository());
        let who = match self.keychain.resolve(host, repository).ok()? {
            Credentials::Basic { username, .. } => {
                format!("the user `{}`", text::printable(&username))
            }
            Credentials::Anonymous => return None,
            _ => "the token".to_owned(),
        };
        let given = self.given.as_ref().filter(|(given, _)| given == host);
        let whence = match (given, self.keychain.file_for(host, repository)) {
            (Some((_, by)), _) => (*by).to_owned(),
            (None, Ok(Some(path))) => {
                format!("`{}`, or use `nixply login {host}`", path.display())
            }
            (None, _) => "GITHUB_TOKEN".to_owned(),
        };
        Some(format!(
            "{who} was refused: check {whence}, and the rights on `{repository}`"
        ))
    }
}

/// Starts a client; certificates that are none are the command line's.
pub(crate) fn new_client(
    keychain: Arc<dyn Keychain>,
    options: ClientOptions,
) -> Result<Client, CliError> {
    Client::new(keychain, options).map_err(|error| registry_error(&error))
}

/// The host of an image that is in a registry.
fn host_of(image: &str) -> Option<String> {
    let reference = image.strip_prefix("docker://")?;
    Some(parse_reference(reference).ok()?.host().to_owned())
}
