//! What a registry wants to know about who asks (RFC 9110 section 11.6.1; distribution's `docs/spec/auth/token.md`).

use crate::transport::is_loopback;
use http_auth::ChallengeParser;
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// What a refusal with status 401 asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Nothing: everybody may ask.
    Absent,
    /// A user name and a password with every request.
    Basic,
    /// A token.
    Bearer(TokenService),
    /// Something else, or a token without saying from where.
    Unknown,
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenService {
    /// The URL to ask.
    pub(crate) realm: Url,
    /// What the service is to be told that the token is for; some registries leave it out.
    pub(crate) service: Option<String>,
}

impl Challenge {
    /// Reads the challenges of an answer. One for a token comes before one for a password.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(WWW_AUTHENTICATE);
        if values.iter().next().is_none() {
            return Self::Absent;
        }
        let texts = values.iter().filter_map(|value| value.to_str().ok());
        let mut found = Self::Unknown;
        for challenge in texts.flat_map(|text| ChallengeParser::new(text).map_while(Result::ok)) {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                found = Self::Basic;
            }
            let param = |name: &str| {
                let mut params = challenge.params.iter();
                let param = params.find(|(key, _)| key.eq_ignore_ascii_case(name));
                param.map(|(_, value)| value.to_unescaped())
            };
            if challenge.scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = param("realm").and_then(|realm| Url::parse(&realm).ok())
            {
                let service = param("service");
                return Self::Bearer(TokenService { realm, service });
            }
        }
        found
    }
}

impl TokenService {
    /// True if a secret may go to the realm: it is spoken to by HTTPS, or is on this machine.
    pub(crate) fn may_know_secrets(&self) -> bool {
        self.realm.scheme() == "https" || is_loopback(&self.realm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Challenge {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer(TokenService {
            realm: realm.parse().unwrap(),
            service: service.map(str::to_owned),
        })
    }

    #[test]
    fn challenges_of_real_registries() {
        for (values, expected) in [
            (&[][..], Challenge::Absent),
            (&["Basic realm=\"x\""], Challenge::Basic),
            (
                &[
                    "Bearer realm=\"https://ghcr.io/token\",service=\"ghcr.io\",scope=\"repository:user/image:pull\"",
                ],
                bearer("https://ghcr.io/token", Some("ghcr.io")),
            ),
            (
                &["Bearer realm=\"https://authn.example/token\""],
                bearer("https://authn.example/token", None),
            ),
            (
                &["Basic realm=\"x\"", "bearer REALM=\"https://h/t\""],
                bearer("https://h/t", None),
            ),
            (
                &["Basic realm=\"x\", Bearer realm=\"https://h/t\""],
                bearer("https://h/t", None),
            ),
            (&["Bearer service=\"x\""], Challenge::Unknown),
            (&["Bearer realm=\"no URL\""], Challenge::Unknown),
            (&["Negotiate"], Challenge::Unknown),
            (&[""], Challenge::Unknown),
        ] {
            assert_eq!(challenge(values), expected, "{values:?}");
        }
    }

    #[test]
    fn secrets_do_not_go_out_in_the_clear() {
        for (realm, may) in [
            ("https://h.example/t", true),
            ("http://h.example/t", false),
            ("http://127.0.0.1:5001/t", true),
            ("http://[::1]/t", true),
        ] {
            let service = TokenService {
                realm: realm.parse().unwrap(),
                service: None,
            };
            assert_eq!(service.may_know_secrets(), may, "{realm}");
        }
    }
}
