//! Uploads of blobs whose digest is known.

use super::{ann, anonymous, client, noise, repository, segments, subject, upload};
use crate::ClientOptions;
use crate::repository::Mount;
use nixply_oci::Digest;
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Phase, RecordingRegistry, RegistryProcess, Rule,
};
use std::io::Write;
use tokio::sync::mpsc;

#[test]
fn an_answer_that_was_lost_is_found_out_and_nothing_is_sent_twice() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let bytes = noise(500_000);
    let lost = Rule::on(Phase::UploadPut, Fault::ResetAnswer { after_bytes: 0 }).times(1);
    let proxy = FaultProxy::start(registry.host(), vec![lost]);
    let client = anonymous();
    let target = repository(&client, &proxy.host(), "a");
    let told = client.runtime().block_on(upload(&target, &bytes)).unwrap();
    assert_eq!(told, bytes.len() as u64);
    assert_eq!(proxy.count(Phase::UploadPut), 1);
    assert_eq!(proxy.count(Phase::BlobHead), 1);
    assert_eq!(client.traffic().bytes_sent, bytes.len() as u64);
}

#[test]
fn the_session_of_a_mount_that_was_refused_is_used() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let client = anonymous();
    let source = repository(&client, registry.host(), "source");
    let bytes = noise(10_000);
    client.runtime().block_on(upload(&source, &bytes)).unwrap();
    let proxy = FaultProxy::start(
        registry.host(),
        vec![Rule::on(Phase::Mount, Fault::RefuseMount)],
    );
    let target = repository(&client, &proxy.host(), "target");
    client.runtime().block_on(async {
        let digest = Digest::of(&bytes);
        let mounted = target.mount(digest, "source", &subject()).await.unwrap();
        let Mount::NotMounted(Some(session)) = mounted else {
            panic!("{mounted:?}");
        };
        let (sent, _told) = mpsc::unbounded_channel();
        target
            .upload(digest, segments(&bytes), Some(session), &subject(), &sent)
            .await
            .unwrap();
    });
    assert_eq!(proxy.count(Phase::UploadStart), 0);
    assert_eq!(proxy.count(Phase::UploadPut), 1);
}

#[test]
fn a_registry_that_mounts_nothing_is_no_error() {
    for status in [400, 404, 405, 501] {
        let registry = RecordingRegistry::start_with(move |request| {
            let mount = request.query.contains("mount=");
            mount.then(|| Answer::status(status))
        });
        let client = anonymous();
        let target = repository(&client, &registry.host(), "a");
        let mounted = client
            .runtime()
            .block_on(async { target.mount(Digest::of(b"x"), "b", &subject()).await });
        assert!(
            matches!(mounted, Ok(Mount::NotMounted(None))),
            "{status}: {mounted:?}"
        );
    }
}

#[test]
fn a_file_is_sent_from_its_beginning_every_time() {
    let registry = RecordingRegistry::start();
    let bytes = noise(1_000_000);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let reset = Fault::ResetRequest {
        after_bytes: 600_000,
    };
    let rule = Rule::on(Phase::UploadPut, reset).times(1);
    let proxy = FaultProxy::start(&registry.host(), vec![rule]);
    let client = anonymous();
    let target = repository(&client, &proxy.host(), "a");
    let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
    let (sent, mut told) = mpsc::unbounded_channel();
    client.runtime().block_on(async {
        target
            .upload_file(digest, size_bytes, file, &subject(), &sent)
            .await
            .unwrap();
    });
    assert!(registry.blob(&digest.to_string()).unwrap() == bytes);
    let sum: u64 = std::iter::from_fn(|| told.try_recv().ok()).sum();
    assert_eq!(sum, size_bytes, "no byte is told twice");
    assert!(client.traffic().bytes_sent > size_bytes);
}

#[test]
fn an_upload_follows_a_redirect_with_its_body_and_without_its_secrets() {
    let storage = RecordingRegistry::start_with(|_| Some(Answer::status(201)));
    let elsewhere = storage.host();
    let registry = RecordingRegistry::start_with(move |request| {
        if request.header("authorization").is_none() {
            let challenge = r#"Basic realm="r""#;
            return Some(Answer::status(401).with_header("WWW-Authenticate", challenge));
        }
        let location = format!("http://{elsewhere}{}?{}", request.path, request.query);
        let redirect = || Answer::status(308).with_header("Location", &location);
        (request.method == "PUT").then(redirect)
    });
    let client = client(ann(), ClientOptions::default());
    let target = repository(&client, &registry.host(), "a");
    let bytes = noise(300_000);
    client.runtime().block_on(upload(&target, &bytes)).unwrap();
    let requests = storage.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].body == bytes);
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(
        requests[0].query_value("digest"),
        Some(Digest::of(&bytes).to_string())
    );
}

#[test]
fn an_upload_of_nothing_is_an_upload() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let client = anonymous();
    let target = repository(&client, registry.host(), "a");
    let told = client.runtime().block_on(upload(&target, b""));
    assert_eq!(told.unwrap(), 0);
}
