//! `-v`: every request on standard error, a line each.

use crate::text;
use nixply_registry::{RequestEvent, RequestObserver};
use std::time::Duration;

/// Shows requests. The client gives no URL with a query and no reason with a secret in it.
#[derive(Debug)]
pub(crate) struct RequestLog;

impl RequestObserver for RequestLog {
    fn event(&self, event: &RequestEvent<'_>) {
        if let Some(line) = line(event) {
            // A registry's words may come from anywhere.
            text::message(&format!("{}\n", text::printable(&line)));
        }
    }
}

fn line(event: &RequestEvent<'_>) -> Option<String> {
    match event {
        RequestEvent::Answered {
            method,
            url,
            status,
            duration,
            ..
        } => Some(format!(
            "{method} {url}: {status} after {}",
            shown(*duration)
        )),
        RequestEvent::Failed {
            method,
            url,
            reason,
            duration,
            ..
        } => Some(format!(
            "{method} {url}: {reason} after {}",
            shown(*duration)
        )),
        RequestEvent::Retrying {
            reason,
            failures,
            wait,
            ..
        } => Some(format!(
            "failure {failures}, again in {}: {reason}",
            shown(*wait)
        )),
        _ => None,
    }
}

fn shown(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds < 10_000 {
        format!("{milliseconds} ms")
    } else {
        format!("{} s", duration.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_was_asked_and_how_it_went() {
        let (method, url) = ("HEAD", "https://h.example/v2/a/blobs/b");
        let duration = Duration::from_millis(9_999);
        let answered = RequestEvent::Answered {
            method,
            url,
            status: 404,
            duration,
        };
        assert_eq!(
            line(&answered).unwrap(),
            "HEAD https://h.example/v2/a/blobs/b: 404 after 9999 ms"
        );
        let failed = RequestEvent::Failed {
            method,
            url,
            reason: "connection reset",
            duration: Duration::from_secs(12),
        };
        assert_eq!(
            line(&failed).unwrap(),
            "HEAD https://h.example/v2/a/blobs/b: connection reset after 12 s"
        );
        let retrying = RequestEvent::Retrying {
            reason: "status 503",
            failures: 2,
            wait: Duration::from_millis(700),
        };
        assert_eq!(
            line(&retrying).unwrap(),
            "failure 2, again in 700 ms: status 503"
        );
    }
}
