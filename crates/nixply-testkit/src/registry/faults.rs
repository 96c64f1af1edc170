//! What can go wrong between a client and a registry, and when.

use super::http::Answer;
use super::message::{Head, RequestHead};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A step of the protocol (distribution-spec v1.1.1, "Endpoints").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// A connection is opened.
    Connect,
    /// `GET /v2/`
    Ping,
    /// `HEAD` of a blob.
    BlobHead,
    /// `GET` of a blob.
    BlobGet,
    /// `POST`: an upload session is opened.
    UploadStart,
    /// `POST` with `mount`.
    Mount,
    /// `PATCH` of an upload session.
    UploadPatch,
    /// `PUT` of an upload session.
    UploadPut,
    /// `GET` of an upload session: how far it has come.
    UploadStatus,
    /// `DELETE` of an upload session.
    UploadCancel,
    /// `HEAD` of a manifest.
    ManifestHead,
    /// `GET` of a manifest.
    ManifestGet,
    /// `PUT` of a manifest.
    ManifestPut,
    /// Anything else.
    Other,
}

impl Phase {
    /// The steps of a push that are requests.
    pub const REQUESTS: [Self; 10] = [
        Self::BlobHead,
        Self::BlobGet,
        Self::UploadStart,
        Self::Mount,
        Self::UploadPatch,
        Self::UploadPut,
        Self::UploadStatus,
        Self::ManifestHead,
        Self::ManifestGet,
        Self::ManifestPut,
    ];

    /// The step that a request is.
    pub(super) fn of(method: &str, path: &str, query: &str) -> Self {
        if path == "/v2/" {
            return Self::Ping;
        }
        if path.contains("/blobs/uploads/") {
            return match method {
                "POST" if query.split('&').any(|pair| pair.starts_with("mount=")) => Self::Mount,
                "POST" => Self::UploadStart,
                "PATCH" => Self::UploadPatch,
                "PUT" => Self::UploadPut,
                "GET" => Self::UploadStatus,
                "DELETE" => Self::UploadCancel,
                _ => Self::Other,
            };
        }
        match (
            method,
            path.contains("/manifests/"),
            path.contains("/blobs/"),
        ) {
            ("HEAD", true, _) => Self::ManifestHead,
            ("GET", true, _) => Self::ManifestGet,
            ("PUT", true, _) => Self::ManifestPut,
            ("HEAD", _, true) => Self::BlobHead,
            ("GET", _, true) => Self::BlobGet,
            _ => Self::Other,
        }
    }
}

/// Gives an answer in the registry's place, or `None` to let it answer.
pub type AnswerFunction = dyn Fn(&RequestHead) -> Option<Answer> + Send + Sync;

/// What happens instead of the request that a [`Rule`] meets. Counts of bytes are of bodies, out of their chunks.
#[derive(Clone)]
#[non_exhaustive]
pub enum Fault {
    /// The connection is reset after this much of the request's body has gone on to the registry; with 0, the registry
    /// hears nothing at all.
    ResetRequest {
        /// What goes on.
        after_bytes: u64,
    },
    /// The registry does as it is asked, and the connection is reset after this much of the body of its answer; with 0,
    /// the client gets no answer at all.
    ResetAnswer {
        /// What reaches the client.
        after_bytes: u64,
    },
    /// The answer's body ends early, by an orderly end of the connection.
    TruncateAnswer {
        /// What reaches the client.
        after_bytes: u64,
    },
    /// Nothing moves any more after this much of the request's body, and in the end the connection is reset.
    StallRequest {
        /// What goes on.
        after_bytes: u64,
        /// How long nothing moves.
        lasting: Duration,
    },
    /// The answer waits for this long after so much of its body; then it goes on.
    StallAnswer {
        /// What reaches the client before.
        after_bytes: u64,
        /// How long nothing moves.
        lasting: Duration,
    },
    /// The request's body goes on at this speed.
    Slow {
        /// Bytes of the body a second.
        bytes_per_second: u64,
    },
    /// The proxy takes the request's body and answers itself; the registry hears nothing.
    Answer(Answer),
    /// As [`Answer`](Self::Answer), but before the body was read, as servers do who look at headers first.
    EarlyAnswer(Answer),
    /// The proxy answers itself if the function has an answer.
    AnswerWith(Arc<AnswerFunction>),
    /// The registry's answer is changed before the client gets it.
    Change(Arc<dyn Fn(&mut Head) + Send + Sync>),
    /// A mount is turned into the start of an upload, as by a registry that mounts nothing.
    RefuseMount,
}

