//! Who one is to a registry, and where that is written down.
//!
//! A [`Keychain`] answers one question: which credentials does a repository get? The client asks it before its first
//! request to a host. [`ConfiguredKeychain`] is the answer of Docker's and podman's files, their credential helpers, and
//! what a front end was told: [`KeychainSources`] says in which order. [`LoginFile`] is the way back, the files and
//! helpers that `login` and `logout` change. `docs/credentials.md` describes both for users.
//!
//! Files are read and helpers are started when a host is asked for and no source before them knew it, each at most once.
//! Nothing here reads the environment: the front end passes paths and values. What comes from a file or a helper stands
//! in no error, only where it was and what is wrong with it.

mod auth_file;
mod configured;
mod edit;
mod error;
mod helper;
mod key;
mod login;
mod process;

pub use auth_file::AuthFileFormat;
pub use configured::{AuthFileSource, ConfiguredKeychain, GivenCredentials, KeychainSources};
pub use error::CredentialsError;
pub use helper::HelperPrograms;
pub use key::LoginKey;
pub use login::{KeptIn, LoginFile};

use crate::Credentials;

/// Knows the credentials of repositories.
pub trait Keychain: Send + Sync {
    /// The credentials for a repository of a host, [`Credentials::Anonymous`] where there are none.
    ///
    /// `host` is written as in an [`ImageReference`](nixply_oci::ImageReference), with the port where one is given. It may
    /// block: a credential helper is another program.
    fn resolve(&self, host: &str, repository: &str) -> Result<Credentials, CredentialsError>;
}

/// The same credentials for everybody.
#[derive(Debug, Clone)]
pub struct FixedKeychain(pub Credentials);

impl Keychain for FixedKeychain {
    fn resolve(&self, _host: &str, _repository: &str) -> Result<Credentials, CredentialsError> {
        Ok(self.0.clone())
    }
}
