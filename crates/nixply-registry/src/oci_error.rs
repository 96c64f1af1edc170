//! oci-client's errors in this crate's words.

use crate::redact::{Secrets, clean_url_text};
use crate::{ApiError, Refusal, RegistryError, Subject};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use std::io;
use std::time::Duration;

/// What oci-client was asked to do when the error came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// What it was about.
    pub(crate) subject: Subject,
    /// The method of the request that mattered.
    pub(crate) method: &'static str,
    /// Its URL, without its query.
    pub(crate) url: String,
}

impl Request {
    /// Turns an error of oci-client into one of this crate.
    pub(crate) fn failed(self, error: OciDistributionError, secrets: &Secrets) -> RegistryError {
        match error {
            OciDistributionError::RegistryError { envelope, url } => {
                let errors = envelope
                    .errors
                    .iter()
                    .map(|error| ApiError {
                        code: code_text(&error.code),
                        message: secrets.clean(&error.message),
                    })
                    .collect();
                RegistryError::Refused(Box::new(Refusal {
                    subject: self.subject,
                    method: self.method,
                    url: clean_url_text(&url),
                    // oci-client does not keep the status when the answer names errors.
                    status: None,
                    errors,
                    body: String::new(),
                }))
            }
            OciDistributionError::ServerError { code, url, message } => {
                self.refused(&url, code, &secrets.clean(&message))
            }
            OciDistributionError::UnauthorizedError { url } => self.refused(&url, 401, ""),
            OciDistributionError::RequestError(error) => self.http(error),
            OciDistributionError::DigestError(DigestError::VerificationError {
                expected,
                actual,
            }) => RegistryError::ContentDiffers {
                subject: Box::new(self.subject),
                expected,
                found: actual,
            },
            other => RegistryError::Protocol {
                subject: Box::new(self.subject),
                method: self.method,
                url: self.url,
                problem: secrets.clean(&other.to_string()),
            },
        }
    }

    /// Turns an error of the HTTP client, which may be an answer with an error status, into one of this crate.
    pub(crate) fn http(self, error: reqwest::Error) -> RegistryError {
        if let Some(status) = error.status() {
            let url = self.url.clone();
            return self.refused(&url, status.as_u16(), "");
        }
        RegistryError::Transport {
            subject: Box::new(self.subject),
            method: self.method,
            url: self.url,
            source: Box::new(error.without_url()),
        }
    }

    /// The error for an answer that did not come within `limit`.
    pub(crate) fn silent(self, limit: Duration) -> RegistryError {
        let problem = format!("no answer within {} seconds", limit.as_secs());
        RegistryError::Transport {
            subject: Box::new(self.subject),
            method: self.method,
            url: self.url,
            source: Box::new(io::Error::new(io::ErrorKind::TimedOut, problem)),
        }
    }

    fn refused(self, url: &str, status: u16, body: &str) -> RegistryError {
        RegistryError::Refused(Box::new(Refusal::new(
            self.subject,
            self.method,
            clean_url_text(url),
            Some(status),
            body,
        )))
    }
}

/// The code as it stood in the answer.
fn code_text(code: &OciErrorCode) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_client::errors::{OciEnvelope, OciError};

    #[test]
    fn secrets_and_queries_go_and_codes_stay() {
        let request = Request {
            subject: Subject::Registry {
                host: "h.example".to_owned(),
            },
            method: "GET",
            url: "https://h.example/v2/".to_owned(),
        };
        let error = request.failed(
            OciDistributionError::RegistryError {
                envelope: OciEnvelope {
                    errors: vec![OciError {
                        code: OciErrorCode::ManifestUnknown,
                        message: "you sent s3cret".to_owned(),
                        detail: serde_json::Value::Null,
                    }],
                },
                url: "https://h.example/v2/a/manifests/x?sig=s3cret".to_owned(),
            },
            &Secrets::new(["s3cret".to_owned()]),
        );
        assert_eq!(
            error.to_string(),
            "the registry refused registry h.example: GET https://h.example/v2/a/manifests/x: \
             MANIFEST_UNKNOWN (you sent <redacted>)"
        );
        assert!(error.is_absent());
    }
}
