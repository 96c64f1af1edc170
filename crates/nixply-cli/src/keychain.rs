//! Who one is to registries: the options, variables, files and helpers that say so.

use crate::environment;
use crate::error::{CliError, ExitStatus};
use crate::text;
use nixply_registry::{
    AuthFileFormat, AuthFileSource, ConfiguredKeychain, Credentials, CredentialsError,
    GivenCredentials, HelperPrograms, KeychainSources, LoginFile, LoginKey,
};
use std::io::{self, Read as _};
use std::path::PathBuf;

/// The most that is read as a password. Service account keys, which some registries take as one, have a few thousand bytes.
const PASSWORD_MAX_BYTES: u64 = 1 << 20;

/// Who one is to the registry that a command is about.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CredentialOptions {
    /// The user name for the image's registry
    #[arg(long, value_name = "USER", requires = "password_stdin", value_parser = username)]
    pub(crate) username: Option<String>,
    /// Read the password for --username from standard input
    #[arg(long, requires = "username")]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) file: AuthFileOption,
}

/// Which file holds credentials.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct AuthFileOption {
    /// The file with credentials, in place of all others [default: `$REGISTRY_AUTH_FILE`, where that is set]
    #[arg(long, value_name = "FILE")]
    pub(crate) authfile: Option<PathBuf>,
}

impl AuthFileOption {
    /// The file that the user named, on the command line or in the environment.
    pub(crate) fn named(&self) -> Option<PathBuf> {
        self.authfile
            .clone()
            .or_else(environment::registry_auth_file)
    }

    /// Files, helpers and GitHub's token. A file that was named is the only one, as it is for podman and skopeo.
    pub(crate) fn sources(&self) -> KeychainSources {
        let files = match self.named() {
            Some(path) => vec![AuthFileSource {
                path,
                format: AuthFileFormat::Json,
                must_exist: true,
            }],
            None => environment::auth_files()
                .into_iter()
                .map(|(path, format)| AuthFileSource {
                    path,
                    format,
                    must_exist: false,
                })
                .collect(),
        };
        let github = environment::github_token();
        KeychainSources {
            given: None,
            files,
            github: github.map(|(username, password)| Credentials::Basic { username, password }),
            helpers: helpers(),
        }
    }
}

impl CredentialOptions {
    /// All that is known. What the user gives directly, by options or variables, is for `host` alone: other registries
    /// of the same command line must not get it.
    pub(crate) fn keychain(&self, host: Option<&str>) -> Result<ConfiguredKeychain, CliError> {
        let mut sources = self.file.sources();
        if let Some(host) = host {
            sources.given = self.given()?.map(|credentials| GivenCredentials {
                host: host.to_owned(),
                credentials,
            });
        }
        Ok(ConfiguredKeychain::new(sources))
    }

    /// By what the user gives credentials directly, where he does.
    pub(crate) fn given_by(&self) -> Option<&'static str> {
        match environment::registry_user() {
            _ if self.username.is_some() => Some("--username and the password of standard input"),
            (Some(_), Some(_)) => Some("REGISTRY_USERNAME and REGISTRY_PASSWORD"),
            _ => None,
        }
    }

    fn given(&self) -> Result<Option<Credentials>, CliError> {
        if let Some(username) = &self.username {
            return Ok(Some(Credentials::Basic {
                username: username.clone(),
                password: password_from_stdin()?,
            }));
        }
        let (name, password) = environment::registry_user();
        match (name, password) {
            (Some(username), Some(password)) => Ok(Some(Credentials::Basic { username, password })),
            (None, None) => Ok(None),
            (name, _) => {
                let (set, unset) = match name {
                    Some(_) => ("REGISTRY_USERNAME", "REGISTRY_PASSWORD"),
                    None => ("REGISTRY_PASSWORD", "REGISTRY_USERNAME"),
                };
                text::warning(&format!(
                    "{set} is set and {unset} is empty or not set; going on without both"
                ));
                Ok(None)
            }
        }
    }
}

/// The file that a log-in changes: the one that the user named, else Docker's, which podman and skopeo read, too.
///
/// A namespace goes to podman's: Docker knows none and would take its entry for all of the host.
pub(crate) fn login_file(named: &AuthFileOption, key: &LoginKey) -> Result<LoginFile, CliError> {
    let usual = || match key.namespace() {
        None => environment::docker_config(),
        Some(_) => environment::containers_auth_file(),
    };
    let path = named.named().or_else(usual).ok_or_else(|| {
        CliError::new(
            ExitStatus::Failed,
            "there is no place for credentials: HOME is not set",
        )
        .hint("name a file with --authfile")
    })?;
    Ok(LoginFile::new(path, helpers()))
}

/// Reads what one logs in to.
pub(crate) fn parse_login_key(text: &str) -> Result<LoginKey, CliError> {
    text.parse()
        .map_err(|error| CliError::from_error(ExitStatus::Usage, &error))
}

/// The credential helpers of this machine.
fn helpers() -> HelperPrograms {
    HelperPrograms::on_path(environment::program_dirs())
}

/// Reads a password from standard input, without the line break behind it.
pub(crate) fn password_from_stdin() -> Result<String, CliError> {
    let problem = |error: &io::Error| {
        let message = "cannot read the password from standard input";
        CliError::context(ExitStatus::Failed, message, error)
    };
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(PASSWORD_MAX_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| problem(&error))?;
    let password =
        String::from_utf8(bytes).map_err(|_| problem(&io::Error::other("it is not UTF-8")))?;
    let password = password.strip_suffix('\n').unwrap_or(&password);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(CliError::new(
            ExitStatus::Usage,
            "the password from standard input is empty",
        )
        .hint("is the variable set that it comes from?"));
    }
    Ok(password.to_owned())
}

/// A user name that can be told a registry: in a Basic header a colon ends it (RFC 7617 section 2).
pub(crate) fn username(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(':') || text.contains(char::is_control) {
        return Err("expected a name without `:`".to_owned());
    }
    Ok(text.to_owned())
}

/// Credentials could not be found, kept or forgotten.
pub(crate) fn credentials_error(error: &CredentialsError) -> CliError {
    let status = if error.is_malformed() {
        ExitStatus::Input
    } else {
        ExitStatus::Failed
    };
    CliError::from_error(status, error).maybe_hint(error.hint().map(str::to_owned))
}
