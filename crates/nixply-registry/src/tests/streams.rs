//! Uploads of layers that are still being made.

use super::{Way, anonymous, client, made, noise, record, repository, stream, subject, upload};
use crate::host::UploadMethod;
use crate::stream_upload::StreamFailure;
use crate::{ClientOptions, Credentials};
use nixply_oci::Digest;
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Nginx, Phase, RecordingRegistry, RegistryKind, RegistrySetup,
    Request, Rule,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// The most bytes that registries with a limit take in a PATCH.
const PATCH_MAX_BYTES: usize = 4_000_000;

fn is_chunk(request: &Request) -> bool {
    request.header("content-range").is_some()
}

#[test]
fn one_request_of_unknown_length_where_that_is_taken() {
    let registry = RecordingRegistry::start();
    let client = anonymous();
    let target = repository(&client, &registry.host(), "a");
    let bytes = noise(9_000_000);
    let way = client.runtime().block_on(stream(&target, &bytes)).unwrap();
    assert_eq!(
        way,
        Way {
            told_bytes: 9_000_000,
            ..Way::default()
        }
    );
    let requests = registry.requests();
    let patches: Vec<&Request> = requests.iter().filter(|r| r.method == "PATCH").collect();
    assert_eq!(patches.len(), 1);
    assert_eq!(patches[0].header("transfer-encoding"), Some("chunked"));
    assert!(!is_chunk(patches[0]));
    assert!(registry.blob(&Digest::of(&bytes).to_string()).unwrap() == bytes);
}

#[test]
fn chunks_where_one_request_is_refused_and_then_at_once() {
    for status in [400, 411, 413, 416, 501] {
        let registry = RecordingRegistry::start_with(move |request| {
            let refused = request.method == "PATCH"
                && (!is_chunk(request) || request.body.len() > PATCH_MAX_BYTES);
            refused.then(|| Answer::status(status))
        });
        let client = anonymous();
        let target = repository(&client, &registry.host(), "a");
        let bytes = noise(9_000_000);
        let way = client.runtime().block_on(stream(&target, &bytes)).unwrap();
        assert_eq!(way.refused_methods, 1, "{status}");
        assert_eq!(target.upload_method(), UploadMethod::Chunked);
        registry.forget_requests();
        let other = noise(5_000_001);
        client.runtime().block_on(stream(&target, &other)).unwrap();
        let requests = registry.requests();
        let patches = requests.iter().filter(|r| r.method == "PATCH");
        let ranges: Vec<&str> = patches
            .map(|r| r.header("content-range").unwrap())
            .collect();
        assert_eq!(ranges, ["0-3932159", "3932160-5000000"]);
        for bytes in [bytes, other] {
            assert!(registry.blob(&Digest::of(&bytes).to_string()).unwrap() == bytes);
        }
    }
}

#[test]
fn larger_chunks_for_a_registry_that_wants_them() {
    let registry = RecordingRegistry::start_with(|request| {
        let refused = request.method == "PATCH" && !is_chunk(request);
        refused.then(|| Answer::status(405))
    });
    let minimum = Fault::header("OCI-Chunk-Min-Length", "6000000");
    let proxy = FaultProxy::start(
        &registry.host(),
        vec![Rule::on(Phase::UploadStart, minimum)],
    );
    let client = anonymous();
    let target = repository(&client, &proxy.host(), "a");
    client
        .runtime()
        .block_on(stream(&target, &noise(13_000_000)))
        .unwrap();
    let requests = registry.requests();
    let ranges: Vec<&str> = requests
        .iter()
        .filter_map(|r| r.header("content-range"))
        .collect();
    assert_eq!(
        ranges,
        ["0-5999999", "6000000-11999999", "12000000-12999999"]
    );
}

#[test]
fn a_registry_that_takes_only_whole_blobs_is_found_out() {
    let registry = RecordingRegistry::start_with(|request| {
        (request.method == "PATCH").then(|| Answer::refusal(405, "UNSUPPORTED", "no chunks"))
    });
    let client = anonymous();
    let target = repository(&client, &registry.host(), "a");
    let error = client
        .runtime()
        .block_on(stream(&target, &noise(9_000_000)));
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("takes layers in parts")
    );
    assert_eq!(target.upload_method(), UploadMethod::Whole);
    assert_eq!(registry.count("PATCH"), 2);
}

#[test]
fn a_body_limit_of_nginx_is_named() {
    let Some(real) = RegistrySetup::new(RegistryKind::Distribution2).start() else {
        return;
    };
    let Some(nginx) = Nginx::start(real.host(), 1_000_000) else {
        return;
    };
    let client = anonymous();
    let target = repository(&client, nginx.host(), "a");
    let error = client
        .runtime()
        .block_on(upload(&target, &noise(9_000_000)));
    assert!(error.unwrap_err().is_status(413));
}

