//! The exchange of an identity token, a refresh token in OAuth's words, for a token that the registry takes.
//!
//! oci-client does not do this: its token requests are GETs with a user name and a password. Source: distribution's
//! `docs/spec/auth/oauth.md`, "Refresh token".

use crate::challenge::TokenService;
use crate::connection::short_body;
use crate::oci_error::Request;
use crate::redact::{Secrets, clean_url};
use crate::transport::ANSWER_TIMEOUT;
use crate::{Refusal, RegistryError, Subject};
use oci_client::{Reference, RegistryOperation};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

/// What token services are told about the program that asks.
const CLIENT_ID: &str = "nixply";

/// What the token is to be good for.
pub(crate) fn scope(reference: &Reference, operation: RegistryOperation) -> String {
    let actions = match operation {
        RegistryOperation::Pull => "pull",
        RegistryOperation::Push => "pull,push",
    };
    format!("repository:{}:{actions}", reference.repository())
}

/// Asks the token service for a token.
pub(crate) async fn exchange(
    client: &Client,
    service: &TokenService,
    subject: &Subject,
    scope: &str,
    identity_token: &str,
) -> Result<String, RegistryError> {
    let realm = &service.realm;
    let mut form = realm.clone();
    form.query_pairs_mut()
        .clear()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", scope)
        .append_pair("refresh_token", identity_token);
    if let Some(service) = &service.service {
        form.query_pairs_mut().append_pair("service", service);
    }
    let answer = client
        .post(realm.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .timeout(ANSWER_TIMEOUT)
        .body(form.query().unwrap_or_default().to_owned())
        .send()
        .await
        .map_err(|error| {
            let request = Request {
                subject: subject.clone(),
                method: "POST",
                url: clean_url(realm),
            };
            request.http(error)
        })?;
    let status = answer.status();
    let body = short_body(answer).await;
    if !status.is_success() {
        let body = Secrets::new([identity_token.to_owned()]).clean(&body);
        return Err(RegistryError::Refused(Box::new(Refusal::new(
            subject.clone(),
            "POST",
            clean_url(realm),
            Some(status.as_u16()),
            &body,
        ))));
    }
    serde_json::from_str::<TokenAnswer>(&body)
        .ok()
        .and_then(|answer| answer.access_token.or(answer.token))
        .ok_or_else(|| RegistryError::Protocol {
            subject: Box::new(subject.clone()),
            method: "POST",
            url: clean_url(realm),
            problem: "expected JSON with an access_token".to_owned(),
        })
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    token: Option<String>,
}
