//! Who asks: the `Authorization` header of every request to a registry.
//!
//! Nobody is told anything who has not asked: a request goes out without a header until the host has refused one and
//! said what it wants to know. From then on requests have a header from the start, and a token is renewed before it
//! expires, and when the registry refuses it all the same.
//!
//! Sources: RFC 9110 section 11; distribution's `docs/spec/auth/token.md` and `oauth.md`.

use crate::challenge::{Challenge, TokenService};
use crate::credentials::IDENTITY_TOKEN_USER;
use crate::payload::Payload;
use crate::redact::clean_url;
use crate::repository::Repository;
use crate::request::Ask;
use crate::retry::Failure;
use crate::token::{Generation, Token, TokenAnswer, authorization};
use crate::{Credentials, RegistryError, Subject};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use std::time::Instant;

/// What token services are told about the program that asks.
const CLIENT_ID: &str = "nixply";

/// What a token is to be good for: `repository:NAME:ACTIONS`, one or more, in an order of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scopes(Vec<String>);

impl Scopes {
    /// None: the token only says who asks.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Rights on one repository.
    pub(crate) fn new(repository: &str, actions: &str) -> Self {
        Self(vec![format!("repository:{repository}:{actions}")])
    }

    /// These and rights on another one.
    pub(crate) fn and(mut self, repository: &str, actions: &str) -> Self {
        self.0.push(format!("repository:{repository}:{actions}"));
        self.0.sort_unstable();
        self
    }

    fn key(&self) -> String {
        self.0.join(" ")
    }
}

/// What a request says about who asks.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    pub(crate) header: HeaderValue,
    /// The number of the token; `None` for what never changes.
    generation: Option<Generation>,
}

impl Repository {
    /// What a request has to say, as far as the host has told what it wants to know; nothing to anybody else.
    pub(crate) async fn authorization_for(
        &self,
        url: &Url,
        scopes: &Scopes,
    ) -> Result<Option<Authorization>, RegistryError> {
        match self.host.challenge() {
            Some(challenge) if self.host.is_own(url) => self.answer(&challenge, scopes, None).await,
            _ => Ok(None),
        }
    }

    /// A request was refused with status 401. True if the next one will say something else.
    pub(crate) async fn challenged(
        &self,
        headers: &HeaderMap,
        scopes: &Scopes,
        refused: Option<&Authorization>,
    ) -> Result<bool, RegistryError> {
        let challenge = Challenge::of(headers);
        if matches!(challenge, Challenge::Bearer(_) | Challenge::Basic) {
            self.host.set_challenge(challenge.clone());
        }
        let stale = refused.and_then(|refused| refused.generation);
        let next = self.answer(&challenge, scopes, stale).await?;
        // The same again would be refused again.
        let refused = refused.map(|refused| &refused.header);
        Ok(next.is_some_and(|next| Some(&next.header) != refused))
    }

