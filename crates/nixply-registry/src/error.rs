//! What can go wrong between an image and a registry.

use crate::{CredentialsError, RecordSource, Refusal, Subject};
use nixply_oci::{Digest, ImageError, ImageReference, LayerError, LayerRecord, Platform};
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be pushed or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The registry, or its token service, answered no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer came: no connection, no agreement on TLS, a connection that broke.
    #[error("no answer about {subject}: {method} {url}{}", tried(*tries))]
    Transport {
        /// What the request was about.
        subject: Box<Subject>,
        /// The request's method.
        method: &'static str,
        /// The request's URL, without its query.
        url: String,
        /// What the HTTP client says.
        source: Box<dyn Error + Send + Sync>,
        /// How often it was tried.
        tries: u32,
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
    /// The registry says that it has, or has stored, something else.
    #[error(
        "the registry says that {subject} is something else: expected {expected}, found {found}"
    )]
    DigestDiffers {
        /// What the request was about.
        subject: Box<Subject>,
        /// Its digest.
        expected: String,
        /// What the registry says.
        found: String,
    },
    /// The registry does not take a manifest, because blobs are missing that it may have said it had.
    #[error("{refusal}")]
    BlobUnknown {
        /// The blobs that it misses; empty if it does not say.
        digests: Vec<Digest>,
        /// What it said.
        refusal: Box<Refusal>,
    },
    /// The credentials could not be found out.
    #[error(transparent)]
    Credentials(CredentialsError),
    /// A PEM file has not what it should have.
    #[error(
        "expected {what} in PEM form{}",
        file.as_ref().map(|file| format!(" in `{}`", file.display())).unwrap_or_default()
    )]
    Pem {
        /// What was expected.
        what: &'static str,
        /// The file; `None` where the caller has read it.
        file: Option<PathBuf>,
        /// What is wrong with it; `None` if there is just nothing in it.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A certificate for one registry could not be read.
    #[error("cannot read `{}`", path.display())]
    CertificateFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
        "layer `{title}` is not what {told_by} says: expected {} with {} bytes (diff ID {}), made {} with {} bytes (diff ID {})",
        expected.digest, expected.size_bytes, expected.diff_id, found.digest, found.size_bytes, found.diff_id
    )]
    LayerDiffers {
        /// What the layer is.
        title: String,
        /// Where the record came from.
        told_by: Box<RecordSource>,
        /// What the record says.
        expected: Box<LayerRecord>,
        /// What was made.
        found: Box<LayerRecord>,
    },
    /// The image's config or manifest could not be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The compressed bytes of a layer could not be kept in a temporary file.
    #[error("a layer's temporary file could not be used")]
    Spool(#[source] io::Error),
    /// The push was ended from outside.
    #[error("interrupted")]
    Interrupted,
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
    /// There is no image to make an index of.
    #[error("no image to make an index of")]
    NoParts,
    /// A part of an index is in another registry than the index.
    #[error(
        "{part} is not in the registry of {target}, and an index names only what its repository has"
    )]
    PartElsewhere {
        /// The part.
        part: Box<ImageReference>,
        /// The repository of the index.
        target: Box<ImageReference>,
    },
    /// A part of an index is in another repository, and the registry does not give its blobs to this one.
    #[error("the registry does not mount {blob} of {part} into {target}")]
    PartNotMounted {
        /// The part.
        part: Box<ImageReference>,
        /// The blob.
        blob: Digest,
        /// The repository of the index.
        target: String,
    },
    /// Two parts of an index are for one platform.
    #[error("{first} and {second} are both for {platform}")]
    SamePlatform {
        /// The platform.
        platform: Platform,
        /// One part.
        first: Box<ImageReference>,
        /// The other one.
        second: Box<ImageReference>,
    },
    /// Indexes among the parts of an index name too many manifests.
    #[error("the parts are {found} manifests or more, expected at most {most}")]
    TooManyParts {
        /// How many there may be.
        most: usize,
        /// How many were found before reading stopped.
        found: usize,
    },
    /// A reference that is to be read has neither tag nor digest.
    #[error("{reference} has neither a tag nor a digest")]
    NoTagOrDigest {
        /// The reference.
        reference: Box<ImageReference>,
    },
    /// There is no such image.
    #[error("there is no {subject}")]
    NotFound {
        /// What was to be read.
        subject: Box<Subject>,
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
    #[error("{subject} broke off while it was read{}", tried(*tries))]
    Broken {
        /// What was read.
        subject: Box<Subject>,
        /// What the HTTP client says.
        source: Box<dyn Error + Send + Sync>,
        /// How often that happened without anything having come.
        tries: u32,
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
    /// What was to be read as an image is the list of a fleet's layers.
    #[error("{reference} is a layer index of nixply, not an image")]
    LayerIndex {
        /// What was to be read.
        reference: Box<ImageReference>,
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
    /// which nobody is spoken to by TLS.
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
            | Self::DigestDiffers { .. }
            | Self::BlobUnknown { .. }
            | Self::Authentication { .. }
            | Self::NotFound { .. }
            | Self::ContentDiffers { .. }
            | Self::Broken { .. }
            | Self::SizeDiffers { .. }
            | Self::Malformed { .. }
            | Self::LayerIndex { .. }
            | Self::PartNotMounted { .. }
            | Self::NoSuchPlatform { .. } => true,
            Self::Layer { .. }
            | Self::LayerDiffers { .. }
            | Self::Spool(_)
            | Self::Interrupted
            | Self::Image(_)
            | Self::NoTarget
            | Self::TargetsDiffer { .. }
            | Self::TargetDigest { .. }
            | Self::NoParts
            | Self::PartElsewhere { .. }
            | Self::SamePlatform { .. }
            | Self::TooManyParts { .. }
            | Self::NoTagOrDigest { .. }
            | Self::NoSuchLayer { .. }
            | Self::Credentials(_)
            | Self::Pem { .. }
            | Self::CertificateFile { .. }
            | Self::Client(_) => false,
        }
    }

    pub(crate) fn pem(what: &'static str, source: Option<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Pem {
            what,
            file: None,
            source,
        }
    }

    /// The same about what was read from a file.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Pem { what, source, .. } => Self::Pem {
                what,
                file: Some(path.to_owned()),
                source,
            },
            other => other,
        }
    }

    /// True if the registry or its token service does not take the credentials, or wants some and was given none.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == Some(401))
    }

    /// True if whatever else is asked of the same repository would fail in the same way.
    pub(crate) fn is_unreachable_or_unauthorized(&self) -> bool {
        self.is_unauthorized()
            || matches!(
                self,
                Self::Transport { .. } | Self::Authentication { .. } | Self::Credentials(_)
            )
    }

    /// True if the registry says that the image or the repository does not exist.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_absent(),
            Self::NotFound { .. } => true,
            _ => false,
        }
    }

    /// True if the answer had this status.
    pub(crate) fn is_status(&self, status: u16) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == Some(status))
    }

    /// True if the answer blames the request, and not the time at which it came.
    pub(crate) fn is_client_error(&self) -> bool {
        (400..500).any(|status| self.is_status(status))
            && ![408, 425, 429].iter().any(|status| self.is_status(*status))
    }

    /// True if nothing listens where a request went.
    pub(crate) fn is_refused_connection(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if is_refused(source.as_ref()))
    }

    /// True if a connection was there, TLS included, and no answer came.
    pub(crate) fn is_after_connecting(&self) -> bool {
        let Self::Transport { source, .. } = self else {
            return false;
        };
        let http = source.downcast_ref::<reqwest::Error>();
        http.is_some_and(|error| !error.is_connect())
    }

    /// True if somebody answered, and the two could not agree on TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Transport { source, .. } if tls_error(source.as_ref()).is_some())
    }

    /// True if somebody answered by TLS, and a certificate was not good enough for one of the two.
    pub(crate) fn is_certificate(&self) -> bool {
        let Self::Transport { source, .. } = self else {
            return false;
        };
        matches!(
            tls_error(source.as_ref()),
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
        )
    }

    /// The same error after so many tries.
    pub(crate) fn tried(mut self, total: u32) -> Self {
        match &mut self {
            Self::Refused(refusal) => refusal.tries = total,
            Self::Transport { tries, .. } | Self::Broken { tries, .. } => *tries = total,
            _ => {}
        }
        self
    }

    /// One thing to do about it, where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused(refusal) | Self::BlobUnknown { refusal, .. } => refusal.hint(),
            Self::Authentication { .. } => {
                Some("check the user name and password, and that they may use this repository")
            }
            Self::Transport { source, .. } => transport_hint(source.as_ref()),
            Self::LayerDiffers { .. } => Some(
                "somebody wrote a wrong record, or the store path has changed: `nixply push --no-records` makes every layer again",
            ),
            Self::NoSuchPlatform { .. } => {
                Some("name one of these with --platform OS/ARCHITECTURE")
            }
            Self::PartElsewhere { .. } | Self::PartNotMounted { .. } => {
                Some("push the image to the repository of the index")
            }
            Self::SamePlatform { .. } => {
                Some("an index has one image for a platform: leave one out")
            }
            Self::NotFound { .. } => Some("check the name, the tag and the registry"),
            Self::NoTagOrDigest { .. } => Some("add `:TAG` or `@sha256:…`"),
            Self::Client(_) => Some(
                "install the system's certificate authorities (`ca-certificates`), or name a file of them in SSL_CERT_FILE",
            ),
            _ => None,
        }
    }
}

