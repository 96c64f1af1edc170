//! Image references: where an image is, or is to be.
//!
//! Grammar of distribution-spec v1.1.1 (`spec.md`, "Pulling manifests") and of Docker's reference package, with one
//! difference on purpose: the registry's host is never guessed. `alpine` is no reference here, `docker.io/library/alpine` is.

use crate::{Digest, DigestError};
use std::fmt;
use std::str::FromStr;

/// The longest tag, in bytes (distribution-spec v1.1.1, "Pulling manifests").
const TAG_MAX_BYTES: usize = 128;

/// A registry, a repository in it, and a tag or a digest or both or neither.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is no host before the first slash.
    #[error("`{text}` does not name a registry: expected `HOST/REPOSITORY[:TAG]`")]
    NoHost {
        /// The text that was read.
        text: String,
    },
    /// The host is not a host name or address with an optional port.
    #[error("`{host}` is not a registry's host name")]
    Host {
        /// The part that was read as host.
        host: String,
    },
    /// The repository has a character or a form that no registry takes.
    #[error(
        "`{repository}` is not a repository name: expected lower-case letters, digits and `.`, `_`, `-` \
         between them, parts joined by `/`"
    )]
    Repository {
        /// The part that was read as repository.
        repository: String,
    },
    /// The tag has a character that no registry takes, or is too long.
    #[error(
        "`{tag}` is not a tag: expected up to {TAG_MAX_BYTES} letters, digits, `_`, `.`, `-`, not starting with `.` or `-`"
    )]
    Tag {
        /// The part that was read as tag.
        tag: String,
    },
    /// What stands behind `@` is not a digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl ImageReference {
    /// The registry's host, with the port where one was given.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository, without the host.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, where one was given.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was given.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(tag)?;
        Ok(Self {
            tag: Some(tag.to_owned()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository, named by digest alone.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The same repository, and nothing in it.
    #[must_use]
    pub fn without_tag_and_digest(&self) -> Self {
        Self {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    /// True for `localhost` and loopback addresses, which are spoken to in plain HTTP.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.host.split(':').next().unwrap_or(&self.host),
        };
        host == "localhost"
            || host.ends_with(".localhost")
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (host, rest) = text
            .split_once('/')
            .filter(|(host, _)| *host == "localhost" || host.contains(['.', ':']))
            .ok_or_else(|| ReferenceError::NoHost {
                text: text.to_owned(),
            })?;
        check_host(host)?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => {
                check_tag(tag)?;
                (repository, Some(tag.to_owned()))
            }
            None => (rest, None),
        };
        check_repository(repository)?;
        Ok(Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }
}

fn check_host(host: &str) -> Result<(), ReferenceError> {
    let error = || ReferenceError::Host {
        host: host.to_owned(),
    };
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(error)?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| error())?;
        (
            "",
            port.strip_prefix(':')
                .or(if port.is_empty() { None } else { Some("") }),
        )
    } else {
        match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        }
    };
    let name_ok = host.starts_with('[')
        || name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
    let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if name_ok && port_ok {
        Ok(())
    } else {
        Err(error())
    }
}

fn check_repository(repository: &str) -> Result<(), ReferenceError> {
    let component_ok = |component: &str| {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        // Between two words stands one of `.`, `_`, `__` or any number of `-`.
        let separator_ok =
            |run: &str| matches!(run, "." | "_" | "__") || run.bytes().all(|b| b == b'-');
        component
            .bytes()
            .all(|b| is_word(b) || matches!(b, b'.' | b'_' | b'-'))
            && component.bytes().next().is_some_and(is_word)
            && component.bytes().last().is_some_and(is_word)
            && component
                .split(|c: char| is_word(c as u8))
                .all(separator_ok)
    };
    if repository.split('/').all(component_ok) {
        Ok(())
    } else {
        Err(ReferenceError::Repository {
            repository: repository.to_owned(),
        })
    }
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    let ok = !tag.is_empty()
        && tag.len() <= TAG_MAX_BYTES
        && !tag.starts_with(['.', '-'])
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if ok {
        Ok(())
    } else {
        Err(ReferenceError::Tag {
            tag: tag.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in [
            "localhost/a".to_owned(),
            "localhost:5000/a/b:v1".to_owned(),
            "ghcr.io/acme/w_c.t__f-0--1/runtime:2024.1-x".to_owned(),
            "[::1]:5000/a:b".to_owned(),
            format!("127.0.0.1:80/x@{digest}"),
            format!("example.org/x:t@{digest}"),
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_no_registry_takes_is_refused() {
        for text in [
            "",
            "alpine",
            "library/alpine",
            "alpine:3",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a//b",
            "ghcr.io/a_",
            "ghcr.io/a___b",
            "ghcr.io/a:.x",
            "ghcr.io/a:",
            "host:99999/a",
            "-x.io/a",
            "ghcr.io/a@sha256:00",
            "[::1/a",
            "ghcr.io/ü",
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_recognised() {
        for (text, loopback) in [
            ("localhost:5000/a", true),
            ("127.0.0.9/a", true),
            ("[::1]:1/a", true),
            ("reg.localhost/a", true),
            ("localhost.example.org/a", false),
            ("10.0.0.1:5000/a", false),
        ] {
            assert_eq!(
                text.parse::<ImageReference>().unwrap().is_loopback(),
                loopback,
                "{text}"
            );
        }
    }
}
