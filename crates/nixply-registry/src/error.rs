//! What can go wrong between an image and a registry.

use crate::{Refusal, Subject};
use nixply_oci::{Digest, ImageError, ImageReference, LayerError, LayerRecord, Platform};
use std::error::Error;
use std::io;

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
                "the record is of another time, or the store path has changed: `nixply push --no-records` makes every layer again",
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

const TLS_HINT: &str = "the registry speaks no TLS or has a certificate that the system does not trust: \
    add its authority to SSL_CERT_FILE, or use --insecure";

fn transport_hint(source: &(dyn Error + 'static)) -> Option<&'static str> {
    let mut cause = Some(source);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return Some(TLS_HINT);
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return Some("nothing listens there: check host and port, and that the registry runs");
        }
        // An I/O error carries its cause inside; its `source` is that of the cause.
        cause = match io.and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_of_a_broken_connection_decides_the_hint() {
        let bad_certificate =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        // The depth at which it comes from the HTTP client.
        let nested = io::Error::other(io::Error::other(bad_certificate));
        assert_eq!(transport_hint(&nested), Some(TLS_HINT));
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(
            transport_hint(&refused)
                .unwrap()
                .contains("nothing listens")
        );
        assert_eq!(transport_hint(&io::Error::other("x")), None);
    }
}
