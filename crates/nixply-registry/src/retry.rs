//! What is tried again, when, and how often.
//!
//! Waits grow exponentially and are drawn between nothing and their bound ("full jitter"), so that many clients that
//! failed together do not come back together. A registry that says when to come back (RFC 9110 section 10.2.3,
//! `Retry-After`) is believed up to [`RETRY_AFTER_MAX`]. A request has a number of retries of its own; all requests of a
//! client share a budget, so that a registry that fails everywhere ends a push soon.

use crate::RegistryError;
use chrono::DateTime;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// The longest first wait. A registry that restarts takes seconds: six retries wait up to 31 seconds in all, 16 on
/// average.
const BACKOFF_BASE: Duration = Duration::from_millis(500);

/// The longest wait between two tries that the registry did not ask for.
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// The longest wait that a registry may ask for. Limits per hour outlast any push; one that waits without a word is
/// worse than one that fails.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(2);

/// Whether something is worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It would fail again.
    Never,
    /// Nobody has ever answered there.
    FirstContact,
    /// It may work after a while.
    Backoff,
    /// The registry says when it may work.
    After(Duration),
}

/// A request that failed, and whether it is worth another try.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Why it failed.
    pub(crate) error: RegistryError,
    /// Whether it may work at another time.
    pub(crate) again: Again,
}

impl Failure {
    /// A failure that would come again.
    pub(crate) fn lasting(error: RegistryError) -> Self {
        let again = Again::Never;
        Self { error, again }
    }

    /// A failure that may not come again.
    pub(crate) fn passing(error: RegistryError) -> Self {
        let again = Again::Backoff;
        Self { error, again }
    }

    /// The status of the answer, where there was one.
    pub(crate) fn status(&self) -> Option<u16> {
        match &self.error {
            RegistryError::Refused(refusal) => refusal.status,
            _ => None,
        }
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::lasting(error)
    }
}

/// Whether a request that got this answer is worth another try.
pub(crate) fn again_after(status: StatusCode, headers: &HeaderMap) -> Again {
    match status.as_u16() {
        408 | 425 | 429 | 500 | 502 | 503 | 504 => match retry_after(headers, SystemTime::now()) {
            Some(wait) => Again::After(wait),
            None => Again::Backoff,
        },
        _ => Again::Never,
    }
}

/// How long a registry wants to be left alone: seconds, or a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = SystemTime::from(DateTime::parse_from_rfc2822(text).ok()?);
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// A wait before the try after this number of failures, which is at least 1.
pub(crate) fn backoff(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let longest = BACKOFF_BASE.saturating_mul(1 << doublings);
    longest.min(BACKOFF_MAX).mul_f64(fastrand::f64())
}

/// The retries of a whole client.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    retries_per_request: u32,
    /// Where nobody has ever answered.
    first_contact_retries: u32,
    left: AtomicU32,
    used: AtomicU32,
}

impl RetryBudget {
    pub(crate) fn new(retries_per_request: u32, first_contact_retries: u32, retries: u32) -> Self {
        Self {
            retries_per_request,
            first_contact_retries: first_contact_retries.min(retries_per_request),
            left: AtomicU32::new(retries),
            used: AtomicU32::new(0),
        }
    }

    /// How many retries were made.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed).into()
    }

    /// How long to wait before the next try of something that failed `failures` times; `None` if it is not to be tried
    /// again.
    pub(crate) fn wait(&self, again: Again, failures: u32) -> Option<Duration> {
        let (retries, wait) = match again {
            Again::Never => return None,
            Again::FirstContact => (self.first_contact_retries, backoff(failures)),
            Again::Backoff => (self.retries_per_request, backoff(failures)),
            // A little later than asked for, and not all at once.
            Again::After(wait) => (
                self.retries_per_request,
                wait + BACKOFF_BASE.mul_f64(fastrand::f64()),
            ),
        };
        if failures > retries {
            return None;
        }
        let take = |left: u32| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.ok()?;
        self.used.fetch_add(1, Ordering::Relaxed);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(retry_after: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        headers
    }

    #[test]
    fn retry_after_comes_in_two_forms() {
        // 1994-11-06 08:49:37, the date of RFC 9110 section 5.6.7.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, expected) in [
            ("0", Some(0)),
            (" 17 ", Some(17)),
            ("99999", Some(RETRY_AFTER_MAX.as_secs())),
            ("99999999999999999999", None),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            (
                "Sat, 06 Nov 2094 08:49:00 GMT",
                Some(RETRY_AFTER_MAX.as_secs()),
            ),
            ("tomorrow", None),
            ("-1", None),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(retry_after(&headers(text), now), expected, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn only_some_statuses_are_worth_another_try() {
        let again = |status| again_after(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert_eq!(again(status), Again::Backoff, "{status}");
        }
        for status in [400, 401, 403, 404, 405, 411, 413, 416, 501, 505, 507] {
            assert_eq!(again(status), Again::Never, "{status}");
        }
        let told = again_after(StatusCode::SERVICE_UNAVAILABLE, &headers("3"));
        assert_eq!(told, Again::After(Duration::from_secs(3)));
    }

    #[test]
    fn waits_grow_up_to_a_bound_and_are_drawn() {
        for (failures, longest) in [
            (1, 500),
            (2, 1000),
            (5, 8000),
            (9, 20_000),
            (4_000_000, 20_000),
        ] {
            let longest = Duration::from_millis(longest);
            let waits: Vec<Duration> = (0..200).map(|_| backoff(failures)).collect();
            assert!(waits.iter().all(|wait| *wait <= longest));
            assert!(waits.iter().any(|wait| *wait > longest / 2));
            assert!(waits.iter().any(|wait| *wait < longest / 2));
        }
    }

    #[test]
    fn a_request_has_a_number_of_retries_and_a_client_a_budget() {
        let budget = RetryBudget::new(3, 2, 5);
        let tries = |again| {
            (1..1000)
                .take_while(|&n| budget.wait(again, n).is_some())
                .count()
        };
        assert_eq!(tries(Again::Never), 0);
        assert_eq!(tries(Again::After(Duration::ZERO)), 3);
        assert_eq!(tries(Again::Backoff), 2, "the budget is used up");
        assert_eq!(budget.used(), 5);
        let budget = RetryBudget::new(3, 2, 100);
        assert!(budget.wait(Again::FirstContact, 2).is_some());
        assert!(budget.wait(Again::FirstContact, 3).is_none());
    }
}
