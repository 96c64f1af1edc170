//! Who asks: challenges, tokens, their ends, and where secrets must not go.

use super::{ann, anonymous, client, noise, repository, subject, upload};
use crate::repository::{FoundBlob, Mount};
use crate::{ClientOptions, Credentials, RegistryError};
use futures_util::future::join_all;
use nixply_oci::Digest;
use nixply_testkit::registry::{
    Answer, RecordingRegistry, RegistryKind, RegistryProcess, RegistrySetup, Request,
    TEST_PASSWORD, TEST_REFRESH_TOKEN, TEST_USER, TokenRules, TokenServer,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn aladdin() -> Credentials {
    Credentials::Basic {
        username: TEST_USER.to_owned(),
        password: TEST_PASSWORD.to_owned(),
    }
}

fn real_with(tokens: &TokenServer) -> Option<RegistryProcess> {
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    setup.with_tokens(tokens).start()
}

/// A registry that wants one token, and its service at `/token`, which answers as told.
fn with_token_service(
    service: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    params: &'static str,
) -> RecordingRegistry {
    RecordingRegistry::start_with(move |request| {
        if request.path == "/token" {
            return Some(service(request));
        }
        let host = request.header("host").unwrap_or_default();
        let challenge = format!(r#"Bearer realm="http://{host}/token"{params}"#);
        (request.header("authorization") != Some("Bearer right")).then(|| {
            Answer::refusal(401, "UNAUTHORIZED", "who are you?")
                .with_header("WWW-Authenticate", &challenge)
        })
    })
}

fn right() -> Answer {
    Answer::status(200).with_body(r#"{"token":"right","expires_in":300}"#)
}

#[test]
fn nobody_is_asked_before_the_first_request_and_nobody_is_told_unasked() {
    let registry = RecordingRegistry::start();
    let client = client(ann(), ClientOptions::default());
    let repository = repository(&client, &registry.host(), "a");
    let subject = subject();
    let found = repository.find_blob(Digest::of(b"x"), 1, &subject);
    assert_eq!(
        client.runtime().block_on(found).unwrap(),
        FoundBlob::Nothing
    );
    let requests = registry.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(client.traffic().requests, 1);
}

#[test]
fn requests_that_need_the_same_token_wait_for_one() {
    let registry = with_token_service(|_| right(), r#",service="s""#);
    let client = client(Credentials::Anonymous, ClientOptions::default());
    let repository = repository(&client, &registry.host(), "team/a");
    client.runtime().block_on(async {
        let subject = subject();
        let asked = (0..20).map(|_| repository.find_blob(Digest::of(b"x"), 1, &subject));
        for found in join_all(asked).await {
            assert_eq!(found.unwrap(), FoundBlob::Nothing);
        }
    });
    let tokens: Vec<Request> = registry.requests();
    let tokens: Vec<&Request> = tokens.iter().filter(|r| r.path == "/token").collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(
        tokens[0].query,
        "service=s&scope=repository%3Ateam%2Fa%3Apull%2Cpush"
    );
    assert_eq!(tokens[0].header("authorization"), None);
    // Only those that were under way before the first answer came, at most one for each connection.
    let refused = registry.requests().len() - 21;
    assert!((1..=8).contains(&refused), "{refused}");
}

#[test]
fn a_service_without_a_name_is_asked_without_one() {
    let registry = with_token_service(|_| right(), "");
    let client = client(ann(), ClientOptions::default());
    let repository = repository(&client, &registry.host(), "a");
    client
        .runtime()
        .block_on(upload(&repository, b"blob"))
        .unwrap();
    let requests = registry.requests();
    let token = requests.iter().find(|r| r.path == "/token").unwrap();
    assert_eq!(token.query, "scope=repository%3Aa%3Apull%2Cpush");
    // `ann:correct horse`
    let basic = Some("Basic YW5uOmNvcnJlY3QgaG9yc2U=");
    assert_eq!(token.header("authorization"), basic);
}

#[test]
fn a_token_that_is_never_taken_ends_in_a_refusal() {
    let answers = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&answers);
    let registry = with_token_service(
        move |_| {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            Answer::status(200).with_body(format!(r#"{{"token":"wrong-{n}"}}"#))
        },
        "",
    );
    let client = client(ann(), ClientOptions::default());
    let repository = repository(&client, &registry.host(), "a");
    let subject = subject();
    let found = repository.find_blob(Digest::of(b"x"), 1, &subject);
    let error = client.runtime().block_on(found).unwrap_err();
    assert!(error.is_status(401), "{error:?}");
    assert!(answers.load(Ordering::SeqCst) <= 3);
    assert_eq!(client.traffic().retries, 0);
}

#[test]
fn a_refusal_in_the_middle_gets_a_new_token() {
    let (asked, refused) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let registry = RecordingRegistry::start_with(move |request| {
        let host = request.header("host").unwrap_or_default();
        let challenge = format!(r#"Bearer realm="http://{host}/token""#);
        let refusal = || Some(Answer::status(401).with_header("WWW-Authenticate", &challenge));
        if request.path == "/token" {
            let n = counter.fetch_add(1, Ordering::SeqCst);
            return Some(Answer::status(200).with_body(format!(r#"{{"access_token":"t{n}"}}"#)));
        }
        match (request.method.as_str(), request.header("authorization")) {
            (_, None) => refusal(),
            ("PUT", Some("Bearer t0")) if refused.fetch_add(1, Ordering::SeqCst) == 0 => refusal(),
            _ => None,
        }
    });
    let client = anonymous();
    let repository = repository(&client, &registry.host(), "a");
    let bytes = noise(700_000);
    client
        .runtime()
        .block_on(upload(&repository, &bytes))
        .unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(
        registry.blob(&Digest::of(&bytes).to_string()).unwrap(),
        bytes
    );
    let requests = registry.requests();
    let last = requests.last().unwrap();
    assert_eq!(last.header("authorization"), Some("Bearer t1"));
    assert_eq!(client.traffic().retries, 0);
}

#[test]
fn tokens_of_two_seconds_are_renewed_before_and_after_their_end() {
    for tells_lifetime in [true, false] {
        let tokens = TokenServer::start(TokenRules {
            lifetime: Duration::from_secs(2),
            tells_lifetime,
            ..TokenRules::default()
        });
        let Some(registry) = real_with(&tokens) else {
            return;
        };
        let client = client(aladdin(), ClientOptions::default());
        let repository = repository(&client, registry.host(), "a/b");
        for n in 0..3_u8 {
            client
                .runtime()
                .block_on(upload(&repository, &[n]))
                .unwrap();
            std::thread::sleep(Duration::from_millis(2100));
        }
        assert!(tokens.requests().len() >= 3);
        // Beside POST and PUT of each: the first, and where no end was told, that of every token that had ended.
        let refused = client.traffic().requests - 3 * 2 - tokens.requests().len() as u64;
        assert_eq!(refused < 3, tells_lifetime, "{refused}");
        assert_eq!(client.traffic().retries, 0);
    }
}

#[test]
fn an_identity_token_is_exchanged_and_else_taken_as_a_password() {
    let tokens = TokenServer::start(TokenRules::default());
    let Some(registry) = real_with(&tokens) else {
        return;
    };
    let identity = Credentials::IdentityToken(TEST_REFRESH_TOKEN.to_owned());
    let exchanging = client(identity, ClientOptions::default());
    let target = repository(&exchanging, registry.host(), "a");
    exchanging
        .runtime()
        .block_on(upload(&target, b"x"))
        .unwrap();
    let asked = tokens.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].status), ("POST", 200));

    for status in [404, 405] {
        let registry = with_token_service(
            move |request| match request.method.as_str() {
                "POST" => Answer::status(status),
                _ => right(),
            },
            "",
        );
        let identity = Credentials::IdentityToken("of-ann".to_owned());
        let client = client(identity, ClientOptions::default());
        let repository = repository(&client, &registry.host(), "a");
        client
            .runtime()
            .block_on(upload(&repository, b"x"))
            .unwrap();
        let requests = registry.requests();
        let is_get = |r: &&Request| r.path == "/token" && r.method == "GET";
        let token = requests.iter().find(is_get).unwrap();
        // `<token>:of-ann`
        let basic = Some("Basic PHRva2VuPjpvZi1hbm4=");
        assert_eq!(token.header("authorization"), basic);
    }
}

#[test]
fn a_password_goes_without_a_token_service_and_a_registry_token_too() {
    let Some(registry) = RegistryProcess::start_with_user() else {
        return;
    };
    let client_of = |credentials| client(credentials, ClientOptions::default());
    let by_password = client_of(aladdin());
    let target = repository(&by_password, registry.host(), "a");
    by_password
        .runtime()
        .block_on(upload(&target, b"x"))
        .unwrap();
    assert_eq!(by_password.traffic().requests, 3, "one refusal, POST, PUT");

    let registry = with_token_service(|_| Answer::status(500), "");
    let by_token = client_of(Credentials::RegistryToken("right".to_owned()));
    let target = repository(&by_token, &registry.host(), "a");
    by_token.runtime().block_on(upload(&target, b"x")).unwrap();
    assert!(registry.requests().iter().all(|r| r.path != "/token"));
}

#[test]
fn no_secret_goes_to_a_realm_in_the_clear() {
    let registry = RecordingRegistry::start_with(|_| {
        let challenge = r#"Bearer realm="http://tokens.example/token""#;
        Some(Answer::status(401).with_header("WWW-Authenticate", challenge))
    });
    let client = client(ann(), ClientOptions::default());
    let repository = repository(&client, &registry.host(), "a");
    let subject = subject();
    let found = repository.find_blob(Digest::of(b"x"), 1, &subject);
    let error = client.runtime().block_on(found).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("in the clear"), "{text}");
    assert!(!text.contains("correct horse"));
    assert_eq!(client.traffic().requests, 1);
}

#[test]
fn a_mount_needs_rights_on_both_repositories() {
    let tokens = TokenServer::start(TokenRules::default());
    let Some(registry) = real_with(&tokens) else {
        return;
    };
    let client = client(aladdin(), ClientOptions::default());
    let block = |future| client.runtime().block_on(future);
    let source = repository(&client, registry.host(), "team/source");
    let target = repository(&client, registry.host(), "team/target");
    let bytes = noise(1000);
    block(upload(&source, &bytes)).unwrap();
    let mount = |from: &'static str| {
        let target = target.clone();
        let digest = Digest::of(&bytes);
        client
            .runtime()
            .block_on(async move { target.mount(digest, from, &subject()).await })
    };
    assert!(matches!(mount("team/source").unwrap(), Mount::Mounted));
    let asked = tokens.requests();
    let scopes = [
        "repository:team/source:pull",
        "repository:team/target:pull,push",
    ];
    assert_eq!(asked.last().unwrap().scopes, scopes);

    tokens.set_rules(TokenRules {
        refused_repositories: BTreeSet::from(["team/secret".to_owned()]),
        ..TokenRules::default()
    });
    assert!(matches!(
        mount("team/secret").unwrap(),
        Mount::NotMounted(None)
    ));
    let n_requests = client.traffic().requests;
    assert!(matches!(
        mount("team/secret").unwrap(),
        Mount::NotMounted(None)
    ));
    assert_eq!(client.traffic().requests, n_requests, "it is known by now");
    block(upload(&target, &noise(2000))).unwrap();
}

#[test]
fn a_token_service_that_refuses_a_mount_only_costs_the_mount() {
    let registry = with_token_service(
        |request| {
            if request.query.contains("other") {
                Answer::refusal(403, "DENIED", "not that one")
            } else {
                right()
            }
        },
        "",
    );
    let client = anonymous();
    let repository = repository(&client, &registry.host(), "a");
    client.runtime().block_on(async {
        let digest = Digest::of(b"x");
        let mounted = repository.mount(digest, "other", &subject()).await.unwrap();
        assert!(matches!(mounted, Mount::NotMounted(None)));
        upload(&repository, b"x").await.unwrap();
    });
    assert!(registry.blob(&Digest::of(b"x").to_string()).is_some());
}

#[test]
fn a_redirect_to_another_host_is_told_nothing() {
    let bytes = noise(5000);
    let digest = Digest::of(&bytes);
    let body = bytes.clone();
    let storage =
        RecordingRegistry::start_with(move |_| Some(Answer::status(200).with_body(body.clone())));
    let location = format!("http://{}/bucket/x?signature=s", storage.host());
    let registry = with_token_service(|_| right(), "");
    let host = registry.host();
    let redirecting = RecordingRegistry::start_with(move |request| {
        let challenge = format!(r#"Bearer realm="http://{host}/token""#);
        Some(match request.header("authorization") {
            None => Answer::status(401).with_header("WWW-Authenticate", &challenge),
            Some(_) => Answer::status(307).with_header("Location", &location),
        })
    });
    let client = client(ann(), ClientOptions::default());
    let repository = repository(&client, &redirecting.host(), "a");
    let read = client.runtime().block_on(async {
        let size_bytes = bytes.len() as u64;
        let mut blob = repository.blob(digest, size_bytes, &subject()).await?;
        let mut read = Vec::new();
        while let Some(segment) = blob.next().await? {
            read.extend_from_slice(&segment);
        }
        Ok::<_, RegistryError>(read)
    });
    assert!(read.unwrap() == bytes);
    for request in storage.requests() {
        assert_eq!(request.header("authorization"), None);
        assert_eq!(request.query, "signature=s");
    }
}
