//! How registries are reached: private authorities, clients' certificates, IPv6, proxies, times and retries.

use crate::support::Sandbox;
use nixply_testkit::registry::{
    Answer, Authority, RecordingRegistry, RegistryKind, RegistrySetup, TEST_PASSWORD, TEST_USER,
};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::thread;

fn setup() -> RegistrySetup {
    RegistrySetup::new(RegistryKind::Distribution2)
}

/// Pushes to `team/app:v1` of a host.
fn push(sandbox: &Sandbox, host: &str, more: &[&str], variables: &[(&str, &str)]) -> Output {
    let target = format!("{host}/team/app:v1");
    let push = [
        "push",
        "closure.json",
        &target,
        "--physical-store",
        "store",
        "-q",
    ];
    let fast = ["--retries", "0"];
    let arguments = [&push[..], &fast, more].concat();
    let mut command = sandbox.command(&arguments);
    command.env("XDG_CONFIG_HOME", sandbox.path("config"));
    command.envs(variables.iter().copied()).output().unwrap()
}

fn code_and_stderr(output: &Output) -> (Option<i32>, String) {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), stderr)
}

fn write(sandbox: &Sandbox, name: &str, content: &str) {
    fs::create_dir_all(sandbox.path(name).parent().unwrap()).unwrap();
    sandbox.write(name, content);
}

#[test]
fn a_private_authority_is_trusted_where_it_is_named() {
    let authority = Authority::new();
    let Some(registry) = setup().with_tls(&authority).with_user().start() else {
        return;
    };
    let host = registry.host();
    let sandbox = Sandbox::new();
    write(&sandbox, "ca.pem", &authority.certificate());
    write(&sandbox, "other.pem", &Authority::new().certificate());
    let user = [
        ("REGISTRY_USERNAME", TEST_USER),
        ("REGISTRY_PASSWORD", TEST_PASSWORD),
    ];
    let run = |more: &[&str]| code_and_stderr(&push(&sandbox, host, more, &user));
    for more in [&[][..], &["--ca-cert", "other.pem"]] {
        let (code, stderr) = run(more);
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.contains("certificate"), "{stderr}");
        assert!(
            stderr.contains("--ca-cert"),
            "the hint names the option: {stderr}"
        );
    }
    for more in [
        &["--ca-cert", "other.pem", "--ca-cert", "ca.pem"][..],
        &["--insecure"],
    ] {
        assert_eq!(run(more), (Some(0), String::new()), "{more:?}");
    }
    let of_system = sandbox.path("ca.pem").display().to_string();
    let of_system = [&user[..], &[("SSL_CERT_FILE", &of_system)]].concat();
    assert_eq!(push(&sandbox, host, &[], &of_system).status.code(), Some(0));

    // Where podman and Docker keep them for one registry.
    let other_host = host.replace(':', ":1");
    write(
        &sandbox,
        &format!("config/containers/certs.d/{other_host}/ca.crt"),
        &authority.certificate(),
    );
    assert_eq!(run(&[]).0, Some(4));
    write(
        &sandbox,
        &format!("config/containers/certs.d/{host}/ca.crt"),
        &authority.certificate(),
    );
    assert_eq!(run(&[]), (Some(0), String::new()));

    let login = [
        "login",
        host,
        "-u",
        TEST_USER,
        "--password-stdin",
        "--ca-cert",
        "ca.pem",
    ];
    let mut command = sandbox.command(&login);
    let mut child = command
        .env("HOME", sandbox.path("home"))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(TEST_PASSWORD.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_registry_that_wants_a_certificate_gets_it() {
    let authority = Authority::new();
    let Some(registry) = setup().with_client_certificates(&authority).start() else {
        return;
    };
    let host = registry.host();
    let sandbox = Sandbox::new();
    let client = authority.client();
    write(&sandbox, "ca.pem", &authority.certificate());
    write(&sandbox, "client.pem", &client.certificate);
    write(&sandbox, "client.key", &client.key);
    write(&sandbox, "both.pem", &client.pem());
    write(&sandbox, "stranger.pem", &Authority::new().client().pem());
    let run = |more: &[&str]| {
        let more = [&["--ca-cert", "ca.pem"], more].concat();
        code_and_stderr(&push(&sandbox, host, &more, &[]))
    };
    for more in [&[][..], &["--client-cert", "stranger.pem"]] {
        let (code, stderr) = run(more);
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.contains("name one with --client-cert"), "{stderr}");
    }
    let two_files = ["--client-cert", "client.pem", "--client-key", "client.key"];
    assert_eq!(run(&two_files), (Some(0), String::new()));
    assert_eq!(
        run(&["--client-cert", "both.pem"]),
        (Some(0), String::new())
    );

    let dir = format!("config/containers/certs.d/{host}");
    write(&sandbox, &format!("{dir}/ca.crt"), &authority.certificate());
    write(&sandbox, &format!("{dir}/client.cert"), &client.certificate);
    let (code, stderr) = code_and_stderr(&push(&sandbox, host, &[], &[]));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("{dir}/client.key`")), "{stderr}");
    write(&sandbox, &format!("{dir}/client.key"), &client.key);
    let pushed = code_and_stderr(&push(&sandbox, host, &[], &[]));
    assert_eq!(pushed, (Some(0), String::new()));
}

