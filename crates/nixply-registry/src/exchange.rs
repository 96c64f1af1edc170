//! One request on the wire, and what comes back.

use crate::authenticate::Authorization;
use crate::client::RequestEvent;
use crate::outgoing::Progress;
use crate::redact::{Secrets, clean_url};
use crate::repository::Repository;
use crate::request::{Ask, Named};
use crate::retry::{Again, Failure, again_after, backoff};
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

/// How many bytes of a refusal or a token answer are read.
const SHORT_BODY_MAX_BYTES: usize = 64 << 10;

/// How much longer than another answer one may take for which the registry moves a blob.
const STORAGE_PATIENCE: u32 = 5;

impl Repository {
    /// Sends a request once on the wire.
    pub(crate) async fn exchange(
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

/// An error and what is behind it, on one line.
fn causes(error: &(dyn Error + 'static)) -> String {
    let all = std::iter::successors(Some(error), |&error| error.source());
    let texts: Vec<String> = all.map(ToString::to_string).collect();
    texts.join(": ")
}
