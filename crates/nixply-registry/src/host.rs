//! What is known of a registry's host: how it is spoken to, what it wants to know, what it can take.

use crate::challenge::Challenge;
use crate::limit::Limiter;
use crate::redact::Secrets;
use crate::token::{Generation, Token};
use crate::{ClientOptions, Credentials, RegistryError};
use reqwest::Url;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The host behind the name `docker.io`, which is none itself.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// The names that Docker Hub's registry goes by.
const DOCKER_HUB_NAMES: [&str; 2] = ["docker.io", "index.docker.io"];

/// How many tokens are remembered to keep them out of messages: those of every repository at work, and those before.
const SECRET_TOKENS_MAX: usize = 32;

/// How a registry takes a layer whose digest is not known yet. A registry that refuses one way is sent the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum UploadMethod {
    /// One PATCH of unknown length, as Docker sends every layer.
    Streamed,
    /// One PATCH after the other of a few megabytes, each with its place in the layer (distribution-spec v1.1.1, "Pushing a blob in
    /// chunks").
    Chunked,
    /// Only one PUT, which names the digest: the layer has to be whole first.
    Whole,
}

impl UploadMethod {
    /// The method as it is remembered between pushes.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Streamed => "streamed",
            Self::Chunked => "chunked",
            Self::Whole => "whole",
        }
    }

    /// Reads what [`UploadMethod::text`] wrote.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let all = [Self::Streamed, Self::Chunked, Self::Whole];
        all.into_iter().find(|method| method.text() == text)
    }
}

/// A host, by the name that image references call it.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
    authority: String,
    /// The port that the name has.
    port: Option<u16>,
    /// One for all requests that begin at this host.
    pub(crate) limiter: Arc<Limiter>,
    generations: AtomicU64,
    state: Mutex<State>,
}

/// A token that is got once for all who wait for it.
pub(crate) type SharedToken = Arc<tokio::sync::Mutex<Option<Token>>>;

#[derive(Debug)]
struct State {
    tls: bool,
    /// False until an answer has shown whether `tls` is right.
    is_settled: bool,
    has_answered: bool,
    upload_method: UploadMethod,
    /// The last one; `None` while no request was refused for want of one.
    challenge: Option<Challenge>,
    /// By repository.
    credentials: BTreeMap<String, Credentials>,
    /// By scopes.
    tokens: BTreeMap<String, SharedToken>,
    /// The texts of the newest tokens.
    token_texts: VecDeque<Secrets>,
    /// Pairs of repositories, into and from, between which nothing may be mounted.
    refused_mounts: BTreeSet<(String, String)>,
}

impl Host {
    /// Knows only the name yet.
    pub(crate) fn new(name: &str, options: &ClientOptions) -> Result<Self, RegistryError> {
        let authority = if DOCKER_HUB_NAMES.contains(&name) {
            DOCKER_HUB_HOST
        } else {
            name
        };
        // Host names are compared with those of URLs, which have no capital letters.
        let authority = &authority.to_ascii_lowercase();
        let url = Url::parse(&format!("https://{authority}/"))
            .map_err(|error| RegistryError::Client(error.into()))?;
        let loopback = crate::transport::is_loopback(&url);
        let after_colon = authority
            .rsplit_once(':')
            .map(|(_, port)| port.parse().ok());
        Ok(Self {
            name: name.to_owned(),
            authority: authority.to_owned(),
            port: after_colon.flatten(),
            limiter: Limiter::new(options.connections),
            generations: AtomicU64::new(0),
            state: Mutex::new(State {
                tls: !loopback,
                is_settled: !loopback && !options.insecure,
                has_answered: false,
                upload_method: UploadMethod::Streamed,
                challenge: None,
                credentials: BTreeMap::new(),
                tokens: BTreeMap::new(),
                token_texts: VecDeque::new(),
                refused_mounts: BTreeSet::new(),
            }),
        })
    }