#[test]
fn certificates_that_are_none() {
    let authority = Authority::new();
    let (client, other) = (authority.client(), authority.client());
    let sandbox = Sandbox::new();
    write(&sandbox, "client.pem", &client.certificate);
    write(&sandbox, "client.key", &client.key);
    write(&sandbox, "other.key", &other.key);
    write(&sandbox, "empty.pem", "");
    for (more, code, expected) in [
        (
            &["--ca-cert", "absent.pem"][..],
            1,
            "error: cannot read `absent.pem`",
        ),
        (
            &["--ca-cert", "empty.pem"],
            3,
            "cause: expected certificates in PEM form",
        ),
        (
            &["--client-cert", "client.pem"],
            3,
            "cause: expected a certificate and its private key in PEM form",
        ),
        (
            &["--client-cert", "client.pem", "--client-key", "client.pem"],
            3,
            "cause: expected a certificate",
        ),
        (
            &[
                "--insecure",
                "--client-cert",
                "client.pem",
                "--client-key",
                "other.key",
            ],
            3,
            "cause: expected a certificate and its private key in PEM form",
        ),
        (&["--client-key", "client.key"], 2, "--client-cert"),
    ] {
        let (found, stderr) = code_and_stderr(&push(&sandbox, "h.invalid", more, &[]));
        assert_eq!(found, Some(code), "{more:?}: {stderr}");
        assert!(stderr.contains(expected), "{more:?}: {stderr}");
        let secret = client.key.lines().nth(1).unwrap();
        assert!(!stderr.contains(secret), "{stderr}");
    }
}

#[test]
fn addresses_of_ipv6_stand_in_brackets() {
    if TcpListener::bind("[::1]:0").is_err() {
        nixply_testkit::say_skipped("this machine has no IPv6");
        return;
    }
    let Some(registry) = setup().on_ipv6().with_user().start() else {
        return;
    };
    let host = registry.host();
    assert!(host.starts_with("[::1]:"), "{host}");
    let sandbox = Sandbox::new();
    write(
        &sandbox,
        "auth.json",
        &format!(
            r#"{{"auths": {{"{host}": {{"username": "{TEST_USER}", "password": "{TEST_PASSWORD}"}}}}}}"#
        ),
    );
    assert_eq!(push(&sandbox, host, &[], &[]).status.code(), Some(4));
    let pushed = code_and_stderr(&push(&sandbox, host, &["--authfile", "auth.json"], &[]));
    assert_eq!(pushed, (Some(0), String::new()));
}

/// A forward proxy that brings everybody to one host and notes for what it was asked.
struct Proxy {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(to: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (to, notes) = (to.to_owned(), Arc::clone(&asked));
        // The thread ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (to, notes) = (to.clone(), Arc::clone(&notes));
                thread::spawn(move || drop(forward(client, &to, &notes)));
            }
        });
        Self { host, asked }
    }

    /// The first lines of the requests so far.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn forward(mut client: TcpStream, to: &str, notes: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let line = text.lines().next().unwrap_or_default().to_owned();
    let is_tunnel = line.starts_with("CONNECT ");
    let credentials = text
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("proxy-auth"));
    notes.lock().unwrap().extend(
        [Some(line), credentials.map(str::to_owned)]
            .into_iter()
            .flatten(),
    );
    let mut server = TcpStream::connect(to)?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        // Servers take a whole URL in the first line, too (RFC 9112 section 3.2.2).
        server.write_all(&head)?;
    }
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn proxies_are_used_and_left_out_as_the_environment_says() {
    let authority = Authority::new();
    let Some(over_tls) = setup().with_tls(&authority).start() else {
        return;
    };
    let Some(plain) = setup().start() else {
        return;
    };
    let sandbox = Sandbox::new();
    // Nobody but the proxies knows this host.
    let name = "registry.invalid";
    let insecure = ["--insecure"];
    let tunnel = Proxy::start(over_tls.host());
    let with_password = format!("http://ann:s3cret@{}", tunnel.host);
    let https = [("HTTPS_PROXY", with_password.as_str())];
    let pushed = code_and_stderr(&push(&sandbox, name, &insecure, &https));
    assert_eq!(pushed, (Some(0), String::new()));
    let asked = tunnel.asked();
    assert!(
        asked.contains(&format!("CONNECT {name}:443 HTTP/1.1")),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .any(|line| line.ends_with("Basic YW5uOnMzY3JldA==")),
        "{asked:?}"
    );

    let forwarding = Proxy::start(plain.host());
    let url = format!("http://{}", forwarding.host);
    let pushed = code_and_stderr(&push(&sandbox, name, &insecure, &[("http_proxy", &url)]));
    assert_eq!(pushed, (Some(0), String::new()));
    let asked = forwarding.asked();
    let whole_url = format!(" http://{name}/v2/team/app/");
    assert!(
        asked.iter().any(|line| line.contains(&whole_url)),
        "{asked:?}"
    );

    let left_out = [
        ("HTTPS_PROXY", url.as_str()),
        ("HTTP_PROXY", &url),
        ("NO_PROXY", name),
    ];
    let (code, _) = code_and_stderr(&push(&sandbox, name, &insecure, &left_out));
    assert_eq!(code, Some(4));
    assert!(forwarding.asked().is_empty());
    // Loopback is on this machine; no proxy has a part in it.
    let pushed = code_and_stderr(&push(&sandbox, plain.host(), &[], &left_out[..2]));
    assert_eq!(pushed, (Some(0), String::new()));
    assert!(forwarding.asked().is_empty());

    let nobody = [("HTTPS_PROXY", "http://ann:s3cret@127.0.0.1:1")];
    let (code, stderr) = code_and_stderr(&push(&sandbox, name, &["-v"], &nobody));
    assert_eq!(code, Some(4));
    assert!(
        !stderr.contains("s3cret") && !stderr.contains("YW5uOnMzY3JldA"),
        "{stderr}"
    );
}

