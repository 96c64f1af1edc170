//! What can go wrong between an image and a registry.

use nixply_oci::{
    Digest, ImageError, ImageReference, LayerDigest, LayerError, LayerRecord, Platform,
};
use serde::Deserialize;
use std::error::Error;
use std::fmt;

/// How many bytes of an answer that is not in the specification's error form are shown.
const SHOWN_BODY_BYTES: usize = 400;

/// What a request was about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A layer.
    Layer {
        /// What the layer is.
        title: String,
        /// Its digest, where that is known already.
        digest: Option<LayerDigest>,
    },
    /// The config.
    Config {
        /// Its digest.
        digest: Digest,
    },
    /// A manifest, named by digest.
    Manifest {
        /// Its digest.
        digest: Digest,
    },
    /// A tag that is to be moved.
    Tag {
        /// The tag.
        tag: String,
    },
    /// An image that is read.
    Image {
        /// Where it is.
        reference: Box<ImageReference>,
    },
    /// The registry itself: whether it is there, and who may do what.
    Registry {
        /// The registry's host.
        host: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer {
                title,
                digest: Some(digest),
            } => write!(f, "layer `{title}` ({digest})"),
            Self::Layer {
                title,
                digest: None,
            } => write!(f, "layer `{title}`"),
            Self::Config { digest } => write!(f, "config {digest}"),
            Self::Manifest { digest } => write!(f, "manifest {digest}"),
            Self::Tag { tag } => write!(f, "tag `{tag}`"),
            Self::Image { reference } => write!(f, "image {reference}"),
            Self::Registry { host } => write!(f, "registry {host}"),
        }
    }
}

/// One entry of the error form of distribution-spec v1.1.1, "Error Codes".
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    /// `BLOB_UNKNOWN` or `DENIED`, for example.
    #[serde(default)]
    pub code: String,
    /// What the registry says, for people.
    #[serde(default)]
    pub message: String,
}

/// An answer that says no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the request was about.
    pub subject: Subject,
    /// The request's method.
    pub method: &'static str,
    /// The request's URL, without its query.
    pub url: String,
    /// The HTTP status, where the client told it.
    pub status: Option<u16>,
    /// The errors that the registry named.
    pub errors: Vec<ApiError>,
    /// The beginning of the answer's body, where it named no errors.
    pub body: String,
}

impl Refusal {
    /// Reads an answer's body, which is in the specification's error form or is not.
    pub(crate) fn new(
        subject: Subject,
        method: &'static str,
        url: String,
        status: Option<u16>,
        body: &str,
    ) -> Self {
        #[derive(Deserialize)]
        struct Envelope {
            errors: Vec<ApiError>,
        }
        let errors = serde_json::from_str::<Envelope>(body).map_or(Vec::new(), |form| form.errors);
        let body = if errors.is_empty() {
            shown(body)
        } else {
            String::new()
        };
        Self {
            subject,
            method,
            url,
            status,
            errors,
            body,
        }
    }

    /// What the registry says, on one line.
    pub(crate) fn words(&self) -> String {
        let words = |error: &ApiError| match shown(&error.message).as_str() {
            "" => error.code.clone(),
            message => format!("{} ({message})", error.code),
        };
        if self.errors.is_empty() {
            return self.body.clone();
        }
        let all: Vec<String> = self.errors.iter().map(words).collect();
        all.join(": ")
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.errors
            .iter()
            .any(|error| codes.contains(&error.code.as_str()))
    }

    /// True if the registry says that what was asked for is not there.
    pub(crate) fn is_absent(&self) -> bool {
        self.status == Some(404)
            || self.has_code(&[
                "MANIFEST_UNKNOWN",
                "NAME_UNKNOWN",
                "NOT_FOUND",
                "BLOB_UNKNOWN",
            ])
    }
}

/// The beginning of a body on one line, without control characters.
fn shown(body: &str) -> String {
    let line: String = body
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let line = line.trim();
    if line.len() <= SHOWN_BODY_BYTES {
        return line.to_owned();
    }
    let mut end = SHOWN_BODY_BYTES;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &line[..end])
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the registry refused {}: {} {}",
            self.subject, self.method, self.url
        )?;
        if let Some(status) = self.status {
            write!(f, ": status {status}")?;
        }
        let words = self.words();
        if !words.is_empty() {
            write!(f, ": {words}")?;
        }
        Ok(())
    }
}