    /// The answer to a challenge; a token other than the refused one, where it is a token.
    async fn answer(
        &self,
        challenge: &Challenge,
        scopes: &Scopes,
        refused: Option<Generation>,
    ) -> Result<Option<Authorization>, RegistryError> {
        let credentials = self.credentials().await?;
        let fixed = |scheme, secret: &str| match authorization(scheme, secret) {
            Some(header) => Ok(Some(Authorization {
                header,
                generation: None,
            })),
            None => Err(self.unsendable()),
        };
        match (challenge, &credentials) {
            (Challenge::Absent | Challenge::Unknown, _)
            | (Challenge::Basic, Credentials::Anonymous) => Ok(None),
            (_, Credentials::RegistryToken(token)) => fixed("Bearer", token),
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                fixed("Basic", &Credentials::basic_value(username, password))
            }
            (Challenge::Basic, Credentials::IdentityToken(token)) => fixed(
                "Basic",
                &Credentials::basic_value(IDENTITY_TOKEN_USER, token),
            ),
            (Challenge::Bearer(service), _) => {
                let shared = self.host.token(&scopes.key());
                // One asks the service; who needs the same token waits here until it has come.
                let mut current = shared.lock().await;
                let known = current.as_ref().filter(|token| {
                    token.is_fresh() && refused.is_none_or(|refused| token.generation > refused)
                });
                let token = match known {
                    Some(token) => token.clone(),
                    None => self.fetch(service, scopes, &credentials).await?,
                };
                *current = Some(token.clone());
                Ok(Some(Authorization {
                    header: token.header,
                    generation: Some(token.generation),
                }))
            }
        }
    }

    /// This repository's credentials, asked for once a host.
    async fn credentials(&self) -> Result<Credentials, RegistryError> {
        if let Some(known) = self.host.known_credentials(self.name()) {
            return Ok(known);
        }
        let credentials = self.shared.credentials(&self.host, self.name()).await?;
        self.host
            .remember_credentials(self.name(), credentials.clone());
        Ok(credentials)
    }

    /// Gets a token from its service.
    async fn fetch(
        &self,
        service: &TokenService,
        scopes: &Scopes,
        credentials: &Credentials,
    ) -> Result<Token, RegistryError> {
        let is_secret = *credentials != Credentials::Anonymous;
        if is_secret && !service.may_know_secrets() && !self.shared.options.insecure {
            return Err(self.no_token(format!(
                "its token service {} would get the password in the clear",
                clean_url(&service.realm)
            )));
        }
        if let Credentials::IdentityToken(identity_token) = credentials {
            match self
                .exchange_identity(service, scopes, identity_token)
                .await
            {
                // Services that know only GET take the token as a password (containerd and Docker do the same).
                Err(RegistryError::Refused(refusal))
                    if matches!(refusal.status, Some(404 | 405)) => {}
                other => return other,
            }
        }
        let basic = match credentials {
            Credentials::Basic { username, password } => {
                Some(Credentials::basic_value(username, password))
            }
            Credentials::IdentityToken(token) => {
                Some(Credentials::basic_value(IDENTITY_TOKEN_USER, token))
            }
            Credentials::Anonymous | Credentials::RegistryToken(_) => None,
        };
        let mut url = service.realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &service.service {
                query.append_pair("service", service);
            }
            for scope in &scopes.0 {
                query.append_pair("scope", scope);
            }
        }
        let mut headers = HeaderMap::new();
        if let Some(basic) = basic {
            let header = authorization("Basic", &basic).ok_or_else(|| self.unsendable())?;
            headers.insert(AUTHORIZATION, header);
        }
        let subject = self.subject();
        let ask = Ask::new(Method::GET, url, &subject).headers(headers);
        self.token_of(&ask).await
    }

    /// Exchanges an identity token, a refresh token in OAuth's words (`oauth.md`, "Refresh token").
    async fn exchange_identity(
        &self,
        service: &TokenService,
        scopes: &Scopes,
        identity_token: &str,
    ) -> Result<Token, RegistryError> {
        let mut form = form_of(&service.realm);
        {
            let mut form = form.query_pairs_mut();
            form.append_pair("grant_type", "refresh_token")
                .append_pair("client_id", CLIENT_ID)
                .append_pair("scope", &scopes.key())
                .append_pair("refresh_token", identity_token);
            if let Some(service) = &service.service {
                form.append_pair("service", service);
            }
        }
        let form = form.query().unwrap_or_default().to_owned();
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_type);
        let subject = self.subject();
        let ask = Ask::new(Method::POST, service.realm.clone(), &subject)
            .headers(headers)
            .payload(Payload::Bytes(form.into()));
        self.token_of(&ask).await
    }

    /// Asks a token service, which gets no `Authorization` but the one that is in the request.
    async fn token_of(&self, ask: &Ask<'_>) -> Result<Token, RegistryError> {
        let mut tries = self.tries();
        loop {
            let asked_at = Instant::now();
            let failure = match self.send_as_it_is(ask).await {
                Ok(answer) => {
                    let headers = answer.headers().clone();
                    match self.short_body(answer).await {
                        Ok(body) => return self.read_token(ask, asked_at, &headers, &body),
                        Err(error) => Failure::passing(ask.named().broken(error)),
                    }
                }
                Err(failure) => failure,
            };
            tries.again(failure).await?;
        }
    }

    fn read_token(
        &self,
        ask: &Ask<'_>,
        asked_at: Instant,
        headers: &HeaderMap,
        body: &str,
    ) -> Result<Token, RegistryError> {
        let protocol = || {
            ask.named()
                .protocol("expected JSON with a token or an access_token".to_owned())
        };
        let answer: TokenAnswer = serde_json::from_str(body).map_err(|_| protocol())?;
        if answer.text().is_none() {
            return Err(protocol());
        }
        self.host.remember_secrets(answer.secrets());
        let generation = self.host.next_generation();
        answer
            .into_token(asked_at, headers, generation)
            .ok_or_else(|| self.unsendable())
    }

    fn unsendable(&self) -> RegistryError {
        self.no_token("it takes a token or password that no header can hold".to_owned())
    }

    fn no_token(&self, message: String) -> RegistryError {
        RegistryError::Authentication {
            host: self.host.name().to_owned(),
            message,
        }
    }

    fn subject(&self) -> Subject {
        Subject::Registry {
            host: self.host.name().to_owned(),
        }
    }
}

/// A URL whose query is an empty form.
fn form_of(url: &Url) -> Url {
    let mut form = url.clone();
    form.set_query(Some(""));
    form
}