#[test]
fn githubs_token_goes_to_its_registry_and_no_other() {
    let sandbox = Sandbox::new();
    let registry = RecordingRegistry::start_with(|_| {
        let refusal = Answer::refusal(401, "UNAUTHORIZED", "authentication required");
        Some(refusal.with_header("WWW-Authenticate", "Basic realm=\"test\""))
    });
    // In plain HTTP through a proxy, whoever it is; HTTPS finds nobody.
    let url = format!("http://{}", Proxy::start(&registry.host()).host);
    let variables = [
        ("HTTP_PROXY", url.as_str()),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("GITHUB_TOKEN", "t0ken"),
        ("GITHUB_ACTOR", "octocat"),
    ];
    let told = |host: &str, variables: &[(&str, &str)]| {
        registry.forget_requests();
        assert_eq!(
            push(&sandbox, host, &["--insecure"], variables)
                .status
                .code(),
            Some(4)
        );
        let requests = registry.requests();
        assert!(!requests.is_empty());
        let headers = requests.iter();
        let header = headers
            .rev()
            .find_map(|request| request.header("authorization"));
        header.map(str::to_owned)
    };
    // `octocat:t0ken`, then `x-access-token:t0ken`.
    let octocat = told("ghcr.io", &variables);
    assert_eq!(octocat.as_deref(), Some("Basic b2N0b2NhdDp0MGtlbg=="));
    let somebody = told("ghcr.io", &variables[..3]);
    assert_eq!(
        somebody.as_deref(),
        Some("Basic eC1hY2Nlc3MtdG9rZW46dDBrZW4=")
    );
    for host in ["ghcr.io.invalid", "docker.io", "quay.invalid"] {
        assert_eq!(told(host, &variables), None, "{host}");
    }
}

#[test]
fn retries_and_times_are_those_that_were_given() {
    let sandbox = Sandbox::new();
    let busy = RecordingRegistry::start_with(|_| Some(Answer::status(503)));
    let image = format!("docker://{}/a:v1", busy.host());
    for (retries, requests) in [("0", 1), ("2", 3)] {
        busy.forget_requests();
        let output = sandbox.run(&["inspect", &image, "-v", "--retries", retries]);
        let (code, stderr) = code_and_stderr(&output);
        assert_eq!(code, Some(4), "{stderr}");
        assert_eq!(busy.requests().len(), requests);
        let manifest = format!("GET http://{}/v2/a/manifests/v1: 503 after ", busy.host());
        assert_eq!(stderr.matches(&manifest).count(), requests, "{stderr}");
        assert_eq!(
            stderr.matches("again in ").count(),
            requests - 1,
            "{stderr}"
        );
    }

    // It listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let image = format!("docker://{}/a:v1", silent.local_addr().unwrap());
    let arguments = [
        "inspect",
        &image,
        "--retries",
        "0",
        "--answer-timeout",
        "100ms",
        "--connect-timeout",
        "200ms",
    ];
    let (code, stderr) = code_and_stderr(&sandbox.run(&arguments));
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("no answer"), "{stderr}");
    for wrong in ["0", "1h", "soon"] {
        let output = sandbox.run(&["inspect", &image, "--answer-timeout", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
}
