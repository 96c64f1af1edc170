//! What is read: bounded, checked, and gone on with where it broke off.

use super::{anonymous, client, noise, repository, subject, upload};
use crate::repository::{FoundBlob, StoredManifest};
use crate::{Client, ClientOptions, Credentials, RegistryError};
use nixply_oci::{Digest, MediaType};
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Phase, RecordingRegistry, RegistryProcess, Rule,
};

fn read(client: &Client, host: &str, bytes: &[u8]) -> Result<Vec<u8>, RegistryError> {
    let repository = repository(client, host, "a");
    client.runtime().block_on(async {
        let size_bytes = bytes.len() as u64;
        let mut blob = repository
            .blob(Digest::of(bytes), size_bytes, &subject())
            .await?;
        let mut read = Vec::new();
        while let Some(segment) = blob.next().await? {
            read.extend_from_slice(&segment);
        }
        assert_eq!(blob.next().await?, None, "the end stays the end");
        Ok(read)
    })
}

fn manifest(
    client: &Client,
    host: &str,
    name: &str,
) -> Result<Option<StoredManifest>, RegistryError> {
    let repository = repository(client, host, "a");
    client
        .runtime()
        .block_on(async { repository.manifest(name, &subject()).await })
}

#[test]
fn a_blob_goes_on_where_it_broke_off() {
    let Some(real) = RegistryProcess::start() else {
        return;
    };
    let recording = RecordingRegistry::start();
    let bytes = noise(3_000_000);
    for (host, knows_ranges) in [(real.host(), true), (recording.host().as_str(), false)] {
        let client = anonymous();
        let target = repository(&client, host, "a");
        client.runtime().block_on(upload(&target, &bytes)).unwrap();
        for fault in [
            Fault::ResetAnswer {
                after_bytes: 1_000_000,
            },
            Fault::TruncateAnswer {
                after_bytes: 1_000_000,
            },
            Fault::ResetAnswer { after_bytes: 0 },
        ] {
            let rule = Rule::on(Phase::BlobGet, fault.clone()).times(2);
            let proxy = FaultProxy::start(host, vec![rule]);
            let client = anonymous();
            assert!(read(&client, &proxy.host(), &bytes).unwrap() == bytes);
            assert!(client.traffic().retries >= 1, "{fault:?}");
            let received = client.traffic().bytes_received;
            let all = bytes.len() as u64;
            let is_once = (all..all + 200_000).contains(&received);
            assert!(is_once || !knows_ranges, "{fault:?}: {received}");
        }
    }
}

#[test]
fn a_manifest_that_was_cut_short_is_read_again() {
    let registry = RecordingRegistry::start();
    let text = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
    let writer = anonymous();
    let target = repository(&writer, &registry.host(), "a");
    let media_type = MediaType::OciManifest;
    let about = subject();
    let put = target.put_manifest("tag", &media_type, text, &about);
    writer
        .runtime()
        .block_on(put)
        .unwrap_or_else(|error| panic!("{error}"));
    for fault in [
        Fault::TruncateAnswer { after_bytes: 10 },
        Fault::ResetAnswer { after_bytes: 10 },
        Fault::Answer(
            Answer::status(200)
                .with_header("Docker-Content-Digest", &Digest::of(text).to_string())
                .with_body("{}"),
        ),
    ] {
        let rule = Rule::on(Phase::ManifestGet, fault).times(1);
        let proxy = FaultProxy::start(&registry.host(), vec![rule]);
        let client = anonymous();
        let found = manifest(&client, &proxy.host(), "tag").unwrap().unwrap();
        assert_eq!(found.bytes, text.as_slice());
        assert_eq!(found.digest, Digest::of(text));
        assert_eq!(found.media_type, MediaType::OciManifest);
        assert_eq!(client.traffic().retries, 1);
        assert_eq!(manifest(&client, &proxy.host(), "other").unwrap(), None);
    }
}

#[test]
fn what_is_something_else_is_told_with_both_digests() {
    let (right, wrong) = (Digest::of(b"right"), Digest::of(b"wrong"));
    let text = wrong.to_string();
    let registry = RecordingRegistry::start_with(move |request| {
        let answer = Answer::status(200).with_header("Docker-Content-Digest", &text);
        let is_tag = request.path.ends_with("by-tag");
        Some(answer.with_body(if is_tag { "neither" } else { "wrong" }))
    });
    let once = || {
        let options = ClientOptions {
            retries_per_request: 1,
            ..ClientOptions::default()
        };
        client(Credentials::Anonymous, options)
    };
    let client = once();
    let target = repository(&client, &registry.host(), "a");
    let error = client
        .runtime()
        .block_on(async { target.find_blob(right, 5, &subject()).await });
    let by_digest = manifest(&once(), &registry.host(), &right.to_string());
    let by_tag = manifest(&once(), &registry.host(), "by-tag");
    for (error, expected, found) in [
        (error.unwrap_err(), right, wrong),
        (by_digest.unwrap_err(), right, wrong),
        (by_tag.unwrap_err(), wrong, Digest::of(b"neither")),
        (
            read(&once(), &registry.host(), b"right").unwrap_err(),
            right,
            wrong,
        ),
    ] {
        let text = error.to_string();
        assert!(text.contains(&format!("expected {expected}")), "{text}");
        assert!(text.contains(&format!("found {found}")), "{text}");
    }
}

#[test]
fn a_manifest_is_not_read_without_end() {
    let registry = RecordingRegistry::start_with(|_| {
        Some(Answer::status(200).with_body(vec![b' '; (4 << 20) + 1]))
    });
    let error = manifest(&anonymous(), &registry.host(), "tag").unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::SizeDiffers {
                expected_bytes: 0x40_0000,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_blob_of_another_size_is_told_apart() {
    let registry = RecordingRegistry::start();
    let client = anonymous();
    let target = repository(&client, &registry.host(), "a");
    client.runtime().block_on(async {
        upload(&target, b"four").await.unwrap();
        let digest = Digest::of(b"four");
        for (size_bytes, expected) in [(4, FoundBlob::Whole), (5, FoundBlob::OtherSize)] {
            let found = target.find_blob(digest, size_bytes, &subject()).await;
            assert_eq!(found.unwrap(), expected);
        }
    });
}
