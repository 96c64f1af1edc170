//! Every fault, as a client sees it and as the registry sees it.

use crate::client::{Answer, ask, read_answer, start_upload};
use nixply_oci::Digest;
use nixply_testkit::registry::{
    self, Fault, FaultProxy, Phase, RandomFaults, RecordingRegistry, RegistryProcess, Rule,
};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

static BLOB: [u8; 50_000] = [7; 50_000];

fn digest() -> String {
    Digest::of(&BLOB).to_string()
}

/// The PUT of [`BLOB`] through the proxy.
fn put(proxy: &FaultProxy) -> io::Result<Answer> {
    let location = start_upload(&proxy.host(), "a");
    let separator = if location.contains('?') { '&' } else { '?' };
    let put = format!("PUT {location}{separator}digest={}", digest());
    ask(&proxy.host(), &put, &[], &BLOB)
}

fn get(proxy: &FaultProxy) -> io::Result<Answer> {
    let get = format!("GET /v2/a/blobs/{}", digest());
    ask(&proxy.host(), &get, &[], b"")
}

fn is_reset<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    let kind = result.unwrap_err().kind();
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

#[test]
fn without_rules_everything_passes_and_is_noted() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let proxy = FaultProxy::start(registry.host(), vec![]);
    assert_eq!(put(&proxy).unwrap().status, 201);
    let answer = get(&proxy).unwrap();
    assert!(answer.body == BLOB);
    let head = ask(
        &proxy.host(),
        &format!("HEAD /v2/a/blobs/{}", digest()),
        &[],
        b"",
    )
    .unwrap();
    assert_eq!(head.header("content-length"), Some("50000"));

    let log = proxy.log();
    let phases: Vec<Phase> = log.iter().map(|passed| passed.phase).collect();
    let put_get_head = [
        Phase::UploadStart,
        Phase::UploadPut,
        Phase::BlobGet,
        Phase::BlobHead,
    ];
    assert_eq!(phases, put_get_head);
    assert_eq!(log[1].sent_bytes, 50_000);
    assert_eq!(log[1].status, Some(201));
    assert_eq!(log[2].received_bytes, 50_000);
    assert_eq!(log[3].received_bytes, 0);
    assert_eq!(proxy.sent_bytes(), 50_000);
    assert!(proxy.faults().is_empty());
    proxy.forget();
    assert_eq!(proxy.count(Phase::UploadPut), 0);
}

#[test]
fn chunked_bodies_pass_one_after_another_on_a_connection() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let proxy = FaultProxy::start(registry.host(), vec![]);
    let location = start_upload(&proxy.host(), "a");
    let mut stream = TcpStream::connect(proxy.host()).unwrap();
    let patch = format!(
        "PATCH {location} HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n\
         4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n",
        proxy.host()
    );
    stream.write_all(patch.as_bytes()).unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 202");
    let next = format!(
        "GET /v2/ HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        proxy.host()
    );
    stream.write_all(next.as_bytes()).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("Range: 0-5\r\n"), "{rest}");
    assert!(rest.contains("HTTP/1.1 200 OK"), "{rest}");
    assert_eq!(proxy.log()[1].sent_bytes, 6);
}

#[test]
fn resets_come_where_they_should() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let proxy = FaultProxy::start(registry.host(), vec![]);
    for after_bytes in [0, 1, 30_000] {
        let rule = Rule::on(Phase::UploadPut, Fault::ResetRequest { after_bytes });
        proxy.set_rules(vec![rule]);
        proxy.forget();
        assert!(is_reset(put(&proxy)), "{after_bytes}");
        assert_eq!(proxy.log()[1].sent_bytes, after_bytes);
        let fault = format!("UploadPut: reset after {after_bytes} bytes sent");
        assert_eq!(proxy.faults(), [fault]);
        assert!(registry.blobs().is_empty());
    }
    proxy.set_rules(vec![Rule::on(
        Phase::UploadPut,
        Fault::ResetAnswer { after_bytes: 0 },
    )]);
    assert!(is_reset(put(&proxy)));
    assert_eq!(registry.blobs().len(), 1, "the registry has done its work");

    proxy.set_rules(vec![
        Rule::on(Phase::BlobGet, Fault::ResetAnswer { after_bytes: 100 }).times(1),
        Rule::on(Phase::BlobGet, Fault::TruncateAnswer { after_bytes: 100 }).times(1),
    ]);
    assert!(is_reset(get(&proxy)));
    let truncated = get(&proxy).unwrap();
    assert_eq!(truncated.header("content-length"), Some("50000"));
    assert!(truncated.body == BLOB[..100]);
    assert!(get(&proxy).unwrap().body == BLOB);

    let rule = Rule::on(Phase::Connect, Fault::ResetRequest { after_bytes: 0 });
    proxy.set_rules(vec![rule.times(1)]);
    proxy.forget();
    assert!(is_reset(get(&proxy)));
    assert_eq!(get(&proxy).unwrap().status, 200);
    assert_eq!(proxy.faults(), ["Connect: connection refused"]);
}

