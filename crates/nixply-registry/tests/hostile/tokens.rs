//! Registries that want a token of another server, which may not live as long as the push.

use crate::common::{
    assert_stored, client_as, client_options, large_layer, message, push_by, small_layer,
};
use nixply_registry::{Client, Credentials};
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Phase, RegistryKind, RegistrySetup, Rule, TEST_PASSWORD,
    TEST_REFRESH_TOKEN, TEST_USER, TokenRules, TokenServer,
};
use std::collections::BTreeSet;
use std::time::Duration;

fn user() -> Credentials {
    Credentials::Basic {
        username: TEST_USER.to_owned(),
        password: TEST_PASSWORD.to_owned(),
    }
}

/// A client for the one user there is.
pub(crate) fn client() -> Client {
    client_as(user(), client_options())
}

fn layers() -> Vec<TestLayer> {
    vec![
        small_layer(1),
        large_layer(2),
        small_layer(3),
        large_layer(4),
    ]
}

#[test]
fn a_slow_push_outlives_its_tokens() {
    let cases = [
        (RegistryKind::Distribution2, user(), true),
        (
            RegistryKind::Distribution2,
            Credentials::IdentityToken(TEST_REFRESH_TOKEN.to_owned()),
            true,
        ),
        // A client has to take this token for one of a minute, and finds out.
        (RegistryKind::Distribution2, user(), false),
        (RegistryKind::Distribution3, user(), true),
    ];
    crate::common::for_all(&cases, |(kind, credentials, tells_lifetime)| {
        let tokens = TokenServer::start(TokenRules {
            lifetime: Duration::from_secs(2),
            tells_lifetime: *tells_lifetime,
            ..TokenRules::default()
        });
        let Some(registry) = RegistrySetup::new(*kind).with_tokens(&tokens).start() else {
            return;
        };
        // The large layers take three seconds each.
        let slow = Fault::Slow {
            bytes_per_second: 350_000,
        };
        let proxy = FaultProxy::start(registry.host(), vec![Rule::on(Phase::UploadPatch, slow)]);
        let client = client_as(credentials.clone(), client_options());
        let result = push_by(&client, &proxy.host(), "team/app:x", &layers());
        if let Err(error) = result {
            panic!("{}", message(&error));
        }
        let asked = tokens.requests();
        assert!(asked.len() > 1, "one token was not enough: {asked:?}");
        let most = proxy.log().len() / 2;
        assert!(
            asked.len() < most,
            "{} tokens for {most} requests",
            asked.len()
        );
        for question in &asked {
            assert_eq!(question.user.as_deref(), Some(TEST_USER));
            assert_eq!(question.service.as_deref(), Some("the test's registry"));
            assert_eq!(question.scopes, ["repository:team/app:pull,push"]);
        }
        let client = client_as(credentials.clone(), client_options());
        assert_stored(&client, registry.host(), "team/app:x", &layers());
    });
}

#[test]
fn a_401_in_the_middle_is_answered_with_a_new_token() {
    let tokens = TokenServer::start(TokenRules::default());
    let Some(registry) = RegistrySetup::new(RegistryKind::Distribution2)
        .with_tokens(&tokens)
        .start()
    else {
        return;
    };
    let challenge = format!(
        r#"Bearer realm="{}",service="the test's registry",error="invalid_token""#,
        tokens.realm()
    );
    let refusal = Answer::refusal(401, "UNAUTHORIZED", "your token has ended")
        .with_header("WWW-Authenticate", &challenge);
    let phases = [
        Phase::BlobHead,
        Phase::UploadStart,
        Phase::UploadPatch,
        Phase::UploadPut,
        Phase::ManifestPut,
    ];
    for phase in phases {
        for (way, fault) in [
            ("late", Fault::Answer(refusal.clone())),
            ("early", Fault::EarlyAnswer(refusal.clone())),
        ] {
            // There is one manifest only.
            let n_before = u32::from(phase != Phase::ManifestPut);
            let rule = Rule::on(phase, fault).after(n_before).times(1);
            let proxy = FaultProxy::start(registry.host(), vec![rule]);
            let client = client();
            let name = format!("middle/{phase:?}/{way}:x").to_lowercase();
            let result = push_by(&client, &proxy.host(), &name, &layers());
            if let Err(error) = result {
                panic!("{phase:?}: {}", message(&error));
            }
            assert_eq!(proxy.faults().len(), 1, "{phase:?}");
            assert_stored(&client, registry.host(), &name, &layers());
        }
    }
}

#[test]
fn who_may_not_push_is_told_so_and_no_secret_is() {
    let tokens = TokenServer::start(TokenRules {
        refused_repositories: BTreeSet::from(["secret/app".to_owned()]),
        ..TokenRules::default()
    });
    let Some(registry) = RegistrySetup::new(RegistryKind::Distribution2)
        .with_tokens(&tokens)
        .start()
    else {
        return;
    };
    let wrong = Credentials::Basic {
        username: TEST_USER.to_owned(),
        password: "open barley".to_owned(),
    };
    let wrong_identity = Credentials::IdentityToken("open barley".to_owned());
    for (credentials, name, status) in [
        (wrong, "team/app:x", "401"),
        (wrong_identity, "team/app:x", "401"),
        (Credentials::Anonymous, "team/app:x", "401"),
        (user(), "secret/app:x", "401"),
    ] {
        let client = client_as(credentials, client_options());
        let error = push_by(&client, registry.host(), name, &layers()).unwrap_err();
        let text = format!("{} {error:?}", message(&error));
        assert!(text.contains(status), "{text}");
        assert!(error.is_network_or_registry(), "{text}");
        assert!(error.hint().is_some(), "{text}");
        // `b3BlbiBiYXJsZXk` and `YWxhZGRpbj` are parts of what would go over the wire; `eyJ` begins every token.
        for secret in [
            "barley",
            TEST_PASSWORD,
            "b3BlbiBiYXJsZXk",
            "YWxhZGRpbj",
            "eyJ",
        ] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    assert!(registry.blobs().is_empty());
}
