//! What can go wrong between a file or a helper and a registry's credentials.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why credentials could not be found, kept or forgotten. No message quotes a file or a helper's answer, which are full
/// of secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not JSON of the expected shape.
    #[error("`{}` is not {expected}: line {line}, column {column}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// `a Docker or containers auth file`, for example.
        expected: &'static str,
        /// Where it stops making sense, from 1.
        line: usize,
        /// Where it stops making sense, from 1.
        column: usize,
    },
    /// `auth` of an entry is not base-64 of `USER:PASSWORD`.
    #[error("`auth` of `{key}` in `{}` is not the base-64 form of `USER:PASSWORD`", path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The key of the entry in `auths`.
        key: String,
    },
    /// A helper's name could name a file elsewhere.
    #[error(
        "`{}` names the credential helper `{}`: expected letters, digits, `-`, `_` and `.`",
        path.display(),
        name.escape_debug()
    )]
    HelperName {
        /// The file that names it.
        path: PathBuf,
        /// The name, without `docker-credential-`.
        name: String,
    },
    /// A helper is not installed.
    #[error("`{}` leaves the credentials of {server} to `{program}`, which is not on PATH", path.display())]
    HelperMissing {
        /// The file that names it.
        path: PathBuf,
        /// The program's name.
        program: String,
        /// The registry, as the helper knows it.
        server: String,
    },
    /// A helper is there and could not be run.
    #[error("cannot run `{program}` for the credentials of {server}")]
    HelperRun {
        /// The program's name.
        program: String,
        /// The registry, as the helper knows it.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// A helper ended with an error.
    #[error(
        "`{program} {action}` failed for {server} ({status}){}",
        if message.is_empty() { String::new() } else { format!(": {message}") }
    )]
    HelperFailed {
        /// The program's name.
        program: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// The registry, as the helper knows it.
        server: String,
        /// Its exit status or signal, in words.
        status: String,
        /// The first line of what it said, without control characters, or nothing.
        message: String,
    },
    /// A helper took too long; it was ended.
    #[error("`{program} {action}` did not end for {server} within {} s", limit.as_secs())]
    HelperTimeout {
        /// The program's name.
        program: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// The registry, as the helper knows it.
        server: String,
        /// How long it was given.
        limit: Duration,
    },
    /// A helper ended well and did not say what helpers say.
    #[error("the answer of `{program} get` for {server} is not JSON with `Username` and `Secret`")]
    HelperAnswer {
        /// The program's name.
        program: String,
        /// The registry, as the helper knows it.
        server: String,
    },
    /// A helper keeps the secrets, and helpers know hosts only.
    #[error("`{}` leaves {server} to `{program}`, which keeps no credentials for `{key}` alone", path.display())]
    HelperNamespace {
        /// The file that names it.
        path: PathBuf,
        /// The program's name.
        program: String,
        /// The registry, as the helper knows it.
        server: String,
        /// The host and namespace that were asked for.
        key: String,
    },
    /// A text is not a registry's host, or a host and a namespace.
    #[error("`{text}` is not HOST or HOST/NAMESPACE")]
    LoginKey {
        /// The text.
        text: String,
        /// Why.
        source: nixply_oci::ReferenceError,
    },
}

impl CredentialsError {
    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Json { .. } => Some(
                "expected `{\"auths\": {\"HOST\": {\"auth\": \"…\"}}}`: correct the file, or move it away and log in again",
            ),
            Self::Auth { .. } => Some("`nixply login` writes the entry anew"),
            Self::HelperName { .. } => Some(
                "the value of `credsStore` or `credHelpers` is what follows `docker-credential-` in the program's name",
            ),
            Self::HelperMissing { .. } => Some(
                "install it, take it out of `credsStore` or `credHelpers`, or name another file with --authfile",
            ),
            Self::HelperFailed { .. } | Self::HelperTimeout { .. } | Self::HelperAnswer { .. } => {
                Some("the helper is a program of its own: run it by hand to see what it wants")
            }
            Self::HelperNamespace { .. } => {
                Some("log in to the host without a namespace, or name another file with --authfile")
            }
            Self::File { .. } | Self::HelperRun { .. } | Self::LoginKey { .. } => None,
        }
    }

    /// True where a file or a helper says something that it may not say; false where the machine or the user is to blame.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        matches!(
            self,
            Self::Json { .. }
                | Self::Auth { .. }
                | Self::HelperName { .. }
                | Self::HelperAnswer { .. }
        )
    }
}
