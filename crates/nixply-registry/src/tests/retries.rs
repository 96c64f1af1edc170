//! What is tried again, and what is said when that does not help.

use super::{Lines, anonymous, client, noise, repository, subject, upload};
use crate::repository::FoundBlob;
use crate::{Client, ClientOptions, Credentials, RegistryError};
use nixply_oci::{Digest, MediaType};
use nixply_testkit::registry::{Answer, Fault, FaultProxy, Phase, RecordingRegistry, Rule};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A registry that answers the first `n` requests as told.
fn failing(n: usize, answer: impl Fn() -> Answer + Send + Sync + 'static) -> RecordingRegistry {
    let met = AtomicUsize::new(0);
    RecordingRegistry::start_with(move |_| (met.fetch_add(1, Ordering::SeqCst) < n).then(&answer))
}

fn impatient() -> ClientOptions {
    ClientOptions {
        first_byte_timeout: Duration::from_millis(300),
        stall_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_millis(300),
        ..ClientOptions::default()
    }
}

fn find(client: &Client, host: &str, bytes: &[u8]) -> Result<FoundBlob, RegistryError> {
    let repository = repository(client, host, "a");
    let found = async move {
        let size_bytes = bytes.len() as u64;
        repository
            .find_blob(Digest::of(bytes), size_bytes, &subject())
            .await
    };
    client.runtime().block_on(found)
}

#[test]
fn statuses_that_pass_are_tried_again() {
    for status in [408, 425, 429, 500, 502, 503, 504] {
        let registry = failing(2, move || Answer::status(status));
        let client = anonymous();
        let found = find(&client, &registry.host(), b"x");
        assert_eq!(found.unwrap(), FoundBlob::Nothing, "{status}");
        assert_eq!(registry.requests().len(), 3);
        assert_eq!(client.traffic().retries, 2);
    }
    for status in [400, 403, 405, 501] {
        let registry = failing(1, move || Answer::status(status));
        let client = anonymous();
        let error = find(&client, &registry.host(), b"x").unwrap_err();
        assert!(error.is_status(status), "{error:?}");
        assert_eq!(client.traffic().retries, 0);
    }
}

#[test]
fn a_registry_that_says_when_is_believed() {
    let soon = || chrono_date(2);
    for (retry_after, least_ms) in [("1".to_owned(), 1000), (soon(), 0)] {
        let lines = Arc::new(Lines::default());
        let registry = failing(1, move || {
            Answer::status(429).with_header("Retry-After", &retry_after)
        });
        let options = ClientOptions {
            observer: Some(Arc::clone(&lines) as _),
            ..ClientOptions::default()
        };
        let client = client(Credentials::Anonymous, options);
        find(&client, &registry.host(), b"x").unwrap();
        let lines = lines.all();
        let retry = lines
            .iter()
            .find(|line| line.starts_with("retry 1"))
            .unwrap();
        let wait = retry.split(' ').nth(3).unwrap();
        let wait: u64 = wait.parse().unwrap();
        assert!((least_ms..=2500).contains(&wait), "{lines:?}");
    }
}

