//! A request on its way to an answer: authorized, redirected, refused, tried again.
//!
//! ```text
//! Repository::ask        tries again what may work at another time
//!   Repository::send     one try: waits for its turn, answers a 401, follows redirects, finds out whether the host
//!                        speaks TLS
//!     exchange           one request on the wire: keeps the time, tells the observer
//! ```

use crate::RegistryError;
use crate::authenticate::Authorization;
use crate::client::RequestEvent;
use crate::limit::Permit;
use crate::repository::Repository;
use crate::request::{Ask, Named};
use crate::retry::Failure;
use reqwest::header::LOCATION;
use reqwest::{Method, Response, StatusCode, Url};

/// How many redirects are followed (RFC 9110 section 15.4 asks for a limit and names none).
const REDIRECTS_MAX: usize = 5;

/// How many refusals for want of authorization a request answers: the first, one of an old token, one of the token
/// after that.
const CHALLENGES_MAX: usize = 3;

/// How often something was tried, and whether it is tried again.
pub(crate) struct Tries<'a> {
    repository: &'a Repository,
    failures: u32,
}

impl Tries<'_> {
    /// Waits for the next try, and gives the error back that it is for. The error if there is none.
    pub(crate) async fn again(&mut self, failure: Failure) -> Result<RegistryError, RegistryError> {
        self.failures += 1;
        let shared = &self.repository.shared;
        match shared.retries.wait(failure.again, self.failures) {
            Some(wait) => {
                shared.tell(&RequestEvent::Retrying {
                    reason: &failure.error.to_string(),
                    failures: self.failures,
                    wait,
                });
                tokio::time::sleep(wait).await;
                Ok(failure.error)
            }
            None => Err(failure.error.tried(self.failures)),
        }
    }
}

impl Repository {
    /// Nothing was tried yet.
    pub(crate) fn tries(&self) -> Tries<'_> {
        self.tries_after(0)
    }

    /// So often it was tried already.
    pub(crate) fn tries_after(&self, failures: u32) -> Tries<'_> {
        Tries {
            repository: self,
            failures,
        }
    }

    /// Sends a request until it gets an answer of success, or one that would not change.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, RegistryError> {
        let mut tries = self.tries();
        loop {
            match self.send(ask).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => tries.again(failure).await?,
            };
        }
    }

    /// Sends a request once.
    pub(crate) async fn send(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let scopes = ask.scopes.as_ref().unwrap_or(self.scopes());
        let mut url = ask.url.clone();
        let (mut challenges, mut redirects) = (0, 0);
        loop {
            let turn = self.turn().await;
            url = self.host.corrected(url);
            // Not before its turn has come: a token may be known by then, or another one.
            let authorization = self.authorization_for(&url, scopes).await?;
            let (at, answer) = self
                .exchange_somehow(ask, url, authorization.as_ref())
                .await?;
            drop(turn);
            url = at;
            let status = answer.status();
            if redirects < REDIRECTS_MAX
                && let Some(next) = redirect(&ask.method, &answer)
            {
                redirects += 1;
                url = next;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED
                && challenges < CHALLENGES_MAX
                && self.host.is_own(&url)
            {
                challenges += 1;
                let headers = answer.headers();
                let refused = authorization.as_ref();
                if self.challenged(headers, scopes, refused).await? {
                    continue;
                }
            }
            let named = Named {
                url: &url,
                ..ask.named()
            };
            return self.accepted(named, answer).await;
        }
    }

    /// Waits for the turn of a request, for as long as it is kept.
    pub(crate) async fn turn(&self) -> (Permit, Permit) {
        let of_host = self.host.limiter.acquire().await;
        (of_host, self.shared.limiter.acquire().await)
    }

    /// Sends a request once, as it is and at once: to a token service, for a request that has its turn.
    pub(crate) async fn send_as_it_is(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let answer = self.exchange(ask, ask.url.clone(), None).await?;
        self.accepted(ask.named(), answer).await
    }

    /// Sends a request to a host of which it is perhaps not known yet whether it speaks TLS. Returns the URL that was
    /// answered, too.
    ///
    /// There is no request just to find that out: the first that is needed is sent in the likely way, and in the other
    /// one if what comes back looks as if that was wrong.
    async fn exchange_somehow(
        &self,
        ask: &Ask<'_>,
        url: Url,
        authorization: Option<&Authorization>,
    ) -> Result<(Url, Response), Failure> {
        let result = self.exchange(ask, url.clone(), authorization).await;
        let looks_wrong = match &result {
            // What Go's and nginx's TLS servers say to plain HTTP.
            Ok(answer) => url.scheme() == "http" && answer.status() == StatusCode::BAD_REQUEST,
            Err(failure) => !failure.error.is_refused_connection(),
        };
        let other = self.host.other_way(&url);
        // Where nothing listens, nobody speaks TLS either; but the two have ports of their own where none is named.
        let other = other.filter(|other| {
            looks_wrong
                || result.is_err() && other.port_or_known_default() != url.port_or_known_default()
        });
        if let Some(other) = other {
            match self.exchange(ask, other.clone(), authorization).await {
                Ok(answer) => {
                    self.host.settle(&other);
                    return Ok((other, answer));
                }
                // It does speak TLS, and its certificate is the trouble.
                Err(failure) if failure.error.is_certificate() => return Err(failure),
                // It does speak TLS, and broke off afterwards: for want of a client's certificate, perhaps, of which TLS 1.3
                // tells only then.
                Err(failure)
                    if other.scheme() == "https" && failure.error.is_after_connecting() =>
                {
                    self.host.settle(&other);
                    return Err(failure);
                }
                // The system has no certificates, perhaps, and nobody has asked for any.
                Err(Failure {
                    error: RegistryError::Client(_),
                    ..
                }) => {}
                // Nor is this a matter of the way: a file with certificates is none, for example.
                Err(failure) if !failure.error.is_network_or_registry() => return Err(failure),
                Err(_) => {}
            }
        }
        let answer = result?;
        self.host.settle(&url);
        Ok((url, answer))
    }
}

/// Where a redirect goes, if it is one that may be followed.
///
/// A question may go anywhere; an upload only where the method and the body stay what they are (RFC 9110
/// sections 15.4.8 and 15.4.9). Nobody is sent from HTTPS to plain HTTP.
fn redirect(method: &Method, answer: &Response) -> Option<Url> {
    let status = answer.status();
    let is_question = matches!(*method, Method::GET | Method::HEAD);
    let keeps_method = matches!(status.as_u16(), 307 | 308);
    let goes_elsewhere = matches!(status.as_u16(), 301..=303);
    let may_be_followed = keeps_method || is_question && goes_elsewhere;
    if !may_be_followed {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let next = answer.url().join(location).ok()?;
    let is_web = matches!(next.scheme(), "http" | "https");
    let is_downgrade = answer.url().scheme() == "https" && next.scheme() == "http";
    (is_web && !is_downgrade).then_some(next)
}