const TLS_HINT: &str = "the registry speaks no TLS or has a certificate that the system does not trust: \
    name its authority with --ca-cert or SSL_CERT_FILE, or use --insecure";

const CLIENT_CERTIFICATE_HINT: &str = "the registry broke off the agreement on TLS: if it wants to see a certificate, name one with --client-cert";

/// How often something was tried, where that was more than once.
pub(crate) fn tried(tries: u32) -> String {
    match tries {
        0 | 1 => String::new(),
        _ => format!(" (tried {tries} times)"),
    }
}

fn transport_hint(source: &(dyn Error + 'static)) -> Option<&'static str> {
    match tls_error(source) {
        Some(rustls::Error::AlertReceived(_)) => return Some(CLIENT_CERTIFICATE_HINT),
        Some(_) => return Some(TLS_HINT),
        None => {}
    }
    if is_unknown_host(source) {
        return Some("the host name is not known: check it");
    }
    is_refused(source)
        .then_some("nothing listens there: check host and port, and that the registry runs")
}

/// True if a host name has no address. The HTTP client says so by words alone.
fn is_unknown_host(source: &(dyn Error + 'static)) -> bool {
    causes(source).any(|cause| cause.to_string() == "dns error")
}

/// True if nothing listens.
fn is_refused(source: &(dyn Error + 'static)) -> bool {
    causes(source).any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    })
}

fn tls_error<'a>(source: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    causes(source).find_map(|cause| cause.downcast_ref())
}

/// An error and all that is behind it.
fn causes<'a>(
    source: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(source), |&error| {
        // An I/O error carries its cause inside; its `source` is that of the cause.
        match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
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
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        let nested = io::Error::other(io::Error::other(alert));
        assert_eq!(transport_hint(&nested), Some(CLIENT_CERTIFICATE_HINT));
        let refused = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(
            transport_hint(&refused)
                .unwrap()
                .contains("nothing listens")
        );
        let unknown = io::Error::other(io::Error::other("dns error"));
        assert!(transport_hint(&unknown).unwrap().contains("not known"));
        assert_eq!(transport_hint(&io::Error::other("x")), None);
    }
}
