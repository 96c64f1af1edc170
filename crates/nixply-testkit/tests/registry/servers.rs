//! Real registries, with each kind of log-in.

use crate::client::{Answer, ask};
use data_encoding::BASE64;
use nixply_testkit::registry::{
    Authority, Nginx, RecordingRegistry, RegistryKind, RegistryProcess, RegistrySetup,
    TEST_PASSWORD, TEST_REFRESH_TOKEN, TEST_USER, TokenRules, TokenServer,
};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

fn token_of(answer: &Answer) -> String {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["access_token"].as_str().unwrap().to_owned()
}

fn path_and_host(server: &TokenServer) -> (String, String) {
    let realm = server.realm();
    let rest = realm.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    (host.to_owned(), format!("/{path}"))
}

fn basic() -> String {
    let secret = format!("{TEST_USER}:{TEST_PASSWORD}");
    format!("Authorization: Basic {}", BASE64.encode(secret.as_bytes()))
}

fn get_token(server: &TokenServer, scopes: &str, headers: &[&str]) -> Answer {
    let (host, path) = path_and_host(server);
    ask(
        &host,
        &format!("GET {path}?service=x&{scopes}"),
        headers,
        b"",
    )
    .unwrap()
}

/// The status of the start of an upload.
fn post(registry: &RegistryProcess, repository: &str, token: &str) -> u16 {
    let header = format!("Authorization: Bearer {token}");
    let request = format!("POST /v2/{repository}/blobs/uploads/");
    ask(registry.host(), &request, &[&header], b"")
        .unwrap()
        .status
}

#[test]
fn both_distributions_take_the_tokens_for_as_long_as_they_live() {
    let rules = TokenRules {
        lifetime: Duration::from_secs(2),
        ..TokenRules::default()
    };
    let server = TokenServer::start(rules);
    for kind in [RegistryKind::Distribution2, RegistryKind::Distribution3] {
        let Some(registry) = RegistrySetup::new(kind).with_tokens(&server).start() else {
            continue;
        };
        let ping = ask(registry.host(), "GET /v2/", &[], b"").unwrap();
        assert_eq!(ping.status, 401);
        let challenge = ping.header("www-authenticate").unwrap();
        assert!(challenge.contains(&server.realm()), "{challenge}");

        let scope = "scope=repository:a/b:pull,push";
        let token = token_of(&get_token(&server, scope, &[&basic()]));
        assert_eq!(post(&registry, "a/b", &token), 202);
        assert_eq!(post(&registry, "a/c", &token), 401, "another repository");
        let anonymous = token_of(&get_token(&server, scope, &[]));
        assert_eq!(post(&registry, "a/b", &anonymous), 401, "only users push");
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(post(&registry, "a/b", &token), 401, "it has ended");
    }
}

#[test]
fn a_refresh_token_is_taken_in_place_of_a_password() {
    let server = TokenServer::start(TokenRules {
        tells_lifetime: false,
        refused_repositories: BTreeSet::from(["secret".to_owned()]),
        ..TokenRules::default()
    });
    let (host, path) = path_and_host(&server);
    let post_form = |secret: &str| {
        let form = format!(
            "grant_type=refresh_token&service=the+registry&client_id=test&refresh_token={secret}\
             &scope=repository%3Aa%3Apull%2Cpush+repository%3Asecret%3Apull"
        );
        let form_header = ["Content-Type: application/x-www-form-urlencoded"];
        ask(
            &host,
            &format!("POST {path}"),
            &form_header,
            form.as_bytes(),
        )
        .unwrap()
    };
    assert_eq!(post_form("wrong").status, 401);
    let answer = post_form(TEST_REFRESH_TOKEN);
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body.get("expires_in"), None);
    let wrong_password = get_token(&server, "scope=x", &["Authorization: Basic eDp5"]);
    assert_eq!(wrong_password.status, 401);

    let asked = server.requests();
    let statuses: Vec<u16> = asked.iter().map(|request| request.status).collect();
    assert_eq!(statuses, [401, 200, 401]);
    assert_eq!(asked[1].user.as_deref(), Some(TEST_USER));
    assert_eq!(asked[1].service.as_deref(), Some("the registry"));
    assert_eq!(
        asked[1].scopes,
        ["repository:a:pull,push", "repository:secret:pull"]
    );

    let token = token_of(&answer);
    let Some(registry) = RegistrySetup::new(RegistryKind::Distribution2)
        .with_tokens(&server)
        .start()
    else {
        return;
    };
    assert_eq!(post(&registry, "a", &token), 202);
    let header = format!("Authorization: Bearer {token}");
    let listed = ask(registry.host(), "GET /v2/secret/tags/list", &[&header], b"").unwrap();
    assert_eq!(listed.status, 401, "the scope was refused");
}