/// Why an image could not be pushed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry, or its token service, answered no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer came: no connection, no agreement on TLS, a connection that broke.
    #[error("no answer about {subject}: {method} {url}")]
    Transport {
        /// What the request was about.
        subject: Box<Subject>,
        /// The request's method.
        method: &'static str,
        /// The request's URL, without its query.
        url: String,
        /// What the HTTP client says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer is none that the specification allows here.
    #[error("the registry's answer about {subject} breaks the protocol: {method} {url}: {problem}")]
    Protocol {
        /// What the request was about.
        subject: Box<Subject>,
        /// The request's method.
        method: &'static str,
        /// The request's URL, without its query.
        url: String,
        /// What was expected, and what was found.
        problem: String,
    },
    /// The token service gave no token.
    #[error("the registry {host} gave no token: {message}")]
    Authentication {
        /// The registry's host.
        host: String,
        /// What the token service says.
        message: String,
    },
    /// A layer could not be made; the registry has no part in it.
    #[error("layer `{title}` could not be made")]
    Layer {
        /// What the layer is.
        title: String,
        /// Why.
        source: LayerError,
    },
    /// A layer came out otherwise than its record says.
    #[error(
        "layer `{title}` is not what its record says: expected {} with {} bytes (diff ID {}), made {} with {} bytes (diff ID {})",
        expected.digest, expected.size_bytes, expected.diff_id, found.digest, found.size_bytes, found.diff_id
    )]
    LayerDiffers {
        /// What the layer is.
        title: String,
        /// What the record says.
        expected: Box<LayerRecord>,
        /// What was made.
        found: Box<LayerRecord>,
    },
    /// The image's config or manifest could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// There is nothing to push to.
    #[error("no target: expected at least one image reference")]
    NoTarget,
    /// The targets of one push are in different repositories.
    #[error("{first} and {other} are not in the same repository")]
    TargetsDiffer {
        /// The first target.
        first: Box<ImageReference>,
        /// The first one elsewhere.
        other: Box<ImageReference>,
    },
    /// A target asks for another digest than the image has.
    #[error("the image's digest is {found}, but {target} asks for another")]
    TargetDigest {
        /// The target.
        target: Box<ImageReference>,
        /// The image's digest.
        found: Digest,
    },
    /// A reference that is to be read has neither tag nor digest.
    #[error("{reference} has neither a tag nor a digest")]
    NoTagOrDigest {
        /// The reference.
        reference: Box<ImageReference>,
    },
    /// Bytes that were read do not have the digest that names them.
    #[error("{subject} is damaged: expected {expected}, found {found}")]
    ContentDiffers {
        /// What was read.
        subject: Box<Subject>,
        /// The digest that names it.
        expected: String,
        /// The digest that it has.
        found: String,
    },
    /// Reading stopped before the end.
    #[error("{subject} broke off while it was read")]
    Broken {
        /// What was read.
        subject: Box<Subject>,
        /// What the HTTP client says.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A blob is longer or shorter than its descriptor says, or longer than is read into memory.
    #[error("{subject} is damaged: expected {expected_bytes} bytes, found {found_bytes} or more")]
    SizeDiffers {
        /// What was read.
        subject: Box<Subject>,
        /// How many bytes were expected, at most.
        expected_bytes: u64,
        /// How many came before reading stopped.
        found_bytes: u64,
    },
    /// A manifest, an index or a config is not JSON of the expected shape.
    #[error("{subject} cannot be read as {expected}")]
    Malformed {
        /// What was read.
        subject: Box<Subject>,
        /// `an image manifest`, for example.
        expected: &'static str,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
    /// An index has no image for the platform, or several and none was asked for.
    #[error(
        "{reference} has {} images ({}), expected one{}",
        platforms.len(),
        platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", "),
        wanted.as_ref().map(|wanted| format!(" for {wanted}")).unwrap_or_default()
    )]
    NoSuchPlatform {
        /// The index.
        reference: Box<ImageReference>,
        /// The platform that was asked for.
        wanted: Option<Platform>,
        /// The platforms that the index names, as often as it names them.
        platforms: Vec<Platform>,
    },
    /// An image has no layer of this number.
    #[error("{reference} has {layer_count} layers, none with index {layer_idx}")]
    NoSuchLayer {
        /// The image.
        reference: Box<ImageReference>,
        /// How many layers it has.
        layer_count: usize,
        /// The one that was asked for.
        layer_idx: usize,
    },
    /// The HTTP client or its threads could not be started. The system may have no certificate authorities, without
    /// which there is no client even for plain HTTP.
    #[error("the HTTP client could not be started")]
    Client(#[source] Box<dyn Error + Send + Sync>),
}