    /// The name, as image references have it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The URL of a path on the host.
    pub(crate) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        let scheme = if self.lock().tls { "https" } else { "http" };
        Url::parse(&format!("{scheme}://{}/{path}", self.authority))
            .map_err(|error| RegistryError::Client(error.into()))
    }

    /// True if a URL is on this host, spoken to in the way that was found.
    ///
    /// Upload locations may be elsewhere, and credentials never go elsewhere (distribution-spec v1.1.1, "Pushing
    /// blobs").
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.url("").is_ok_and(|own| own.origin() == url.origin())
    }

    /// The same URL in the other of HTTPS and plain HTTP, if it is not known yet which of them the host speaks.
    pub(crate) fn other_way(&self, url: &Url) -> Option<Url> {
        if self.lock().is_settled || !self.is_own(url) {
            return None;
        }
        Some(self.by_tls(url.clone(), url.scheme() != "https"))
    }

    /// A URL of this host, whose scheme may have been guessed before the right one was known.
    pub(crate) fn corrected(&self, url: Url) -> Url {
        let (tls, is_settled) = {
            let state = self.lock();
            (state.tls, state.is_settled)
        };
        if is_settled && self.is_named_by(&url) {
            self.by_tls(url, tls)
        } else {
            url
        }
    }

    /// The same URL with or without TLS.
    fn by_tls(&self, mut url: Url, tls: bool) -> Url {
        // Neither fails for a URL of a host. The port has to be named where it was the default of the other scheme.
        let _ = url.set_scheme(if tls { "https" } else { "http" });
        let _ = url.set_port(self.port);
        url
    }

    /// True if a URL names this host, with whatever scheme.
    fn is_named_by(&self, url: &Url) -> bool {
        let host = match url.host_str() {
            Some(host) => self.authority.strip_prefix(host),
            None => None,
        };
        match (host, self.port) {
            (Some(""), None) => url.port().is_none(),
            (Some(rest), Some(port)) => {
                rest.starts_with(':') && url.port_or_known_default() == Some(port)
            }
            _ => false,
        }
    }

    /// The host has answered to this URL, so this is how it is spoken to.
    pub(crate) fn settle(&self, url: &Url) {
        let mut state = self.lock();
        if self.is_named_by(url) {
            state.has_answered = true;
            if !state.is_settled {
                state.tls = url.scheme() == "https";
                state.is_settled = true;
            }
        }
    }

    /// True once any request was answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.lock().has_answered
    }

    /// How layers of unknown digest are sent.
    pub(crate) fn upload_method(&self) -> UploadMethod {
        self.lock().upload_method
    }

    /// The host has refused a method: the next one from now on, unless another upload has found that out before.
    pub(crate) fn refuses_method(&self, refused: UploadMethod) {
        let mut state = self.lock();
        let next = match refused {
            UploadMethod::Streamed => UploadMethod::Chunked,
            UploadMethod::Chunked | UploadMethod::Whole => UploadMethod::Whole,
        };
        state.upload_method = state.upload_method.max(next);
    }

    /// What the host wants to know; `None` while it has not said that it wants to know anything.
    pub(crate) fn challenge(&self) -> Option<Challenge> {
        self.lock().challenge.clone()
    }

    /// The host wants to know something.
    pub(crate) fn set_challenge(&self, challenge: Challenge) {
        self.lock().challenge = Some(challenge);
    }

    /// The credentials for a repository, where they were looked up already.
    pub(crate) fn known_credentials(&self, repository: &str) -> Option<Credentials> {
        self.lock().credentials.get(repository).cloned()
    }

    /// Remembers a repository's credentials.
    pub(crate) fn remember_credentials(&self, repository: &str, credentials: Credentials) {
        let mut state = self.lock();
        state.credentials.insert(repository.to_owned(), credentials);
    }

    /// The place of the token for a set of scopes.
    pub(crate) fn token(&self, scopes: &str) -> SharedToken {
        let mut state = self.lock();
        Arc::clone(state.tokens.entry(scopes.to_owned()).or_default())
    }

    /// A number that no token of this host had.
    pub(crate) fn next_generation(&self) -> Generation {
        self.generations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Keeps a token out of messages from now on.
    pub(crate) fn remember_secrets(&self, secrets: Secrets) {
        let mut state = self.lock();
        state.token_texts.push_front(secrets);
        state.token_texts.truncate(SECRET_TOKENS_MAX);
    }

    /// All that must appear in no message.
    pub(crate) fn secrets(&self) -> Secrets {
        let state = self.lock();
        let credentials = state.credentials.values().map(Credentials::secrets);
        let tokens = state.token_texts.iter().cloned();
        credentials.chain(tokens).collect()
    }

    /// True if it is known that nothing can be mounted from one repository into another.
    pub(crate) fn is_mount_refused(&self, into: &str, from: &str) -> bool {
        let pair = (into.to_owned(), from.to_owned());
        self.lock().refused_mounts.contains(&pair)
    }

    /// Nothing can be mounted from one repository into another: nobody has to ask again.
    pub(crate) fn refuses_mounts(&self, into: &str, from: &str) {
        let pair = (into.to_owned(), from.to_owned());
        self.lock().refused_mounts.insert(pair);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, insecure: bool) -> Host {
        let options = ClientOptions {
            insecure,
            ..ClientOptions::default()
        };
        Host::new(name, &options).unwrap()
    }

    #[test]
    fn names_become_urls() {
        for (name, insecure, expected) in [
            ("h.example", false, "https://h.example/v2/"),
            ("h.example:5000", true, "https://h.example:5000/v2/"),
            ("docker.io", false, "https://registry-1.docker.io/v2/"),
            ("127.0.0.1:5000", false, "http://127.0.0.1:5000/v2/"),
            ("[::1]:5000", true, "http://[::1]:5000/v2/"),
        ] {
            let url = host(name, insecure).url("v2/").unwrap();
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn only_a_guess_is_changed_by_an_answer() {
        let known = host("h.example", false);
        let behind_a_proxy = "http://h.example/x?_state=s".parse().unwrap();
        let corrected = known.corrected(behind_a_proxy);
        assert_eq!(corrected.as_str(), "https://h.example/x?_state=s");
        let guessed = host("127.0.0.1:80", false);
        let url = guessed.url("x").unwrap();
        let other = guessed.other_way(&url).unwrap();
        assert_eq!(other.as_str(), "https://127.0.0.1:80/x");
        assert_eq!(known.other_way(&known.url("x").unwrap()), None);

        let guessed = host("127.0.0.1:5000", false);
        let url = guessed.url("x").unwrap();
        let other = guessed.other_way(&url).unwrap();
        assert_eq!(other.as_str(), "https://127.0.0.1:5000/x");
        guessed.settle(&other);
        assert_eq!(guessed.url("x").unwrap(), other);
        assert_eq!(guessed.corrected(url.clone()), other);
        assert!(guessed.is_own(&other) && !guessed.is_own(&url));
        guessed.settle(&url);
        assert_eq!(guessed.url("x").unwrap(), other, "the first answer decides");
        let elsewhere: Url = "http://127.0.0.1:5001/x".parse().unwrap();
        assert_eq!(guessed.corrected(elsewhere.clone()), elsewhere);
    }

    #[test]
    fn methods_only_go_down() {
        let host = host("h.example", false);
        host.refuses_method(UploadMethod::Streamed);
        assert_eq!(host.upload_method(), UploadMethod::Chunked);
        host.refuses_method(UploadMethod::Streamed);
        assert_eq!(host.upload_method(), UploadMethod::Chunked);
        host.refuses_method(UploadMethod::Chunked);
        host.refuses_method(UploadMethod::Streamed);
        assert_eq!(host.upload_method(), UploadMethod::Whole);
    }

    #[test]
    fn secrets_are_those_of_everybody() {
        let host = host("h.example", false);
        host.remember_credentials("a", Credentials::RegistryToken("one".to_owned()));
        host.remember_secrets(Secrets::new(["two".to_owned()]));
        let cleaned = host.secrets().clean("one two three");
        assert!(!cleaned.contains("one") && !cleaned.contains("two"));
        assert!(!format!("{host:?}").contains("two"));
    }
}
