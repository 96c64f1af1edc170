//! What stands between: TLS with an authority of one's own, nginx with a limit, IPv6, other hosts; and two pushes at once.

use crate::common::{
    OBSERVER, assert_stored, client_as, client_options, digest, for_all, large_layer, message,
    push_by, push_to, small_layer,
};
use nixply_registry::{Client, ClientOptions, Credentials};
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{
    Authority, Fault, FaultProxy, Nginx, Phase, RegistryKind, RegistryProcess, RegistrySetup, Rule,
    TEST_PASSWORD, TEST_USER,
};

/// Rules that send uploads to another host.
type Redirect = fn(&str) -> Vec<Rule>;

fn layers() -> Vec<TestLayer> {
    vec![small_layer(1), large_layer(2)]
}

fn client(change: impl FnOnce(&mut ClientOptions)) -> Client {
    let mut options = ClientOptions {
        retries_per_request: 1,
        ..client_options()
    };
    change(&mut options);
    client_as(Credentials::Anonymous, options)
}

#[test]
fn tls_with_an_authority_of_ones_own() {
    let authority = Authority::new();
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.with_tls(&authority).start() else {
        return;
    };
    let pem = authority.certificate().into_bytes();
    let trusting = client(|options| options.ca_certificates = vec![pem]);
    push_by(&trusting, registry.host(), "a:x", &layers()).unwrap();
    assert_stored(&trusting, registry.host(), "a:x", &layers());

    let insecure = client(|options| options.insecure = true);
    assert_stored(&insecure, registry.host(), "a:x", &layers());

    let stranger = Authority::new().certificate().into_bytes();
    for client in [
        client(|_| ()),
        client(|options| options.ca_certificates = vec![stranger]),
    ] {
        let error = push_by(&client, registry.host(), "a:y", &layers()).unwrap_err();
        assert!(error.is_network_or_registry());
        assert!(
            error.hint().unwrap().contains("certificate"),
            "{}",
            message(&error)
        );
    }
}

#[test]
fn a_registry_that_wants_to_see_a_certificate() {
    let authority = Authority::new();
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.with_client_certificates(&authority).start() else {
        return;
    };
    let pem = || vec![authority.certificate().into_bytes()];
    let known = client(|options| {
        options.ca_certificates = pem();
        options.client_identity = Some(authority.client().pem().into_bytes());
    });
    push_by(&known, registry.host(), "a:x", &layers()).unwrap();
    assert_stored(&known, registry.host(), "a:x", &layers());

    let unknown = client(|options| options.ca_certificates = pem());
    let error = push_by(&unknown, registry.host(), "a:y", &layers()).unwrap_err();
    assert!(error.is_network_or_registry());
    let key = authority.client().key;
    assert!(!format!("{known:?} {error:?}").contains(&key[40..80]));
}

#[test]
fn ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return nixply_testkit::say_skipped("this machine has no IPv6");
    }
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.on_ipv6().start() else {
        return;
    };
    push_to(registry.host(), "a:x", &layers()).unwrap();
    assert_stored(&OBSERVER, registry.host(), "a:x", &layers());
}

#[test]
fn nginx_with_a_limit_gets_chunks_or_the_reason() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let image = || vec![small_layer(1), TestLayer::noise(2, 11 << 20)];
    let Some(nginx) = Nginx::start(registry.host(), 5 << 20) else {
        return;
    };
    push_to(nginx.host(), "a:x", &image()).unwrap_or_else(|error| panic!("{}", message(&error)));
    assert_stored(&OBSERVER, registry.host(), "a:x", &image());

    let Some(narrow) = Nginx::start(registry.host(), 1 << 20) else {
        return;
    };
    push_to(narrow.host(), "b:x", &[small_layer(3)]).unwrap();
    let error = push_to(narrow.host(), "b:x", &image()).unwrap_err();
    assert!(message(&error).contains("413"), "{}", message(&error));
    assert!(error.hint().is_some(), "{}", message(&error));
    assert_stored(&OBSERVER, registry.host(), "b:x", &[small_layer(3)]);
}

#[test]
fn uploads_that_go_to_another_host_get_no_password() {
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.start() else {
        return;
    };
    let user = Credentials::Basic {
        username: TEST_USER.to_owned(),
        password: TEST_PASSWORD.to_owned(),
    };
    let ways: [(&str, Redirect); 2] = [
        ("location", |other| {
            vec![Rule::on(Phase::UploadStart, Fault::location_on(other))]
        }),
        ("307", |other| {
            let phases = [Phase::UploadPatch, Phase::UploadPut];
            phases
                .map(|phase| Rule::on(phase, Fault::redirect_to(other)))
                .into()
        }),
    ];
    for_all(&ways, |(way, redirect)| {
        let other = FaultProxy::start(registry.host(), vec![]);
        let proxy = FaultProxy::start(registry.host(), redirect(&other.host()));
        let name = format!("other/{way}:x");
        // The first answer that asks for a password makes the client send it from then on.
        let challenge = nixply_testkit::registry::Answer::refusal(401, "UNAUTHORIZED", "who?")
            .with_header("WWW-Authenticate", "Basic realm=\"r\"");
        let mut rules = redirect(&other.host());
        let is_nobody = |request: &nixply_testkit::registry::RequestHead| {
            request.header("authorization").is_none()
        };
        for phase in Phase::REQUESTS {
            rules.insert(
                0,
                Rule::on(phase, Fault::Answer(challenge.clone())).when(is_nobody),
            );
        }
        proxy.set_rules(rules);
        let client = client_as(user.clone(), client_options());
        push_by(&client, &proxy.host(), &name, &layers())
            .unwrap_or_else(|error| panic!("{}", message(&error)));
        assert_stored(&OBSERVER, registry.host(), &name, &layers());
        let there = other.log();
        assert!(there.iter().any(|passed| passed.phase == Phase::UploadPut));
        assert!(
            there
                .iter()
                .all(|passed| passed.request.header("authorization").is_none())
        );
        let here = proxy.log();
        assert!(
            here.iter()
                .any(|passed| passed.request.header("authorization").is_some())
        );
    });
}

#[test]
fn two_pushes_of_the_same_image_at_once() {
    for kind in RegistryKind::ALL {
        let Some(registry) = RegistrySetup::new(kind).start() else {
            continue;
        };
        let image: Vec<TestLayer> = (1..8)
            .map(small_layer)
            .chain((20..23).map(large_layer))
            .collect();
        let reports = std::thread::scope(|scope| {
            let push = || push_to(registry.host(), "team/app:x", &image).unwrap();
            let pushes = [scope.spawn(push), scope.spawn(push)];
            pushes.map(|push| push.join().unwrap())
        });
        assert_eq!(reports[0].manifest_digest, reports[1].manifest_digest);
        assert_stored(&OBSERVER, registry.host(), "team/app:x", &image);
        if kind != RegistryKind::Crane {
            let blobs = registry.blobs();
            assert!(
                image
                    .iter()
                    .all(|layer| blobs.contains(&digest(layer).hex()))
            );
        }
    }
}