#[test]
fn a_body_limit_of_nginx_is_found_out() {
    let Some(real) = RegistrySetup::new(RegistryKind::Distribution2).start() else {
        return;
    };
    for (limit, method) in [
        (4_000_000, UploadMethod::Chunked),
        (1_000_000, UploadMethod::Whole),
    ] {
        let Some(nginx) = Nginx::start(real.host(), limit) else {
            return;
        };
        let client = anonymous();
        let target = repository(&client, nginx.host(), "a");
        let result = client
            .runtime()
            .block_on(stream(&target, &noise(9_000_000)));
        assert_eq!(
            result.is_ok(),
            method == UploadMethod::Chunked,
            "{result:?}"
        );
        assert_eq!(target.upload_method(), method);
    }
}

/// A registry that keeps `kept` bytes of the first PATCH and says 503, and tells how far it got.
fn forgetful(kept: usize) -> (RecordingRegistry, Arc<Mutex<Vec<u8>>>) {
    let stored = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&stored);
    let broken = Mutex::new(false);
    let registry = RecordingRegistry::start_with(move |request| {
        let location = "/v2/a/blobs/uploads/s?_state=x";
        let mut stored = shared.lock().unwrap();
        let range = |stored: &[u8]| format!("0-{}", stored.len().saturating_sub(1));
        match request.method.as_str() {
            "POST" => Some(Answer::status(202).with_header("Location", location)),
            "PATCH" => {
                let mut broken = broken.lock().unwrap();
                let is_first = !std::mem::replace(&mut *broken, true);
                if is_first {
                    stored.extend_from_slice(&request.body[..kept]);
                    return Some(Answer::status(503));
                }
                stored.extend_from_slice(&request.body);
                let answer = Answer::status(202).with_header("Location", location);
                Some(answer.with_header("Range", &range(&stored)))
            }
            "GET" if request.path.contains("/uploads/") => {
                let answer = Answer::status(204).with_header("Location", location);
                Some(answer.with_header("Range", &range(&stored)))
            }
            "PUT" => {
                let digest = Digest::of(&stored).to_string();
                let is_right = request.query_value("digest") == Some(digest);
                Some(Answer::status(if is_right { 201 } else { 400 }))
            }
            _ => None,
        }
    });
    (registry, stored)
}

#[test]
fn an_upload_goes_on_where_the_registry_says() {
    let bytes = noise(6_000_000);
    let (registry, stored) = forgetful(1_234_567);
    let client = anonymous();
    let target = repository(&client, &registry.host(), "a");
    let way = client.runtime().block_on(stream(&target, &bytes)).unwrap();
    assert_eq!(way.resumed_at, [1_234_567]);
    assert!(*stored.lock().unwrap() == bytes);
    assert_eq!(registry.count("POST"), 1);
}

#[test]
fn an_upload_that_may_not_go_on_begins_again_by_the_same_method() {
    let bytes = noise(6_000_000);
    let n_patches = AtomicUsize::new(0);
    let registry = RecordingRegistry::start_with(move |request| {
        let n = n_patches.load(Ordering::SeqCst);
        match request.method.as_str() {
            "PATCH" => {
                n_patches.store(n + 1, Ordering::SeqCst);
                let status = [503, 400].get(n).copied();
                status.map(Answer::status)
            }
            "GET" if request.path.contains("/uploads/") => {
                let answer = Answer::status(204).with_header("Location", &request.path);
                Some(answer.with_header("Range", "0-999999"))
            }
            _ => None,
        }
    });
    let client = anonymous();
    let target = repository(&client, &registry.host(), "a");
    let way = client.runtime().block_on(stream(&target, &bytes)).unwrap();
    assert_eq!(way.resumed_at, [1_000_000, 0]);
    assert_eq!(target.upload_method(), UploadMethod::Streamed);
    assert!(registry.blob(&Digest::of(&bytes).to_string()).unwrap() == bytes);
}

#[test]
fn a_chunk_goes_on_within_itself_without_its_maker() {
    let bytes = noise(6_000_000);
    let (registry, stored) = forgetful(1_234_567);
    let client = anonymous();
    let target = repository(&client, &registry.host(), "a");
    target.host.refuses_method(UploadMethod::Streamed);
    let way = client.runtime().block_on(stream(&target, &bytes)).unwrap();
    assert_eq!(
        way,
        Way {
            told_bytes: 6_000_000,
            ..Way::default()
        }
    );
    assert!(*stored.lock().unwrap() == bytes);
    let requests = registry.requests();
    let ranges: Vec<&str> = requests
        .iter()
        .filter_map(|r| r.header("content-range"))
        .collect();
    assert_eq!(ranges, ["0-3932159", "1234567-3932159", "3932160-5999999"]);
}

#[test]
fn faults_of_every_kind_in_front_of_distribution_2() {
    faults_of_every_kind(RegistryKind::Distribution2);
}

#[test]
fn faults_of_every_kind_in_front_of_distribution_3() {
    faults_of_every_kind(RegistryKind::Distribution3);
}

#[test]
fn faults_of_every_kind_in_front_of_crane() {
    faults_of_every_kind(RegistryKind::Crane);
}

