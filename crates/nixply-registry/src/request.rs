//! One request: sent, authorized, redirected, refused, tried again.
//!
//! ```text
//! Repository::ask        tries again what may work at another time
//!   Repository::send     one try: waits for its turn, answers a 401, follows redirects, finds out whether the host speaks TLS
//!     exchange           one request on the wire: keeps the time, tells the observer
//! ```

use crate::authenticate::{Authorization, Scopes};
use crate::client::RequestEvent;
use crate::host::Host;
use crate::limit::Permit;
use crate::outgoing::{Meter, Outgoing, Progress};
use crate::redact::{Secrets, clean_url};
use crate::repository::Repository;
use crate::retry::{Again, Failure, again_after, backoff};
use crate::{Refusal, RegistryError, Subject};
use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Request, Response, StatusCode, Url};
use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many bytes of a refusal or a token answer are read.
const SHORT_BODY_MAX_BYTES: usize = 64 << 10;

/// How many redirects are followed (RFC 9110 section 15.4 asks for a limit and names none).
const REDIRECTS_MAX: usize = 5;

/// How many refusals for want of authorization a request answers: the first, one of an old token, one of the token
/// after that.
const CHALLENGES_MAX: usize = 3;

/// How many bytes of a file are read at once.
const FILE_SEGMENT_BYTES: usize = 256 << 10;

/// How much longer than another answer one may take for which the registry moves a blob.
const STORAGE_PATIENCE: u32 = 5;

/// A body that can be sent any number of times.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// None, but with its length, which some registries ask for.
    Empty,
    /// A short one.
    Bytes(Bytes),
    /// A blob in memory, or a part of one: where it begins, its segments, and who hears how far it is.
    Segments(u64, Vec<Bytes>, Arc<Meter>),
    /// A blob of so many bytes in a file.
    File(Arc<File>, u64, Arc<Meter>),
}

impl Payload {
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Segments(_, segments, _) => {
                segments.iter().map(|segment| segment.len() as u64).sum()
            }
            Self::File(_, size_bytes, _) => *size_bytes,
        }
    }

    fn body(&self, repository: &Repository) -> (Option<Body>, Arc<Progress>) {
        let progress = Progress::new();
        let shared = &repository.shared;
        let body = match self {
            Self::Empty => return (None, Progress::gone()),
            Self::Bytes(bytes) => {
                shared.counters.sent(bytes.len());
                return (Some(Body::from(bytes.clone())), Progress::gone());
            }
            Self::Segments(position, segments, meter) => {
                let segments = stream::iter(segments.clone().into_iter().map(Ok));
                let meter = Some(Arc::clone(meter));
                Body::wrap_stream(Outgoing::new(segments, *position, meter, &progress, shared))
            }
            Self::File(file, size_bytes, meter) => {
                let segments = Box::pin(file_segments(Arc::clone(file), *size_bytes));
                let meter = Some(Arc::clone(meter));
                Body::wrap_stream(Outgoing::new(segments, 0, meter, &progress, shared))
            }
        };
        (Some(body), progress)
    }
}

/// Reads a file from its start, by position: a file that is sent twice at once has one cursor.
fn file_segments(
    file: Arc<File>,
    size_bytes: u64,
) -> impl futures_util::Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(0, move |position: u64| {
        let file = Arc::clone(&file);
        async move {
            let left = usize::try_from(size_bytes - position).unwrap_or(usize::MAX);
            if left == 0 {
                return Ok(None);
            }
            let read = move || {
                let mut segment = vec![0; left.min(FILE_SEGMENT_BYTES)];
                file.read_exact_at(&mut segment, position)?;
                io::Result::Ok(Bytes::from(segment))
            };
            let segment = tokio::task::spawn_blocking(read).await??;
            let next = position + segment.len() as u64;
            Ok(Some((segment, next)))
        }
    })
}

/// A request that can be sent any number of times.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) subject: &'a Subject,
    headers: HeaderMap,
    payload: Payload,
    /// What a token has to be good for, where it is not what the repository's requests usually need.
    scopes: Option<Scopes>,
    waits_for_storage: bool,
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, url: Url, subject: &'a Subject) -> Self {
        Self {
            method,
            url,
            subject,
            headers: HeaderMap::new(),
            payload: Payload::Empty,
            scopes: None,
            waits_for_storage: false,
        }
    }

    pub(crate) fn headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    pub(crate) fn payload(self, payload: Payload) -> Self {
        Self { payload, ..self }
    }

    pub(crate) fn scopes(self, scopes: Scopes) -> Self {
        let scopes = Some(scopes);
        Self { scopes, ..self }
    }

    /// The registry moves a blob before it answers.
    pub(crate) fn waits_for_storage(self) -> Self {
        Self {
            waits_for_storage: true,
            ..self
        }
    }

    pub(crate) fn named(&self) -> Named<'_> {
        Named {
            subject: self.subject,
            method: method_name(&self.method),
            url: &self.url,
        }
    }
}

