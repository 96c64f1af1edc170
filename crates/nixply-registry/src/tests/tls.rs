//! HTTPS, plain HTTP, certificates, IPv6.

use super::{client, repository, upload};
use crate::{ClientOptions, Credentials, RegistryError};
use nixply_testkit::registry::{Authority, RegistryKind, RegistrySetup};

fn push(host: &str, options: ClientOptions) -> Result<u64, RegistryError> {
    let client = client(Credentials::Anonymous, options);
    let target = repository(&client, host, "a");
    client.runtime().block_on(upload(&target, b"a blob"))
}

fn setup() -> RegistrySetup {
    RegistrySetup::new(RegistryKind::Distribution2)
}

#[test]
fn a_private_authority_has_to_be_named() {
    let authority = Authority::new();
    let Some(registry) = setup().with_tls(&authority).start() else {
        return;
    };
    let error = push(registry.host(), ClientOptions::default()).unwrap_err();
    assert!(error.is_certificate(), "{error:?}");
    assert!(error.hint().unwrap().contains("--insecure"));
    let trusting = ClientOptions {
        ca_certificates: vec![authority.certificate().into_bytes()],
        ..ClientOptions::default()
    };
    push(registry.host(), trusting).unwrap();
    let insecure = ClientOptions {
        insecure: true,
        ..ClientOptions::default()
    };
    push(registry.host(), insecure).unwrap();
}

#[test]
fn a_client_certificate_is_shown_to_who_asks() {
    let authority = Authority::new();
    let Some(registry) = setup().with_client_certificates(&authority).start() else {
        return;
    };
    let options = |identity: Option<String>| ClientOptions {
        ca_certificates: vec![authority.certificate().into_bytes()],
        client_identity: identity.map(String::into_bytes),
        retries_per_request: 0,
        ..ClientOptions::default()
    };
    push(registry.host(), options(Some(authority.client().pem()))).unwrap();
    let error = push(registry.host(), options(None)).unwrap_err();
    // An alert, or a reset that was faster.
    assert!(
        matches!(error, RegistryError::Transport { .. }),
        "{error:?}"
    );
    let key = authority.client().key;
    let shown = format!("{:?} {error:?}", options(Some(key.clone())));
    assert!(!shown.contains(&key[40..60]));
}

#[test]
fn insecure_speaks_plain_http_to_who_speaks_nothing_else() {
    let Some(registry) = setup().start() else {
        return;
    };
    let insecure = ClientOptions {
        insecure: true,
        ..ClientOptions::default()
    };
    push(registry.host(), insecure).unwrap();
}

#[test]
fn ipv6_hosts_are_hosts() {
    let authority = Authority::new();
    let Some(registry) = setup().on_ipv6().start() else {
        return;
    };
    assert!(registry.host().starts_with("[::1]:"));
    push(registry.host(), ClientOptions::default()).unwrap();
    let Some(registry) = setup().on_ipv6().with_tls(&authority).start() else {
        return;
    };
    let trusting = ClientOptions {
        ca_certificates: vec![authority.certificate().into_bytes()],
        ..ClientOptions::default()
    };
    push(registry.host(), trusting).unwrap();
}
