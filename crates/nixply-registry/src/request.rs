//! A request, as it is sent and as errors name it.

use crate::authenticate::Scopes;
use crate::payload::Payload;
use crate::redact::clean_url;
use crate::{Refusal, RegistryError, Subject};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode, Url};
use std::error::Error;

/// A request that can be sent any number of times.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) subject: &'a Subject,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
    /// What a token has to be good for, where it is not what the repository's requests usually need.
    pub(crate) scopes: Option<Scopes>,
    pub(crate) waits_for_storage: bool,
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

    pub(crate) fn refused(&self, status: StatusCode, body: &str) -> RegistryError {
        let status = Some(status.as_u16());
        let url = clean_url(self.url);
        let refusal = Refusal::new(self.subject.clone(), self.method, url, status, body);
        RegistryError::Refused(Box::new(refusal))
    }
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
