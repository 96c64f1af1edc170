//! Answers of registries that say no.

use crate::error::tried;
use nixply_oci::{Digest, ImageReference, LayerDigest};
use serde::Deserialize;
use serde_json::Value;
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
    /// The HTTP status.
    pub status: Option<u16>,
    /// The errors that the registry named.
    pub errors: Vec<ApiError>,
    /// The digests that these are about, as far as they say.
    pub digests: Vec<Digest>,
    /// The beginning of the answer's body, where it named no errors.
    pub body: String,
    /// How often the request was sent and refused.
    pub tries: u32,
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
            errors: Vec<Value>,
        }
        let form = serde_json::from_str::<Envelope>(body);
        let all = form.map_or(Vec::new(), |form| form.errors);
        let mut digests = Vec::new();
        for error in &all {
            find_digests(error, &mut digests);
        }
        let errors: Vec<ApiError> = all
            .into_iter()
            .filter_map(|error| serde_json::from_value(error).ok())
            .collect();
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
            digests,
            body,
            tries: 1,
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

    /// One thing to do about it, where there is one.
    pub(crate) fn hint(&self) -> Option<&'static str> {
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

    /// True if a manifest was refused for want of blobs. GHCR and others say it with codes of their own choice.
    pub(crate) fn misses_blobs(&self) -> bool {
        self.has_code(&["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"])
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

/// Finds digests anywhere in what a registry says: the specification leaves the form of `detail` open.
fn find_digests(value: &Value, found: &mut Vec<Digest>) {
    match value {
        Value::String(text) => {
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != ':');
            for digest in words.filter_map(|word| word.parse().ok()) {
                if !found.contains(&digest) {
                    found.push(digest);
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| find_digests(value, found)),
        Value::Object(values) => values.values().for_each(|value| find_digests(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
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
        f.write_str(&tried(self.tries))
    }
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
    fn missing_blobs_are_named_in_whatever_form() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        for (body, expected) in [
            (
                format!(
                    r#"{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","detail":"{a}"}},
                    {{"code":"MANIFEST_BLOB_UNKNOWN","detail":{{"digest":"{b}"}}}}]}}"#
                ),
                vec![a, b],
            ),
            (
                format!(
                    r#"{{"errors":[{{"code":"BLOB_UNKNOWN","message":"no blob '{b}', no {b}."}}]}}"#
                ),
                vec![b],
            ),
            (
                r#"{"errors":[{"code":"BLOB_UNKNOWN","detail":["sha256:1",3,null]}]}"#.to_owned(),
                vec![],
            ),
        ] {
            let refusal = refusal(400, &body);
            assert!(refusal.misses_blobs());
            assert_eq!(refusal.digests, expected);
        }
        assert!(!refusal(400, "BLOB_UNKNOWN").misses_blobs());
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