#[test]
fn stalls_last_and_slow_bodies_take_their_time() {
    let registry = RecordingRegistry::start();
    let proxy = FaultProxy::start(&registry.host(), vec![]);
    let lasting = Duration::from_millis(300);
    let slow = Fault::Slow {
        bytes_per_second: 200_000,
    };
    for (fault, survives) in [
        (
            Fault::StallRequest {
                after_bytes: 40_000,
                lasting,
            },
            false,
        ),
        (
            Fault::StallAnswer {
                after_bytes: 0,
                lasting,
            },
            true,
        ),
        (slow, true),
    ] {
        proxy.set_rules(vec![Rule::on(Phase::UploadPut, fault)]);
        let start = Instant::now();
        assert_eq!(put(&proxy).is_ok(), survives);
        assert!(start.elapsed() > Duration::from_millis(200));
    }
}

#[test]
fn the_proxy_answers_in_the_registrys_place() {
    let registry = RecordingRegistry::start();
    let rules = vec![
        Rule::on(Phase::UploadPut, Fault::too_many_requests(Some("7"))).times(2),
        Rule::on(
            Phase::UploadPut,
            Fault::EarlyAnswer(registry::Answer::status(413)),
        )
        .times(1),
        Rule::on(Phase::BlobHead, Fault::status(500)).after(1),
        Rule::on(
            Phase::BlobGet,
            Fault::AnswerWith(Arc::new(|request| {
                let is_wanted = request.path().ends_with("wanted");
                is_wanted.then(|| registry::Answer::status(418))
            })),
        ),
    ];
    let proxy = FaultProxy::start(&registry.host(), rules);
    for _ in 0..2 {
        let answer = put(&proxy).unwrap();
        assert_eq!(answer.status, 429);
        assert_eq!(answer.header("retry-after"), Some("7"));
    }
    assert_eq!(registry.count("PUT"), 0);
    assert_eq!(put(&proxy).unwrap().status, 413);
    assert_eq!(put(&proxy).unwrap().status, 201);
    let statuses = ["HEAD", "HEAD", "GET", "GET"].map(|method| {
        let name = if method == "GET" { "wanted" } else { "x" };
        ask(
            &proxy.host(),
            &format!("{method} /v2/a/blobs/{name}"),
            &[],
            b"",
        )
        .unwrap()
        .status
    });
    assert_eq!(statuses, [404, 500, 418, 418]);
    let head = format!("GET /v2/a/blobs/{}", digest());
    assert_eq!(ask(&proxy.host(), &head, &[], b"").unwrap().status, 200);
}

#[test]
fn answers_and_mounts_are_changed_on_their_way() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let other = FaultProxy::start(registry.host(), vec![]);
    let rules = vec![
        Rule::on(Phase::UploadStart, Fault::location_on(&other.host())).times(1),
        Rule::on(Phase::UploadStart, Fault::redirect_to(&other.host())).times(1),
        Rule::on(Phase::Mount, Fault::RefuseMount).times(1),
        Rule::on(Phase::BlobHead, Fault::header("Content-Length", "5")),
    ];
    let proxy = FaultProxy::start(registry.host(), rules);
    let post = |query: &str| {
        let post = format!("POST /v2/b/blobs/uploads/{query}");
        ask(&proxy.host(), &post, &[], b"").unwrap()
    };
    let located = post("");
    let location = located.header("location").unwrap();
    let (_, path) = location.split_once(&other.host()).unwrap();
    let blob = format!("PUT {path}&digest={}", digest());
    assert_eq!(ask(&other.host(), &blob, &[], &BLOB).unwrap().status, 201);
    let redirected = post("?x=y");
    assert_eq!(redirected.status, 307);
    let expected = format!("http://{}/v2/b/blobs/uploads/?x=y", other.host());
    assert_eq!(redirected.header("location"), Some(expected.as_str()));

    let mount = format!("?mount={}&from=b", digest());
    assert_eq!(post(&mount).status, 202);
    assert_eq!(post(&mount).status, 201);
    let head = format!("HEAD /v2/b/blobs/{}", digest());
    let head = ask(&proxy.host(), &head, &[], b"").unwrap();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, Some("5"))
    );
}

#[test]
fn a_dead_registry_is_a_broken_connection() {
    let Some(mut registry) = RegistryProcess::start() else {
        return;
    };
    let proxy = FaultProxy::start(registry.host(), vec![]);
    let open = TcpStream::connect(proxy.host()).unwrap();
    assert_eq!(put(&proxy).unwrap().status, 201);
    registry.kill();
    assert!(is_reset(get(&proxy)));
    let ping = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";
    assert!((&open).write_all(ping).is_err() || is_reset(read_answer(open)));
    registry.restart();
    assert!(get(&proxy).unwrap().body == BLOB);
}

#[test]
fn random_faults_follow_from_their_seed_and_end() {
    let registry = RecordingRegistry::start();
    let run = |seed: u64| {
        let proxy = FaultProxy::start_random(&registry.host(), RandomFaults::new(seed, 3, 4));
        for _ in 0..40 {
            let _ = get(&proxy);
            let _ = ask(&proxy.host(), "GET /v2/", &[], b"");
        }
        proxy.faults()
    };
    let runs = [1, 2, 3].map(run);
    assert_eq!(run(1), runs[0]);
    assert_ne!(runs[0], runs[1]);
    for faults in &runs {
        assert!(!faults.is_empty() && faults.len() <= 4, "{faults:?}");
    }
}