#[test]
fn a_registry_speaks_https_and_looks_at_certificates() {
    let Some(openssl) = nixply_testkit::require_program("openssl") else {
        return;
    };
    let authority = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let trusted = write("trusted.pem", &authority.certificate());
    let stranger = write("stranger.pem", &Authority::new().certificate());
    let client = write("client.pem", &authority.client().pem());
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.with_client_certificates(&authority).start() else {
        return;
    };
    let answer = |authority: &std::path::Path, identity: Option<&std::path::Path>| {
        let mut command = std::process::Command::new(&openssl);
        command
            .args(["s_client", "-quiet", "-verify_return_error", "-tls1_2"])
            .args(["-connect", registry.host(), "-CAfile"])
            .arg(authority);
        if let Some(identity) = identity {
            command.arg("-cert").arg(identity).arg("-key").arg(identity);
        }
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let request = b"GET /v2/ HTTP/1.0\r\n\r\n";
        // It may have ended before it was asked.
        let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), request);
        let output = child.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(answer(&trusted, Some(&client)).starts_with("HTTP/1.0 200"));
    assert_eq!(answer(&trusted, None), "", "no certificate of a client");
    assert_eq!(answer(&stranger, Some(&client)), "", "another authority");
}

#[test]
fn a_registry_listens_on_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return nixply_testkit::say_skipped("this machine has no IPv6");
    }
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.on_ipv6().start() else {
        return;
    };
    assert!(registry.host().starts_with("[::1]:"));
    let ping = ask(registry.host(), "GET /v2/", &[], b"").unwrap();
    assert_eq!(ping.status, 200);
}

#[test]
fn whole_blobs_are_counted_and_outlive_a_kill() {
    for kind in [RegistryKind::Distribution2, RegistryKind::Distribution3] {
        let Some(mut registry) = RegistrySetup::new(kind).start() else {
            continue;
        };
        assert_eq!(registry.blobs(), BTreeSet::new());
        let location = crate::client::start_upload(registry.host(), "a");
        let digest = nixply_oci::Digest::of(b"a blob").to_string();
        registry.restart();
        let put = format!("PUT {location}&digest={digest}");
        let answer = ask(registry.host(), &put, &[], b"a blob").unwrap();
        assert_eq!(answer.status, 201, "{}", answer.head);
        registry.restart();
        let hex = digest.strip_prefix("sha256:").unwrap();
        assert_eq!(registry.blobs(), BTreeSet::from([hex.to_owned()]));
        assert_eq!(std::fs::read(registry.blob_file(hex)).unwrap(), b"a blob");
    }
}

#[test]
fn nginx_stands_in_front_and_limits_bodies() {
    let registry = RecordingRegistry::start();
    let Some(nginx) = Nginx::start(&registry.host(), 1000) else {
        return;
    };
    assert_eq!(ask(nginx.host(), "GET /v2/", &[], b"").unwrap().status, 200);
    let post = |size: usize| {
        let body = vec![0; size];
        ask(nginx.host(), "POST /v2/a/blobs/uploads/", &[], &body)
            .unwrap()
            .status
    };
    assert_eq!((post(1000), post(1001)), (202, 413));
    let hosts: Vec<String> = registry
        .requests()
        .iter()
        .map(|r| r.header("host").unwrap().to_owned())
        .collect();
    assert_eq!(hosts, [nginx.host(), nginx.host()]);
}