/// A request as errors name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) method: &'static str,
    pub(crate) url: &'a Url,
}

impl Named<'_> {
    /// The answer is none that the specification allows.
    pub(crate) fn protocol(&self, problem: String) -> RegistryError {
        RegistryError::Protocol {
            subject: Box::new(self.subject.clone()),
            method: self.method,
            url: clean_url(self.url),
            problem,
        }
    }

    /// The answer has another status than the specification allows.
    pub(crate) fn unexpected(&self, expected_status: u16, answer: &Response) -> RegistryError {
        let found = answer.status().as_u16();
        self.protocol(format!("expected status {expected_status}, found {found}"))
    }

    /// No answer came.
    pub(crate) fn transport(&self, source: Box<dyn Error + Send + Sync>) -> RegistryError {
        RegistryError::Transport {
            subject: Box::new(self.subject.clone()),
            method: self.method,
            url: clean_url(self.url),
            source,
            tries: 1,
        }
    }

    /// An answer broke off.
    pub(crate) fn broken(&self, source: Box<dyn Error + Send + Sync>) -> RegistryError {
        RegistryError::Broken {
            subject: Box::new(self.subject.clone()),
            source,
            tries: 1,
        }
    }

    fn refused(&self, status: StatusCode, body: &str) -> RegistryError {
        let status = Some(status.as_u16());
        let url = clean_url(self.url);
        let refusal = Refusal::new(self.subject.clone(), self.method, url, status, body);
        RegistryError::Refused(Box::new(refusal))
    }
}

/// How often something was tried, and whether it is tried again.
pub(crate) struct Tries<'a> {
    repository: &'a Repository,
    failures: u32,
}

impl Tries<'_> {
    /// Waits for the next try, and gives the error back that it is for. The error if there is none.
    pub(crate) async fn again(&mut self, failure: Failure) -> Result<RegistryError, RegistryError> {
        self.failures += 1;
        let shared = &self.repository.shared;
        match shared.retries.wait(failure.again, self.failures) {
            Some(wait) => {
                shared.tell(&RequestEvent::Retrying {
                    reason: &failure.error.to_string(),
                    failures: self.failures,
                    wait,
                });
                tokio::time::sleep(wait).await;
                Ok(failure.error)
            }
            None => Err(failure.error.tried(self.failures)),
        }
    }
}