impl RegistryError {
    /// True if the registry or the network is to blame; false if the caller or the layers are.
    #[must_use]
    pub fn is_network_or_registry(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::Transport { .. }
            | Self::Protocol { .. }
            | Self::Authentication { .. }
            | Self::ContentDiffers { .. }
            | Self::Broken { .. }
            | Self::SizeDiffers { .. }
            | Self::Malformed { .. }
            | Self::NoSuchPlatform { .. } => true,
            Self::Layer { .. }
            | Self::LayerDiffers { .. }
            | Self::Image(_)
            | Self::NoTarget
            | Self::TargetsDiffer { .. }
            | Self::TargetDigest { .. }
            | Self::NoTagOrDigest { .. }
            | Self::NoSuchLayer { .. }
            | Self::Client(_) => false,
        }
    }

    /// True if the registry says that the image or the repository does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is_absent())
    }

    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::Authentication { .. } => {
                Some("check the user name and password, and that they may use this repository")
            }
            Self::Transport { source, .. } => transport_hint(source.as_ref()),
            Self::LayerDiffers { .. } => Some(
                "the record is of another time, or the store path has changed: push without the records that were given",
            ),
            Self::NoSuchPlatform { .. } => {
                Some("name one of these with --platform OS/ARCHITECTURE")
            }
            Self::NoTagOrDigest { .. } => Some("add `:TAG` or `@sha256:…`"),
            Self::Client(_) => Some(
                "install the system's certificate authorities (`ca-certificates`), or name a file of them in SSL_CERT_FILE",
            ),
            _ => None,
        }
    }
}

impl Refusal {
    fn hint(&self) -> Option<&'static str> {
        if self.has_code(&["MANIFEST_BLOB_UNKNOWN"]) {
            return Some("the registry lost a blob that it said it had: push again");
        }
        if self.has_code(&["TOOMANYREQUESTS"]) {
            return Some("the registry limits requests: wait, or use fewer connections");
        }
        match self.status? {
            401 => Some("log in to the registry, or give a user name and a password"),
            403 => Some("these credentials may not do this: check their rights on the repository"),
            404 => Some("check the name; some registries want the repository created beforehand"),
            413 => {
                Some("a proxy before the registry limits the size of a request: raise its limit")
            }
            429 => Some("the registry limits requests: wait, or use fewer connections"),
            500..=599 => Some("the registry has trouble of its own: try again, or read its log"),
            _ => None,
        }
    }
}

const TLS_HINT: &str = "the registry speaks no TLS or has a certificate that the system does not trust: \
    add its authority to SSL_CERT_FILE, or use --insecure";

fn transport_hint(source: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(source);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return Some(TLS_HINT);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            if error.kind() == std::io::ErrorKind::ConnectionRefused {
                return Some(
                    "nothing listens there: check host and port, and that the registry runs",
                );
            }
            // An I/O error carries its cause inside rather than behind `source`.
            if let Some(inner) = error.get_ref()
                && inner.is::<rustls::Error>()
            {
                return Some(TLS_HINT);
            }
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        let subject = Subject::Layer {
            title: "bash-5.2 and 3 more".to_owned(),
            digest: Some(LayerDigest::of(b"")),
        };
        Refusal::new(
            subject,
            "PUT",
            "https://h.example/v2/a/blobs/uploads/1".to_owned(),
            Some(status),
            body,
        )
    }

    #[test]
    fn a_refusal_names_object_request_status_and_the_registrys_words() {
        let body = r#"{"errors":[{"code":"DENIED","message":"no\nway"},{"code":"X","detail":1}]}"#;
        assert_eq!(
            refusal(403, body).to_string(),
            "the registry refused layer `bash-5.2 and 3 more` \
             (sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855): \
             PUT https://h.example/v2/a/blobs/uploads/1: status 403: DENIED (no way): X"
        );
    }

    #[test]
    fn other_bodies_are_shown_in_part() {
        let refusal = refusal(502, &format!("<html>\n{}", "ü".repeat(1000)));
        assert!(refusal.to_string().contains("status 502: <html> üü"));
        assert!(refusal.body.len() <= SHOWN_BODY_BYTES + "…".len());
        assert!(refusal.body.ends_with('…'));
    }

    #[test]
    fn absent_is_told_from_refused() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;
        let mut told_by_code = refusal(400, unknown);
        told_by_code.status = None;
        assert!(told_by_code.is_absent());
        assert!(refusal(404, "").is_absent());
        assert!(!refusal(401, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#).is_absent());
    }
}