/// The time in so many seconds, as HTTP has it.
fn chrono_date(seconds: u64) -> String {
    let then = std::time::SystemTime::now() + Duration::from_secs(seconds);
    let then = chrono::DateTime::<chrono::Utc>::from(then);
    then.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[test]
fn what_never_passes_is_told_with_the_number_of_tries() {
    let registry = failing(usize::MAX, || Answer::refusal(503, "UNAVAILABLE", "later"));
    let options = ClientOptions {
        retries_per_request: 2,
        ..ClientOptions::default()
    };
    let client = client(Credentials::Anonymous, options);
    let error = find(&client, &registry.host(), b"x").unwrap_err();
    assert!(
        error.to_string().ends_with("status 503 (tried 3 times)"),
        "{error}"
    );
    assert_eq!(registry.requests().len(), 3);
}

#[test]
fn a_client_has_a_budget() {
    let registry = failing(usize::MAX, || Answer::status(503));
    let options = ClientOptions {
        retries_per_request: 2,
        retry_budget: 3,
        ..ClientOptions::default()
    };
    let client = client(Credentials::Anonymous, options);
    for _ in 0..5 {
        find(&client, &registry.host(), b"x").unwrap_err();
    }
    assert_eq!(client.traffic().retries, 3);
    assert_eq!(registry.requests().len(), 5 + 3);
}

#[test]
fn connections_that_break_are_tried_again() {
    let registry = RecordingRegistry::start();
    let bytes = noise(700_000);
    let reset = |after_bytes| Fault::ResetRequest { after_bytes };
    for (phase, fault) in [
        (Phase::Connect, reset(0)),
        (Phase::UploadStart, reset(0)),
        (Phase::UploadStart, Fault::ResetAnswer { after_bytes: 0 }),
        (Phase::UploadPut, reset(0)),
        (Phase::UploadPut, reset(300_000)),
        (Phase::UploadPut, Fault::status(502)),
        (Phase::UploadPut, Fault::status(404)),
        (Phase::UploadPut, Fault::EarlyAnswer(Answer::status(500))),
    ] {
        let proxy = FaultProxy::start(
            &registry.host(),
            vec![Rule::on(phase, fault.clone()).times(1)],
        );
        let client = anonymous();
        let repository = repository(&client, &proxy.host(), "a");
        let told = client.runtime().block_on(upload(&repository, &bytes));
        assert_eq!(told.unwrap(), bytes.len() as u64, "{phase:?} {fault:?}");
        let stored = registry.blob(&Digest::of(&bytes).to_string());
        assert!(stored.unwrap() == bytes);
        assert!(client.traffic().retries >= 1, "{phase:?} {fault:?}");
    }
}

#[test]
fn what_stands_still_is_tried_again() {
    let registry = RecordingRegistry::start();
    let lasting = Duration::from_secs(20);
    let bytes = noise(9_000_000);
    for (phase, fault) in [
        (
            Phase::UploadStart,
            Fault::StallAnswer {
                after_bytes: 0,
                lasting,
            },
        ),
        (
            Phase::UploadPut,
            Fault::StallRequest {
                after_bytes: 100_000,
                lasting,
            },
        ),
    ] {
        let proxy = FaultProxy::start(&registry.host(), vec![Rule::on(phase, fault).times(1)]);
        let lines = Arc::new(Lines::default());
        let options = ClientOptions {
            observer: Some(Arc::clone(&lines) as _),
            ..impatient()
        };
        let client = client(Credentials::Anonymous, options);
        let repository = repository(&client, &proxy.host(), "a");
        client
            .runtime()
            .block_on(upload(&repository, &bytes))
            .unwrap();
        assert!(
            client.traffic().retries >= 1,
            "{phase:?}: {:?}",
            lines.all()
        );
    }
    let stall = Fault::StallAnswer {
        after_bytes: 0,
        lasting,
    };
    let rule = Rule::on(Phase::BlobHead, stall);
    let proxy = FaultProxy::start(&registry.host(), vec![rule]);
    let options = ClientOptions {
        retries_per_request: 1,
        ..impatient()
    };
    let client = client(Credentials::Anonymous, options);
    let error = find(&client, &proxy.host(), &bytes).unwrap_err();
    let RegistryError::Transport {
        source, tries: 2, ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(
        source.to_string().contains("no answer for 0.6 seconds"),
        "{source}"
    );
}

#[test]
fn a_wrong_port_is_told_soon() {
    // The port of a service that died out in the 1980s: no other test can be given it.
    let client = anonymous();
    let error = find(&client, "127.0.0.1:1", b"x").unwrap_err();
    assert!(error.to_string().contains("(tried 3 times)"), "{error}");
    assert!(error.hint().unwrap().contains("nothing listens"));
}

#[test]
fn too_many_requests_lower_the_number_of_those_at_once() {
    let registry = failing(1, || Answer::status(429).with_header("Retry-After", "0"));
    let client = anonymous();
    find(&client, &registry.host(), b"x").unwrap();
    let repository = repository(&client, &registry.host(), "a");
    let free = client.runtime().block_on(async {
        let mut permits = Vec::new();
        let limiter = &repository.host.limiter;
        while let Ok(permit) =
            tokio::time::timeout(Duration::from_millis(50), limiter.acquire()).await
        {
            permits.push(permit);
        }
        permits.len()
    });
    assert_eq!(free, 4, "half of eight, and not yet one more");
}

#[test]
fn a_manifest_is_stored_once_more_after_a_fault_and_a_wrong_digest_is_told() {
    let registry = RecordingRegistry::start();
    let manifest = br#"{"schemaVersion":2}"#;
    let put = |rule: Rule| {
        let proxy = FaultProxy::start(&registry.host(), vec![rule]);
        let client = anonymous();
        let repository = repository(&client, &proxy.host(), "a");
        client.runtime().block_on(async {
            let media_type = MediaType::OciManifest;
            repository
                .put_manifest("tag", &media_type, manifest, &subject())
                .await
        })
    };
    for fault in [
        Fault::ResetAnswer { after_bytes: 0 },
        Fault::ResetRequest { after_bytes: 3 },
        Fault::status(503),
    ] {
        put(Rule::on(Phase::ManifestPut, fault).times(1)).unwrap();
        assert_eq!(registry.manifest("tag").unwrap(), manifest);
    }
    let wrong = Fault::header("Docker-Content-Digest", &Digest::of(b"other").to_string());
    let error = put(Rule::on(Phase::ManifestPut, wrong)).unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, RegistryError::DigestDiffers { .. }),
        "{text}"
    );
    assert!(text.contains(&Digest::of(b"other").to_string()));
    assert!(text.contains(&Digest::of(manifest).to_string()));

    let missing = Digest::of(b"missing");
    let answer =
        format!(r#"{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","detail":"{missing}"}}]}}"#);
    let answer = Fault::Answer(Answer::status(404).with_body(answer));
    let error = put(Rule::on(Phase::ManifestPut, answer)).unwrap_err();
    let RegistryError::BlobUnknown { digests, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(digests, [missing]);
}