fn faults_of_every_kind(kind: RegistryKind) {
    let Some(registry) = RegistrySetup::new(kind).start() else {
        return;
    };
    let bytes = noise(9_000_000);
    let reset = |after_bytes| Fault::ResetRequest { after_bytes };
    for (i, (phase, fault)) in [
        (Phase::UploadPatch, reset(0)),
        (Phase::UploadPatch, reset(1_000_000)),
        (Phase::UploadPatch, Fault::ResetAnswer { after_bytes: 0 }),
        (Phase::UploadPatch, Fault::status(503)),
        (Phase::UploadPatch, Fault::status(404)),
        (Phase::UploadPatch, Fault::EarlyAnswer(Answer::status(502))),
        (Phase::UploadPut, reset(0)),
        (Phase::UploadPut, Fault::ResetAnswer { after_bytes: 0 }),
        (Phase::UploadPut, Fault::status(500)),
        (Phase::UploadPut, Fault::status(404)),
    ]
    .into_iter()
    .enumerate()
    {
        for method in [UploadMethod::Streamed, UploadMethod::Chunked] {
            let rule = Rule::on(phase, fault.clone()).times(1);
            let proxy = FaultProxy::start(registry.host(), vec![rule]);
            let client = anonymous();
            let target = repository(&client, &proxy.host(), &format!("a/{i}"));
            if method == UploadMethod::Chunked {
                target.host.refuses_method(UploadMethod::Streamed);
            }
            let way = client.runtime().block_on(stream(&target, &bytes));
            let way =
                way.unwrap_or_else(|e| panic!("{kind:?} {phase:?} {fault:?} {method:?}: {e}"));
            assert_eq!(way.told_bytes, bytes.len() as u64);
            assert!(client.traffic().retries >= 1);
            let about = subject();
            let found = target.find_blob(Digest::of(&bytes), bytes.len() as u64, &about);
            let found = client.runtime().block_on(found).unwrap();
            assert_eq!(found, crate::repository::FoundBlob::Whole);
        }
    }
}

#[test]
fn an_upload_that_stands_still_is_given_up_and_one_that_waits_for_its_maker_is_not() {
    let registry = RecordingRegistry::start();
    let stall = Fault::StallRequest {
        after_bytes: 100_000,
        lasting: Duration::from_secs(20),
    };
    let rule = Rule::on(Phase::UploadPatch, stall).times(1);
    let proxy = FaultProxy::start(&registry.host(), vec![rule]);
    let options = ClientOptions {
        first_byte_timeout: Duration::from_secs(1),
        stall_timeout: Duration::from_secs(1),
        connect_timeout: Duration::from_secs(1),
        ..ClientOptions::default()
    };
    let client = client(Credentials::Anonymous, options);
    let target = repository(&client, &proxy.host(), "a");
    let bytes = noise(12_000_000);
    let way = client.runtime().block_on(stream(&target, &bytes)).unwrap();
    assert!(!way.resumed_at.is_empty());

    client.runtime().block_on(async {
        let mut slow = made(&bytes, 0);
        let (parts, receiver) = mpsc::channel(1);
        let mut quick = std::mem::replace(&mut slow.parts, receiver);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            while let Some(part) = quick.recv().await {
                let _ = parts.send(part).await;
            }
        });
        let (sent, _told) = mpsc::unbounded_channel();
        let found = target.upload_stream(slow, None, &subject(), &sent).await;
        assert_eq!(found.unwrap(), record(&bytes));
    });
}

#[test]
fn a_maker_that_gives_up_ends_the_upload() {
    let registry = RecordingRegistry::start();
    let client = anonymous();
    for method in [UploadMethod::Streamed, UploadMethod::Chunked] {
        let target = repository(&client, &registry.host(), "a");
        if method == UploadMethod::Chunked {
            target.host.refuses_method(UploadMethod::Streamed);
        }
        let failure = client.runtime().block_on(async {
            let mut layer = made(&noise(2_000_000), 0);
            let (parts, receiver) = mpsc::channel(1);
            layer.parts = receiver;
            drop(parts);
            let (sent, _told) = mpsc::unbounded_channel();
            target.upload_stream(layer, None, &subject(), &sent).await
        });
        assert!(
            matches!(failure, Err(StreamFailure::Fatal(_))),
            "{failure:?}"
        );
        assert_eq!(client.traffic().retries, 0);
    }
}

#[test]
fn a_registry_that_always_fails_ends_a_stream() {
    let registry = RecordingRegistry::start_with(|request| {
        (request.method == "PATCH").then(|| Answer::status(500))
    });
    let options = ClientOptions {
        retries_per_request: 2,
        ..ClientOptions::default()
    };
    let client = client(Credentials::Anonymous, options);
    let target = repository(&client, &registry.host(), "a");
    let error = client
        .runtime()
        .block_on(stream(&target, &noise(1_000_000)))
        .unwrap_err();
    assert!(error.to_string().contains("(tried 3 times)"), "{error}");
    assert_eq!(registry.count("PATCH"), 3);
}
