//! Who one is to registries: the files, helpers and variables of this machine.

use crate::environment;
use crate::error::{CliError, ExitStatus};
use nixply_registry::{
    AuthFileFormat, AuthFileSource, ConfiguredKeychain, Credentials, CredentialsError,
    HelperPrograms, KeychainSources,
};

/// Where credentials are looked for. A file that was named is the only one, as for podman and skopeo.
pub(crate) fn keychain() -> ConfiguredKeychain {
    let files = match environment::registry_auth_file() {
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
    ConfiguredKeychain::new(KeychainSources {
        given: None,
        files,
        github: github.map(|(username, password)| Credentials::Basic { username, password }),
        helpers: HelperPrograms::on_path(environment::program_dirs()),
    })
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
