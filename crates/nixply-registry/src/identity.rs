//! The exchange of an identity token, a refresh token in OAuth's words, for a token that the registry takes.
//!
//! oci-client does not do this: its token requests are GETs with a user name and a password. Source: distribution's
//! `docs/spec/auth/oauth.md`, "Refresh token".

use crate::connection::short_body;
use crate::oci_error::Request;
use crate::redact::{Secrets, clean_url};
use crate::{Refusal, RegistryError, Subject};
use http_auth::ChallengeParser;
use oci_client::{Reference, RegistryOperation};
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use reqwest::{Client, Response, Url};
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

/// Asks the registry where its token service is, and the service for a token.
pub(crate) async fn exchange(
    client: &Client,
    ping: &Url,
    subject: &Subject,
    scope: &str,
    identity_token: &str,
) -> Result<String, RegistryError> {
    let request = |method, url: &Url| Request {
        subject: subject.clone(),
        method,
        url: clean_url(url),
    };
    let protocol = |problem: &str| RegistryError::Protocol {
        subject: Box::new(subject.clone()),
        method: "GET",
        url: clean_url(ping),
        problem: problem.to_owned(),
    };
    let answer = client
        .get(ping.clone())
        .send()
        .await
        .map_err(|error| request("GET", ping).http(error))?;
    let challenge = BearerChallenge::of(&answer)
        .ok_or_else(|| protocol("expected a Bearer challenge for an identity token"))?;
    let realm = Url::parse(&challenge.realm).map_err(|_| protocol("expected a URL as realm"))?;
    if realm.scheme() != "https" && realm.origin() != ping.origin() {
        return Err(protocol(
            "expected a realm with HTTPS: an identity token goes nowhere else",
        ));
    }

    let mut form = realm.clone();
    form.query_pairs_mut()
        .clear()
        .append_pair("grant_type", "refresh_token")
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", scope)
        .append_pair("refresh_token", identity_token);
    if let Some(service) = &challenge.service {
        form.query_pairs_mut().append_pair("service", service);
    }
    let answer = client
        .post(realm.clone())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
        .send()
        .await
        .map_err(|error| request("POST", &realm).http(error))?;
    let status = answer.status();
    let body = short_body(answer).await;
    if !status.is_success() {
        let body = Secrets::new([identity_token.to_owned()]).clean(&body);
        return Err(RegistryError::Refused(Box::new(Refusal::new(
            subject.clone(),
            "POST",
            clean_url(&realm),
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
            url: clean_url(&realm),
            problem: "expected JSON with an access_token".to_owned(),
        })
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: Option<String>,
    token: Option<String>,
}

struct BearerChallenge {
    realm: String,
    service: Option<String>,
}

impl BearerChallenge {
    fn of(answer: &Response) -> Option<Self> {
        answer
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| ChallengeParser::new(value).filter_map(Result::ok))
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"))
            .find_map(|challenge| {
                let param = |name: &str| {
                    challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value.to_unescaped())
                };
                Some(Self {
                    realm: param("realm")?,
                    service: param("service"),
                })
            })
    }
}