impl Repository {
    /// Nothing was tried yet.
    pub(crate) fn tries(&self) -> Tries<'_> {
        self.tries_after(0)
    }

    /// So often it was tried already.
    pub(crate) fn tries_after(&self, failures: u32) -> Tries<'_> {
        Tries {
            repository: self,
            failures,
        }
    }

    /// Sends a request until it gets an answer of success, or one that would not change.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let mut tries = self.tries();
        loop {
            match self.send(ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.again(failure).await?,
            };
        }
    }

    /// Sends a request once.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let scopes = ask.scopes.as_ref().unwrap_or(self.scopes());
        let mut url = ask.url.clone();
        let (mut challenges, mut redirects) = (0, 0);
        loop {
            let turn = self.turn().await;
            url = self.host.corrected(url);
            // Not before its turn has come: a token may be known by then, or another one.
            let authorization = self.authorization_for(&url, scopes).await?;
            let (at, answer) = self
                .exchange_somehow(ask, url, authorization.as_ref())
                .await?;
            drop(turn);
            url = at;
            let status = answer.status();
            if redirects < REDIRECTS_MAX
                && let Some(next) = redirect(&ask.method, &answer)
            {
                redirects += 1;
                url = next;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED
                && challenges < CHALLENGES_MAX
                && self.host.is_own(&url)
            {
                challenges += 1;
                let headers = answer.headers();
                let refused = authorization.as_ref();
                if self.challenged(headers, scopes, refused).await? {
                    continue;
                }
            }
            let named = Named {
                url: &url,
                ..ask.named()
            };
            return self.accepted(named, answer).await;
        }
    }

    /// Waits for the turn of a request, for as long as it is kept.
    pub(crate) async fn turn(&self) -> (Permit, Permit) {
        let of_host = self.host.limiter.acquire().await;
        (of_host, self.shared.limiter.acquire().await)
    }

    /// Sends a request once, as it is and at once: to a token service, for a request that has its turn.
    pub(crate) async fn send_as_it_is(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let answer = self.exchange(ask, ask.url.clone(), None).await?;
        self.accepted(ask.named(), answer).await
    }

    /// Sends a request to a host of which it is perhaps not known yet whether it speaks TLS. Returns the URL that was
    /// answered, too.
    ///
    /// There is no request just to find that out: the first that is needed is sent in the likely way, and in the other
    /// one if what comes back looks as if that was wrong.
    async fn exchange_somehow(
        &self,
        ask: &Ask<'_>,
        url: Url,
        authorization: Option<&Authorization>,
    ) -> Result<(Url, Response), Failure> {
        let result = self.exchange(ask, url.clone(), authorization).await;
        let looks_wrong = match &result {
            // What Go's and nginx's TLS servers say to plain HTTP.
            Ok(answer) => url.scheme() == "http" && answer.status() == StatusCode::BAD_REQUEST,
            Err(_) => true,
        };
        if looks_wrong && let Some(other) = self.host.other_way(&url) {
            match self.exchange(ask, other.clone(), authorization).await {
                Ok(answer) => {
                    self.host.settle(&other);
                    return Ok((other, answer));
                }
                // It does speak TLS, and its certificate is the trouble.
                Err(failure) if failure.error.is_certificate() => return Err(failure),
                // Nor is this a matter of the way: a file with certificates is none, for example.
                Err(failure) if !failure.error.is_network_or_registry() => return Err(failure),
                Err(_) => {}
            }
        }
        let answer = result?;
        self.host.settle(&url);
        Ok((url, answer))
    }

    /// Sends a request once on the wire.
    async fn exchange(
        &self,
        ask: &Ask<'_>,
        url: Url,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Failure> {
        let (body, progress) = ask.payload.body(self);
        let mut request = Request::new(ask.method.clone(), url);
        *request.headers_mut() = ask.headers.clone();
        if body.is_some() || ask.method != Method::GET && ask.method != Method::HEAD {
            let size_bytes = HeaderValue::from(ask.payload.size_bytes());
            request.headers_mut().insert(CONTENT_LENGTH, size_bytes);
        }
        *request.body_mut() = body;
        self.exchange_request(ask, request, &progress, authorization)
            .await
    }

    /// Sends a request whose body may be one that can be sent only once.
    pub(crate) async fn exchange_request(
        &self,
        ask: &Ask<'_>,
        mut request: Request,
        progress: &Progress,
        authorization: Option<&Authorization>,
    ) -> Result<Response, Failure> {
        if let Some(authorization) = authorization {
            let header = authorization.header.clone();
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        let url = request.url().clone();
        let named = Named {
            url: &url,
            ..ask.named()
        };
        let client = self.shared.transports.client_for(&url)?;
        let options = &self.shared.options;
        let patience = if ask.waits_for_storage {
            STORAGE_PATIENCE * options.first_byte_timeout
        } else {
            options.first_byte_timeout
        };
        // A connection may have to be opened first.
        let stall = options.stall_timeout.max(options.connect_timeout);
        self.shared.counters.request();
        let started = Instant::now();
        let result = tokio::select! {
            biased;
            answer = client.execute(request) => answer.map_err(|error| error.without_url().into()),
            limit = progress.expired(patience + options.connect_timeout, stall) => {
                let waited_for = if progress.has_gone() { "no answer" } else { "no byte moved" };
                let problem = format!("{waited_for} for {} seconds", limit.as_secs_f32());
                Err(io::Error::new(io::ErrorKind::TimedOut, problem).into())
            }
        };
        let duration = started.elapsed();
        match result {
            Ok(answer) => {
                self.answered(&named, &answer, started, duration);
                Ok(answer)
            }
            Err(source) => Err(self.unanswered(&named, source, duration)),
        }
    }

    fn answered(&self, named: &Named<'_>, answer: &Response, started: Instant, duration: Duration) {
        let status = answer.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let pause = match again_after(status, answer.headers()) {
                Again::After(wait) => wait,
                _ => backoff(1),
            };
            self.host.limiter.throttled(started, pause);
        } else if !status.is_server_error() {
            self.host.limiter.answered();
        }
        self.shared.tell(&RequestEvent::Answered {
            method: named.method,
            url: &clean_url(named.url),
            status: status.as_u16(),
            duration,
        });
    }

    fn unanswered(
        &self,
        named: &Named<'_>,
        source: Box<dyn Error + Send + Sync>,
        duration: Duration,
    ) -> Failure {
        self.shared.tell(&RequestEvent::Failed {
            method: named.method,
            url: &clean_url(named.url),
            reason: &causes(source.as_ref()),
            duration,
        });
        let error = named.transport(source);
        let again = if error.is_tls() {
            Again::Never
        } else if self.host.has_answered() {
            Again::Backoff
        } else {
            Again::FirstContact
        };
        Failure { error, again }
    }

    /// An answer of success, or the refusal that it is.
    pub(crate) async fn accepted(
        &self,
        named: Named<'_>,
        answer: Response,
    ) -> Result<Response, Failure> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let again = again_after(status, answer.headers());
        // A body that breaks off is left out: the status says enough.
        let body = self.short_body(answer).await.unwrap_or_default();
        let query = Secrets::new(named.url.query().map(str::to_owned));
        let secrets: Secrets = [self.host.secrets(), query].into_iter().collect();
        Err(Failure {
            error: named.refused(status, &secrets.clean(&body)),
            again,
        })
    }

    /// The beginning of a body that is short by nature.
    pub(crate) async fn short_body(
        &self,
        mut answer: Response,
    ) -> Result<String, Box<dyn Error + Send + Sync>> {
        let mut body = Vec::new();
        while let Some(segment) = self.next_segment(&mut answer).await? {
            body.extend_from_slice(&segment);
            if body.len() >= SHORT_BODY_MAX_BYTES {
                body.truncate(SHORT_BODY_MAX_BYTES);
                break;
            }
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// The next bytes of an answer's body, which may not stand still for ever.
    pub(crate) async fn next_segment(
        &self,
        answer: &mut Response,
    ) -> Result<Option<Bytes>, Box<dyn Error + Send + Sync>> {
        let limit = self.shared.options.stall_timeout;
        match tokio::time::timeout(limit, answer.chunk()).await {
            Ok(Ok(segment)) => {
                if let Some(segment) = &segment {
                    self.shared.counters.received(segment.len());
                }
                Ok(segment)
            }
            Ok(Err(error)) => Err(error.without_url().into()),
            Err(_) => {
                let problem = format!("no byte moved for {} seconds", limit.as_secs_f32());
                Err(io::Error::new(io::ErrorKind::TimedOut, problem).into())
            }
        }
    }
}

/// Where a redirect goes, if it is one that may be followed.
///
/// A question may go anywhere; an upload only where the method and the body stay what they are (RFC 9110
/// sections 15.4.8 and 15.4.9). Nobody is sent from HTTPS to plain HTTP.
fn redirect(method: &Method, answer: &Response) -> Option<Url> {
    let status = answer.status();
    let is_question = matches!(*method, Method::GET | Method::HEAD);
    let keeps_method = matches!(status.as_u16(), 307 | 308);
    let goes_elsewhere = matches!(status.as_u16(), 301..=303);
    let may_be_followed = keeps_method || is_question && goes_elsewhere;
    if !may_be_followed {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let next = answer.url().join(location).ok()?;
    let is_web = matches!(next.scheme(), "http" | "https");
    let is_downgrade = answer.url().scheme() == "https" && next.scheme() == "http";
    (is_web && !is_downgrade).then_some(next)
}

/// An error and what is behind it, on one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = all.map(ToString::to_string).collect();
    texts.join(": ")
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

/// Where an upload goes on, as an answer says.
pub(crate) fn location_of(
    host: &Host,
    named: &Named<'_>,
    answer: &Response,
) -> Result<Url, RegistryError> {
    let location = answer.headers().get(LOCATION);
    let Some(location) = location.and_then(|location| location.to_str().ok()) else {
        return Err(named.protocol("expected a Location header".to_owned()));
    };
    let url = answer
        .url()
        .join(location)
        .map_err(|error| named.protocol(format!("expected a URL as location: {error}")))?;
    // Behind a proxy that ends TLS, many registries think that they speak plain HTTP.
    Ok(host.corrected(url))
}
