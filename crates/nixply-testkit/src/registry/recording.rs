//! A registry in this process that notes every request and answers as a test wants.

use super::http::{Answer, Request};
use super::serve::{self, Server};
use nixply_oci::Digest;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a test wants to answer itself; `None` leaves the answer to the registry.
type Rule = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

/// A registry in memory: blobs, manifests, both kinds of upload. It checks digests as a real one does.
///
/// Repositories share everything. A rule may answer any request in its place, to refuse, to lie, to want a token.
#[derive(Debug)]
pub struct RecordingRegistry {
    server: Server,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Stored {
    requests: Vec<Request>,
    uploads: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    /// By digest and by tag: media type and bytes.
    manifests: BTreeMap<String, (String, Vec<u8>)>,
}

struct Shared {
    stored: Mutex<Stored>,
    rule: Box<Rule>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl RecordingRegistry {
    /// Starts a registry without a rule.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(|_| None)
    }

    /// Starts a registry with a rule.
    #[must_use]
    pub fn start_with(rule: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            stored: Mutex::default(),
            rule: Box::new(rule),
        });
        let for_connections = Arc::clone(&shared);
        let server = Server::start(move |stream| {
            serve::answer_all(&stream, |request| for_connections.answer(request))
        });
        Self { server, shared }
    }

    /// The registry's host: `127.0.0.1` and the port.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// Every request so far, in the order received.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many requests so far have this method.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        let stored = self.shared.lock();
        let of_method = stored.requests.iter().filter(|r| r.method == method);
        of_method.count()
    }

    /// Forgets the requests so far, but nothing that is stored.
    pub fn forget_requests(&self) {
        self.shared.lock().requests.clear();
    }

    /// The bytes of a blob, by the text of its digest.
    #[must_use]
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        self.shared.lock().blobs.get(digest).cloned()
    }

    /// The bytes of a manifest, by tag or by the text of its digest.
    #[must_use]
    pub fn manifest(&self, name: &str) -> Option<Vec<u8>> {
        let stored = self.shared.lock();
        stored.manifests.get(name).map(|(_, bytes)| bytes.clone())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: Request) -> Answer {
        self.lock().requests.push(request.clone());
        match (self.rule)(&request) {
            Some(answer) => answer,
            None => self.lock().answer(request),
        }
    }
}

impl Stored {
    fn answer(&mut self, request: Request) -> Answer {
        let path = request.path.clone();
        if path == "/v2/" {
            return Answer::status(200);
        }
        if let Some((_, name)) = path.rsplit_once("/manifests/") {
            return self.answer_manifest(name, request);
        }
        if let Some((repository, session)) = path.rsplit_once("/blobs/uploads/") {
            return self.answer_upload(repository, session, &request);
        }
        match path.rsplit_once("/blobs/") {
            Some((_, digest)) => match self.blobs.get(digest) {
                Some(blob) => Answer::status(200)
                    .with_header("Docker-Content-Digest", digest)
                    .with_body(blob.clone()),
                None => Answer::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry"),
            },
            None => Answer::status(404),
        }
    }

    fn answer_manifest(&mut self, name: &str, request: Request) -> Answer {
        let digest = Digest::of(&request.body).to_string();
        if request.method == "PUT" {
            let media_type = request
                .header("content-type")
                .unwrap_or_default()
                .to_owned();
            let entry = (media_type, request.body);
            self.manifests.insert(digest.clone(), entry.clone());
            self.manifests.insert(name.to_owned(), entry);
            return Answer::status(201)
                .with_header("Location", &request.path)
                .with_header("Docker-Content-Digest", &digest);
        }
        match self.manifests.get(name) {
            Some((media_type, bytes)) => Answer::status(200)
                .with_header("Content-Type", media_type)
                .with_header("Docker-Content-Digest", &Digest::of(bytes).to_string())
                .with_body(bytes.clone()),
            None => Answer::refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn answer_upload(&mut self, repository: &str, session: &str, request: &Request) -> Answer {
        if request.method == "POST" {
            let session = format!("session-{}", self.uploads.len());
            self.uploads.insert(session.clone(), Vec::new());
            return accepted(repository, &session);
        }
        let Some(upload) = self.uploads.get_mut(session) else {
            return Answer::refusal(404, "BLOB_UPLOAD_UNKNOWN", "no such session");
        };
        upload.extend_from_slice(&request.body);
        if request.method == "PATCH" {
            return accepted(repository, session);
        }
        let found = Digest::of(upload).to_string();
        if request.query_value("digest").as_deref() != Some(found.as_str()) {
            return Answer::refusal(400, "DIGEST_INVALID", "provided digest did not match");
        }
        let blob = std::mem::take(upload);
        self.blobs.insert(found.clone(), blob);
        Answer::status(201).with_header("Location", &format!("{repository}/blobs/{found}"))
    }
}

/// Locations carry a state that a client has to keep and that is nobody else's business.
fn accepted(repository: &str, session: &str) -> Answer {
    let location = format!("{repository}/blobs/uploads/{session}?_state=secret-state");
    Answer::status(202).with_header("Location", &location)
}
