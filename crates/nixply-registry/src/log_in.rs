//! Whether a registry takes a user name and a password, asked before they are kept.

use crate::authenticate::Scopes;
use crate::keychain::LoginKey;
use crate::repository::Access;
use crate::request::Ask;
use crate::{Client, RegistryError, Subject};
use reqwest::Method;

/// What a registry says to who wants to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginCheck {
    /// It asked for credentials and took them.
    Accepted,
    /// It asked for nothing, so they may be right or wrong.
    NotAsked,
}

impl Client {
    /// Asks a registry whether it takes the credentials that the client's keychain has for it, by a `GET /v2/`
    /// (distribution-spec v1.1.1, "Determining Support") with what the registry wants to know. A token is asked for
    /// without any scope, so a no is about who asks and never about a repository.
    ///
    /// # Errors
    ///
    /// A refusal for which [`RegistryError::is_unauthorized`] is true means that they are wrong.
    pub fn check_login(&self, key: &LoginKey) -> Result<LoginCheck, RegistryError> {
        let repository = self.repository(&key.example(), Access::Pull)?;
        let subject = Subject::Registry {
            host: key.host().to_owned(),
        };
        self.runtime().block_on(async {
            let url = repository.host.url("v2/")?;
            let ask = Ask::new(Method::GET, url, &subject).scopes(Scopes::none());
            repository.ask(&ask).await?;
            Ok(match repository.host.challenge() {
                Some(_) => LoginCheck::Accepted,
                None => LoginCheck::NotAsked,
            })
        })
    }
}
