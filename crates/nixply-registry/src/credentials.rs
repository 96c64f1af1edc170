//! Who pushes or pulls.

use crate::redact::Secrets;
use data_encoding::BASE64;
use std::fmt;

/// The user name that stands before an identity token where a password is expected, as Docker has it.
pub(crate) const IDENTITY_TOKEN_USER: &str = "<token>";

/// What a registry is told about who asks. The `Debug` form shows no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing.
    Anonymous,
    /// A user name and a password (or an access token in its place).
    Basic {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that the registry itself takes (`registrytoken` of a Docker config).
    RegistryToken(String),
    /// A refresh token that the registry's token service takes (`identitytoken` of a Docker config).
    IdentityToken(String),
}

impl Credentials {
    /// The value of a Basic `Authorization` header (RFC 7617) without the scheme's name.
    pub(crate) fn basic_value(username: &str, password: &str) -> String {
        BASE64.encode(format!("{username}:{password}").as_bytes())
    }

    /// The texts that must appear in no message.
    pub(crate) fn secrets(&self) -> Secrets {
        match self {
            Self::Anonymous => Secrets::default(),
            Self::Basic { username, password } => {
                Secrets::new([password.clone(), quotable_basic(username, password)])
            }
            Self::IdentityToken(token) => {
                Secrets::new([token.clone(), quotable_basic(IDENTITY_TOKEN_USER, token)])
            }
            Self::RegistryToken(token) => Secrets::new([token.clone()]),
        }
    }
}

/// What a Basic header says, as it may be quoted: with or without the `=` at its end.
fn quotable_basic(username: &str, password: &str) -> String {
    let value = Credentials::basic_value(username, password);
    value.trim_end_matches('=').to_owned()
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => f
                .debug_struct("Basic")
                .field("username", username)
                .finish_non_exhaustive(),
            Self::RegistryToken(_) => f.write_str("RegistryToken(..)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        for credentials in [
            Credentials::Basic {
                username: "ann".to_owned(),
                password: "s3cret".to_owned(),
            },
            Credentials::RegistryToken("s3cret".to_owned()),
            Credentials::IdentityToken("s3cret".to_owned()),
        ] {
            assert!(!format!("{credentials:?}").contains("s3cret"));
        }
    }

    #[test]
    fn what_a_registry_may_quote_is_a_secret() {
        let basic = Credentials::Basic {
            username: "ann".to_owned(),
            password: "s3cret".to_owned(),
        };
        // `YW5uOnMzY3JldA==` is `ann:s3cret`, `PHRva2VuPjpzM2NyZXQ=` is `<token>:s3cret`.
        assert_eq!(
            basic.secrets().clean("YW5uOnMzY3JldA, s3cret"),
            "<redacted>, <redacted>"
        );
        let identity = Credentials::IdentityToken("s3cret".to_owned());
        let cleaned = identity.secrets().clean("PHRva2VuPjpzM2NyZXQ=, s3cret");
        assert_eq!(cleaned, "<redacted>=, <redacted>");
    }

    /// RFC 7617 section 2, the example.
    #[test]
    fn basic_value_is_that_of_the_rfc() {
        assert_eq!(
            Credentials::basic_value("Aladdin", "open sesame"),
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        );
    }
}
