//! Tokens: what a token service answers, and how long that is good.
//!
//! Sources: distribution's `docs/spec/auth/token.md` and `oauth.md`.

use crate::redact::Secrets;
use chrono::DateTime;
use reqwest::header::{DATE, HeaderMap, HeaderValue};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// How long a token is good that does not say so (`token.md`, "Requesting a Token").
const DEFAULT_LIFE: Duration = Duration::from_mins(1);

/// How long before its end a token is not used any more, at most; a quarter of its life where that is shorter. A request
/// that waits for its turn arrives later than it was written.
const MARGIN_MAX: Duration = Duration::from_secs(10);

/// Which token it was that a registry refused: each has its own number.
pub(crate) type Generation = u64;

/// A token, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The value of the `Authorization` header, which is marked as sensitive.
    pub(crate) header: HeaderValue,
    pub(crate) generation: Generation,
    fresh_until: Instant,
}

impl Token {
    /// True while a request that starts now may use it.
    pub(crate) fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}

/// An `Authorization` header that shows in no `Debug` form; `None` if no header can hold the secret.
pub(crate) fn authorization(scheme: &str, secret: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {secret}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// What a token service answers.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    issued_at: Option<String>,
}

impl TokenAnswer {
    /// The token's text; `token.md` and `oauth.md` name it differently, and some services give both.
    pub(crate) fn text(&self) -> Option<&str> {
        let texts = [self.token.as_deref(), self.access_token.as_deref()];
        texts.into_iter().flatten().find(|text| !text.is_empty())
    }

    /// The token that was asked for at `asked_at`; `None` if there is none, or none that a header can hold.
    pub(crate) fn into_token(
        self,
        asked_at: Instant,
        headers: &HeaderMap,
        generation: Generation,
    ) -> Option<Token> {
        let header = authorization("Bearer", self.text()?)?;
        let life = self.life(headers);
        Some(Token {
            header,
            generation,
            fresh_until: asked_at + life.saturating_sub((life / 4).min(MARGIN_MAX)),
        })
    }

    /// How long the token is good from when the service sent it.
    ///
    /// A service may hand out a token that it made earlier. Its age is told by its own clock, from `issued_at` to the
    /// answer's `Date`, so that nobody's clock has to be right.
    fn life(&self, headers: &HeaderMap) -> Duration {
        let life = match self.expires_in {
            Some(seconds) if seconds > 0.0 => Duration::try_from_secs_f64(seconds),
            _ => Ok(DEFAULT_LIFE),
        };
        let life = life.unwrap_or(DEFAULT_LIFE).min(Duration::from_hours(24));
        let issued = self.issued_at.as_deref().map(DateTime::parse_from_rfc3339);
        let sent = headers.get(DATE).and_then(|date| date.to_str().ok());
        let sent = sent.map(DateTime::parse_from_rfc2822);
        let age = match (issued, sent) {
            (Some(Ok(issued)), Some(Ok(sent))) => (sent - issued).to_std().unwrap_or_default(),
            _ => Duration::ZERO,
        };
        life.saturating_sub(age)
    }

    /// Its secrets.
    pub(crate) fn secrets(&self) -> Secrets {
        let texts = [self.token.clone(), self.access_token.clone()];
        Secrets::new(texts.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(json: &str, date: &str) -> u64 {
        let answer: TokenAnswer = serde_json::from_str(json).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(DATE, date.parse().unwrap());
        answer.life(&headers).as_secs()
    }

    #[test]
    fn a_token_lives_as_long_as_its_service_says() {
        let date = "Sun, 06 Nov 1994 08:50:00 GMT";
        for (json, expected) in [
            (r#"{"token":"t"}"#, 60),
            (r#"{"token":"t","expires_in":2}"#, 2),
            (r#"{"token":"t","expires_in":300.0}"#, 300),
            (r#"{"token":"t","expires_in":0}"#, 60),
            (r#"{"token":"t","expires_in":-5}"#, 60),
            (r#"{"token":"t","expires_in":1e300}"#, 60),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"1994-11-06T08:49:30Z"}"#,
                270,
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"1994-11-06T09:49:30.5+01:00"}"#,
                270,
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"1993-11-06T08:49:30Z"}"#,
                0,
            ),
            (
                r#"{"token":"t","expires_in":300,"issued_at":"2094-11-06T08:49:30Z"}"#,
                300,
            ),
            (r#"{"token":"t","expires_in":300,"issued_at":"today"}"#, 300),
        ] {
            assert_eq!(life(json, date), expected, "{json}");
        }
        assert_eq!(
            life(
                r#"{"expires_in":300,"issued_at":"1994-11-06T08:49:30Z"}"#,
                "no date"
            ),
            300
        );
    }

    #[test]
    fn a_token_has_one_of_two_names() {
        let text = |json: &str| {
            let answer: TokenAnswer = serde_json::from_str(json).unwrap();
            answer.text().map(str::to_owned)
        };
        assert_eq!(text(r#"{"token":"a"}"#).unwrap(), "a");
        assert_eq!(text(r#"{"access_token":"b"}"#).unwrap(), "b");
        assert_eq!(text(r#"{"token":"","access_token":"b"}"#).unwrap(), "b");
        assert_eq!(text("{}"), None);
    }

    #[test]
    fn a_token_is_not_used_to_its_last_moment_and_shows_no_secret() {
        let token = |json: &str| {
            let answer: TokenAnswer = serde_json::from_str(json).unwrap();
            answer.into_token(Instant::now(), &HeaderMap::new(), 1)
        };
        let short = token(r#"{"token":"s3cret","expires_in":2}"#).unwrap();
        assert!(short.is_fresh());
        let left = short.fresh_until - Instant::now();
        assert!(left > Duration::from_secs(1) && left <= Duration::from_millis(1500));
        let long = token(r#"{"token":"s3cret","expires_in":300}"#).unwrap();
        assert!(long.fresh_until - Instant::now() > Duration::from_secs(285));
        assert!(!format!("{long:?}").contains("s3cret"));
        assert!(token(r#"{"token":"a\nb"}"#).is_none());
    }
}