impl Fault {
    /// An answer with a status and the error form that registries use.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Answer(Answer::refusal(status, "FAULT", "the proxy refuses"))
    }

    /// 429, with `Retry-After` if there is a value for it.
    #[must_use]
    pub fn too_many_requests(retry_after: Option<&str>) -> Self {
        let answer = Answer::refusal(429, "TOOMANYREQUESTS", "the proxy says: slow down");
        Self::Answer(match retry_after {
            Some(value) => answer.with_header("Retry-After", value),
            None => answer,
        })
    }

    /// Sends the client to the same path on another host, with status 307.
    #[must_use]
    pub fn redirect_to(host: &str) -> Self {
        let host = host.to_owned();
        Self::AnswerWith(Arc::new(move |request| {
            let url = format!("http://{host}{}", request.target());
            Some(Answer::status(307).with_header("Location", &url))
        }))
    }

    /// The registry's `Location` names the same path on another host.
    #[must_use]
    pub fn location_on(host: &str) -> Self {
        let host = host.to_owned();
        Self::Change(Arc::new(move |answer| {
            let Some(location) = answer.header("location").map(str::to_owned) else {
                return;
            };
            let path = match location.split_once("://") {
                Some((_, rest)) => rest.find('/').map_or("/", |start| &rest[start..]),
                None => location.as_str(),
            };
            answer.set("Location", &format!("http://{host}{path}"));
        }))
    }

    /// A header of the registry's answer has another value.
    #[must_use]
    pub fn header(name: &'static str, value: &str) -> Self {
        let value = value.to_owned();
        Self::Change(Arc::new(move |answer| answer.set(name, &value)))
    }

    /// What the proxy's record calls it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::ResetRequest { after_bytes } => format!("reset after {after_bytes} bytes sent"),
            Self::ResetAnswer { after_bytes } => {
                format!("reset after {after_bytes} bytes of the answer")
            }
            Self::TruncateAnswer { after_bytes } => format!("answer cut at {after_bytes} bytes"),
            Self::StallRequest { after_bytes, .. } => {
                format!("stall after {after_bytes} bytes sent")
            }
            Self::StallAnswer { after_bytes, .. } => {
                format!("stall after {after_bytes} bytes of the answer")
            }
            Self::Slow { bytes_per_second } => format!("slowed to {bytes_per_second} bytes/s"),
            Self::Answer(answer) | Self::EarlyAnswer(answer) => {
                format!("answered {}", answer.status)
            }
            Self::AnswerWith(_) => "answered".to_owned(),
            Self::Change(_) => "answer changed".to_owned(),
            Self::RefuseMount => "mount refused".to_owned(),
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// When a fault happens. Of several rules that meet a request, the first that is not used up acts.
#[derive(Clone)]
pub struct Rule {
    phase: Phase,
    condition: Arc<dyn Fn(&RequestHead) -> bool + Send + Sync>,
    skipped: u32,
    times: u32,
    fault: Fault,
    met: u32,
}

impl Rule {
    /// The fault happens to every request of the phase. For [`Phase::Connect`], any fault resets the connection.
    #[must_use]
    pub fn on(phase: Phase, fault: Fault) -> Self {
        Self {
            phase,
            condition: Arc::new(|_| true),
            skipped: 0,
            times: u32::MAX,
            fault,
            met: 0,
        }
    }

    /// Only to requests that the condition holds for.
    #[must_use]
    pub fn when(
        mut self,
        condition: impl Fn(&RequestHead) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.condition = Arc::new(condition);
        self
    }

    /// Not to the first `n` of them.
    #[must_use]
    pub fn after(mut self, n: u32) -> Self {
        self.skipped = n;
        self
    }

    /// At most `n` times.
    #[must_use]
    pub fn times(mut self, n: u32) -> Self {
        self.times = n;
        self
    }

    /// The fault, if it happens to this request; counts.
    pub(super) fn meet(&mut self, phase: Phase, request: &RequestHead) -> Option<Fault> {
        if phase != self.phase || !(self.condition)(request) {
            return None;
        }
        let met = self.met;
        let acts = met >= self.skipped && met - self.skipped < self.times;
        self.met = met.saturating_add(1);
        acts.then(|| self.fault.clone())
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            phase,
            fault,
            skipped,
            times,
            ..
        } = self;
        write!(f, "{phase:?}: {fault:?}, after {skipped}, {times} times")
    }
}
