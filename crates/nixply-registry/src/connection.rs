//! One repository of one registry: where it is, who asks, and the questions that need no upload.

use crate::challenge::{Challenge, TokenService};
use crate::credentials::Credentials;
use crate::identity;
use crate::oci_error::Request;
use crate::redact::{Secrets, clean_url};
use crate::transport::{ANSWER_TIMEOUT, Transport};
use crate::{Refusal, RegistryError, Subject};
use nixply_oci::{Digest, ImageReference};
use oci_client::token_cache::{RegistryToken, RegistryTokenType};
use oci_client::{Client, Reference, RegistryOperation};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// When a token is asked for anew: half of the shortest life that distribution's token specification allows.
const TOKEN_MAX_AGE: Duration = Duration::from_secs(30);

/// How many bytes of a refusal or a token answer are read.
const SHORT_BODY_MAX_BYTES: usize = 16 << 10;

/// What a repository has under a blob's digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundBlob {
    /// Nothing.
    Nothing,
    /// The blob, as far as the registry tells.
    Whole,
    /// Something of another size than was expected: it is damaged, or the expectation is wrong.
    OtherSize,
}

/// A repository that one of [`ImageReference`]s is in.
pub(crate) struct Repository {
    reference: Reference,
    base: Url,
    /// For uploads, which oci-client cannot do in the way that is needed.
    http: reqwest::Client,
    /// For everything else. It is given credentials only where the registry wants them: it would otherwise ask for a
    /// challenge before every single request.
    oci: Client,
    credentials: Credentials,
    operation: RegistryOperation,
    /// The current `Authorization` header, and since when.
    authorization: Mutex<Option<(Instant, Option<HeaderValue>)>>,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("base", &self.base.as_str())
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Finds out how the registry is spoken to. Without `insecure` no request is made.
    pub(crate) async fn connect(
        image: &ImageReference,
        credentials: &Credentials,
        insecure: bool,
        operation: RegistryOperation,
    ) -> Result<Self, RegistryError> {
        // Another provider may be installed already by the program that uses this crate; that one then serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let reference = match image.digest() {
            Some(digest) => Reference::with_digest(
                image.host().to_owned(),
                image.repository().to_owned(),
                digest.to_string(),
            ),
            None => Reference::with_tag(
                image.host().to_owned(),
                image.repository().to_owned(),
                image.tag().unwrap_or_default().to_owned(),
            ),
        };
        let host = reference.resolve_registry().to_owned();
        let transport = Transport::choose(&host, image.is_loopback(), insecure).await?;
        let base = transport.base_url(&host, &format!("v2/{}/", image.repository()))?;
        Ok(Self {
            // In this order: oci-client panics on a system without certificate authorities, where this one fails.
            http: transport.http_client()?,
            oci: transport.oci_client()?,
            reference,
            base,
            credentials: credentials.clone(),
            operation,
            authorization: Mutex::default(),
        })
    }

    /// The URL of something in the repository.
    pub(crate) fn url(&self, path: &str, subject: &Subject) -> Result<Url, RegistryError> {
        join(&self.base, path, "GET", subject)
    }

    /// Sends a request that oci-client cannot send, and reads the refusal if there is one.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        subject: &Subject,
        finish: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let method_name = method_name(&method);
        let mut builder = self.http.request(method, url.clone());
        if self.is_own(&url)
            && let Some(authorization) = self.authorization().await?
        {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        let response = finish(builder)
            .send()
            .await
            .map_err(|error| request(subject, method_name, &url).http(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.secrets().await.clean(&short_body(response).await);
        Err(RegistryError::Refused(Box::new(Refusal::new(
            subject.clone(),
            method_name,
            clean_url(&url),
            Some(status),
            &body,
        ))))
    }

    /// Upload locations may be elsewhere, and credentials never go elsewhere (distribution-spec v1.1.1, "Pushing
    /// blobs").
    fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Asks whether the repository has a blob of this size.
    ///
    /// oci-client asks this, too, but does not tell the size.
    pub(crate) async fn find_blob(
        &self,
        digest: Digest,
        size_bytes: u64,
        subject: &Subject,
    ) -> Result<FoundBlob, RegistryError> {
        let url = self.url(&format!("blobs/{digest}"), subject)?;
        let answer = self
            .send(Method::HEAD, url, subject, |request| {
                request.timeout(ANSWER_TIMEOUT)
            })
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(RegistryError::Refused(refusal)) if refusal.status == Some(404) => {
                return Ok(FoundBlob::Nothing);
            }
            Err(error) => return Err(error),
        };
        let length = answer.headers().get(CONTENT_LENGTH);
        let found: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Ok(match found {
            // No blob here is empty: this is how servers that do not know answer a `HEAD`.
            None | Some(0) => FoundBlob::Whole,
            Some(found) if found == size_bytes => FoundBlob::Whole,
            Some(_) => FoundBlob::OtherSize,
        })
    }

    /// Reads a manifest or an index, whose digest oci-client checks.
    pub(crate) async fn manifest(
        &self,
        image: &ImageReference,
        subject: &Subject,
        media_types: &[&str],
    ) -> Result<bytes::Bytes, RegistryError> {
        let (name, reference) = match (image.digest(), image.tag()) {
            (Some(digest), _) => {
                let name = digest.to_string();
                (name.clone(), self.reference.clone_with_digest(name))
            }
            (None, Some(tag)) => (
                tag.to_owned(),
                Reference::with_tag(
                    image.host().to_owned(),
                    image.repository().to_owned(),
                    tag.to_owned(),
                ),
            ),
            (None, None) => {
                return Err(RegistryError::NoTagOrDigest {
                    reference: Box::new(image.clone()),
                });
            }
        };
        let url = self.url(&format!("manifests/{name}"), subject)?;
        let client = self.oci_client().await?;
        let auth = self.credentials.registry_auth();
        match client
            .pull_manifest_raw(&reference, &auth, media_types)
            .await
        {
            Ok((bytes, _)) => Ok(bytes),
            Err(error) => Err(request(subject, "GET", &url).failed(error, &self.secrets().await)),
        }
    }

    /// Opens a blob. The stream ends in an error if the bytes do not have the digest.
    pub(crate) async fn blob(
        &self,
        digest: Digest,
        subject: &Subject,
    ) -> Result<oci_client::client::SizedStream, RegistryError> {
        let url = self.url(&format!("blobs/{digest}"), subject)?;
        let client = self.oci_client().await?;
        match client
            .pull_blob_stream(&self.reference, digest.to_string().as_str())
            .await
        {
            Ok(stream) => Ok(stream),
            Err(error) => Err(request(subject, "GET", &url).failed(error, &self.secrets().await)),
        }
    }

    /// oci-client, which knows by now who asks.
    async fn oci_client(&self) -> Result<&Client, RegistryError> {
        self.authorization().await?;
        Ok(&self.oci)
    }

    /// The `Authorization` header, fresh enough for a request that starts now.
    async fn authorization(&self) -> Result<Option<HeaderValue>, RegistryError> {
        let mut current = self.authorization.lock().await;
        if let Some((since, header)) = current.as_ref()
            && (header.is_none() || since.elapsed() < TOKEN_MAX_AGE)
        {
            return Ok(header.clone());
        }
        let since = Instant::now();
        let header = self.authenticate().await?;
        *current = Some((since, header.clone()));
        Ok(header)
    }

    /// Asks the registry what it wants to know, and gets a token where it wants one.
    async fn authenticate(&self) -> Result<Option<HeaderValue>, RegistryError> {
        let host = self.reference.resolve_registry();
        let subject = Subject::Registry {
            host: host.to_owned(),
        };
        let ping = join(&self.base, "/v2/", "GET", &subject)?;
        let ping_failed = |error| request(&subject, "GET", &ping).http(error);
        let answer = self.http.get(ping.clone()).timeout(ANSWER_TIMEOUT);
        let answer = answer.send().await.map_err(ping_failed)?;
        match (Challenge::of(answer.headers()), &self.credentials) {
            (Challenge::Bearer(service), _) => {
                let token = self.token(&service, &ping, &subject).await?;
                let header = format!("Bearer {token}");
                let cached = RegistryTokenType::Bearer(RegistryToken::Token { token });
                self.authorize(&header, cached, &subject).await.map(Some)
            }
            (Challenge::Basic, Credentials::Basic { username, password }) => {
                let header = format!("Basic {}", Credentials::basic_value(username, password));
                let cached = RegistryTokenType::Basic(username.clone(), password.clone());
                self.authorize(&header, cached, &subject).await.map(Some)
            }
            (_, Credentials::RegistryToken(token)) => {
                let header = format!("Bearer {token}");
                let token = token.clone();
                let cached = RegistryTokenType::Bearer(RegistryToken::Token { token });
                self.authorize(&header, cached, &subject).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A token for this repository.
    async fn token(
        &self,
        service: &TokenService,
        ping: &Url,
        subject: &Subject,
    ) -> Result<String, RegistryError> {
        let has_secrets = self.credentials != Credentials::Anonymous;
        if has_secrets && !service.may_know_secrets(ping) {
            return Err(RegistryError::Authentication {
                host: self.reference.resolve_registry().to_owned(),
                message: format!(
                    "its token service {} would get the password in the clear",
                    clean_url(&service.realm)
                ),
            });
        }
        if let Credentials::IdentityToken(identity_token) = &self.credentials {
            let scope = identity::scope(&self.reference, self.operation);
            return identity::exchange(&self.http, service, subject, &scope, identity_token).await;
        }
        let auth = self.credentials.registry_auth();
        let token = self.oci.auth(&self.reference, &auth, self.operation).await;
        let token = token.map_err(|error| self.no_token(request(subject, "GET", ping), error))?;
        token.ok_or_else(|| RegistryError::Authentication {
            host: self.reference.resolve_registry().to_owned(),
            message: "it asks for a token at one time and not at another".to_owned(),
        })
    }

    /// Has oci-client say who asks, and returns the header that says so.
    async fn authorize(
        &self,
        header: &str,
        cached: RegistryTokenType,
        subject: &Subject,
    ) -> Result<HeaderValue, RegistryError> {
        let host = self.reference.resolve_registry();
        let mut header =
            HeaderValue::from_str(header).map_err(|_| RegistryError::Authentication {
                host: host.to_owned(),
                message: format!("{subject} takes a token or password that no header can hold"),
            })?;
        header.set_sensitive(true);
        let auth = self.credentials.registry_auth();
        self.oci.store_auth_if_needed(host, &auth).await;
        // One token serves reading and writing: oci-client would otherwise get a second one for its questions.
        for operation in [RegistryOperation::Pull, RegistryOperation::Push] {
            let tokens = &self.oci.tokens;
            tokens
                .insert(&self.reference, operation, cached.clone())
                .await;
        }
        Ok(header)
    }

    fn no_token(
        &self,
        request: Request,
        error: oci_client::errors::OciDistributionError,
    ) -> RegistryError {
        use oci_client::errors::OciDistributionError as E;
        let secrets = self.credentials.secrets();
        match error {
            E::AuthenticationFailure(message) | E::RegistryTokenDecodeError(message) => {
                let (subject, url) = (request.subject, request.url);
                let message = secrets.clean(&message);
                let refusal = Refusal::new(subject, request.method, url, None, &message);
                RegistryError::Authentication {
                    host: self.reference.resolve_registry().to_owned(),
                    message: refusal.words(),
                }
            }
            other => request.failed(other, &secrets),
        }
    }

    /// The credentials' secrets and the current token.
    async fn secrets(&self) -> Secrets {
        let token = self
            .authorization
            .lock()
            .await
            .as_ref()
            .and_then(|(_, header)| header.as_ref()?.to_str().ok().map(str::to_owned));
        let token = token.and_then(|header| header.split_once(' ').map(|(_, t)| t.to_owned()));
        self.credentials.secrets().and(token)
    }
}

/// A URL that an answer gave, absolute or relative to the URL of the request.
pub(crate) fn join(
    base: &Url,
    location: &str,
    method: &'static str,
    subject: &Subject,
) -> Result<Url, RegistryError> {
    base.join(location)
        .map_err(|error| RegistryError::Protocol {
            subject: Box::new(subject.clone()),
            method,
            url: clean_url(base),
            problem: format!("expected a URL as location: {error}"),
        })
}

/// A request as errors name it.
pub(crate) fn request(subject: &Subject, method: &'static str, url: &Url) -> Request {
    Request {
        subject: subject.clone(),
        method,
        url: clean_url(url),
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        _ => "GET",
    }
}

/// The beginning of a body that is short by nature; what cannot be read is left out, the status says enough.
pub(crate) async fn short_body(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() >= SHORT_BODY_MAX_BYTES {
            break;
        }
    }
    body.truncate(SHORT_BODY_MAX_BYTES);
    String::from_utf8_lossy(&body).into_owned()
}
