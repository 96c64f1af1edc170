//! Against a registry in this process: the order of requests, and what a real registry does not show.

use crate::common::{
    Events, anonymous, client, client_with, large_layer, noise, reference, small_layer, uploads,
    without_records,
};
use nixply_oci::{DiffId, ImageManifest, ImageSource, LayerKey, LayerRecord, Platform};
use nixply_registry::{
    ClientOptions, Credentials, PushReport, RegistryError, RegistryImage, SilentObserver, push,
};
use nixply_testkit::images::{TestImage, TestLayer};
use nixply_testkit::registry::{Answer, RecordingRegistry, Request};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const PASSWORD: &str = "correct horse";
const TOKEN: &str = "token-battery-staple";

fn basic() -> Credentials {
    Credentials::Basic {
        username: "ann".to_owned(),
        password: PASSWORD.to_owned(),
    }
}

fn push_to(
    registry: &RecordingRegistry,
    layers: Vec<TestLayer>,
    credentials: &Credentials,
) -> Result<PushReport, RegistryError> {
    let targets = [
        reference(&registry.host(), "team/app:one"),
        reference(&registry.host(), "team/app:two"),
    ];
    let image = TestImage::new(layers);
    push(
        &client(credentials),
        &image,
        &targets,
        &without_records(),
        &SilentObserver,
    )
}

/// The requests as lines, with what varies cut off.
fn lines(registry: &RecordingRegistry) -> Vec<String> {
    let short = |request: &Request| {
        let line = request.line();
        match line.split_once("/uploads/") {
            Some((line, _)) => format!("{line}/uploads/"),
            None => line,
        }
    };
    registry.requests().iter().map(short).collect()
}

/// The digest of the config of an image.
fn config_digest(registry: &RecordingRegistry, tag: &str) -> String {
    let manifest = registry.manifest(tag).unwrap();
    let manifest: ImageManifest = serde_json::from_slice(&manifest).unwrap();
    manifest.config.digest.to_string()
}

#[test]
fn requests_come_in_the_order_that_keeps_tags_whole() {
    let registry = RecordingRegistry::start();
    let layer = small_layer(1);
    let report = push_to(&registry, vec![layer.clone()], &Credentials::Anonymous).unwrap();
    let blob = |digest: &str| format!("HEAD /v2/team/app/blobs/{digest}");
    let put = |name: &str| format!("PUT /v2/team/app/manifests/{name}");
    let upload = ["POST", "PUT"].map(|method| format!("{method} /v2/team/app/blobs/uploads/"));
    let layer_digest = layer.record().digest.to_string();
    // What two tags name has to be known for moving the first one back.
    let mut expected = ["one", "two"]
        .map(|tag| format!("GET /v2/team/app/manifests/{tag}"))
        .to_vec();
    expected.push(blob(&layer_digest));
    expected.extend(upload.clone());
    expected.push(blob(&config_digest(&registry, "one")));
    expected.extend(upload);
    expected.push(put(&report.manifest_digest.unwrap().to_string()));
    expected.extend([put("one"), put("two")]);
    let mut found = lines(&registry);
    found[..2].sort();
    assert_eq!(found, expected);
    assert_eq!(registry.blob(&layer_digest).unwrap(), layer.blob());
    assert_eq!(
        registry.manifest("two"),
        registry.manifest(&report.manifest_digest.unwrap().to_string())
    );
}

#[test]
fn nothing_changed_costs_one_question_a_layer() {
    let registry = RecordingRegistry::start();
    let layers: Vec<TestLayer> = (1..=20)
        .map(|seed| small_layer(seed).known_beforehand())
        .collect();
    push_to(&registry, layers.clone(), &Credentials::Anonymous).unwrap();
    registry.forget_requests();
    let image = TestImage::new(layers.clone());
    let targets = [reference(&registry.host(), "team/app:three")];
    let options = without_records();
    let report = push(&anonymous(), &image, &targets, &options, &SilentObserver).unwrap();
    assert_eq!(uploads(&report), 0);
    assert_eq!(
        registry.count("GET"),
        0,
        "nobody is asked what nobody has to know"
    );
    assert_eq!(registry.count("HEAD"), 20 + 1);
    assert_eq!(registry.count("PUT"), 1 + 1);
    assert_eq!(registry.count("POST") + registry.count("PATCH"), 0);
    assert!(layers.iter().all(|layer| layer.write_count() == 1));
}

#[test]
fn a_record_of_another_size_than_the_registry_tells_is_not_believed() {
    let registry = RecordingRegistry::start();
    for layer in [small_layer(1), large_layer(2)] {
        push_to(&registry, vec![layer.clone()], &Credentials::Anonymous).unwrap();
        let wrong = LayerRecord {
            diff_id: DiffId::of(b"another"),
            size_bytes: layer.record().size_bytes + 1,
            ..layer.record().clone()
        };
        let claiming = layer.clone().claiming(wrong);
        let report = push_to(&registry, vec![claiming], &Credentials::Anonymous).unwrap();
        assert_eq!(report.layers[0].record.as_ref(), Some(layer.record()));
        assert_eq!(layer.write_count(), 2);
    }
}

#[test]
fn a_blob_that_lost_its_end_in_the_registry_is_sent_again() {
    let registry = RecordingRegistry::start_with(|request| {
        let blob = request.method == "HEAD" && request.path.contains("/blobs/");
        blob.then(|| Answer::status(200).with_body(b"x".to_vec()))
    });
    let layer = small_layer(1);
    let report = push_to(&registry, vec![layer.clone()], &Credentials::Anonymous).unwrap();
    assert_eq!(uploads(&report), 1);
    let digest = layer.record().digest.to_string();
    assert_eq!(registry.blob(&digest).unwrap(), layer.blob());
}

#[test]
fn large_layers_are_streamed_and_small_ones_have_a_length() {
    let registry = RecordingRegistry::start();
    let (small, large) = (small_layer(1), large_layer(2));
    push_to(
        &registry,
        vec![small.clone(), large.clone()],
        &Credentials::Anonymous,
    )
    .unwrap();
    let requests = registry.requests();
    let patches: Vec<&Request> = requests.iter().filter(|r| r.method == "PATCH").collect();
    assert_eq!(patches.len(), 1);
    assert_eq!(patches[0].header("transfer-encoding"), Some("chunked"));
    assert_eq!(patches[0].query, "_state=secret-state");
    assert!(patches[0].body == large.blob());
    let of_small = |r: &&Request| r.method == "PUT" && r.body == small.blob();
    let put = requests.iter().find(of_small).unwrap();
    let length = small.blob().len().to_string();
    assert_eq!(put.header("content-length"), Some(length.as_str()));
    assert!(put.query.starts_with("_state=secret-state&digest="));
}

#[test]
fn layers_with_the_same_bytes_are_sent_once() {
    let registry = RecordingRegistry::start();
    let key = LayerKey::of(b"key");
    let same_bytes = noise(7, 20_000);
    let keyed = |bytes: &[u8]| TestLayer::plain(bytes).with_key(key);
    let large = keyed(&noise(8, 3 << 20));
    let layers = vec![
        TestLayer::plain(&same_bytes),
        large.clone(),
        TestLayer::plain(&same_bytes),
        large.clone(),
        TestLayer::plain(&same_bytes),
    ];
    let report = push_to(&registry, layers, &Credentials::Anonymous).unwrap();
    assert_eq!(report.layers.len(), 5);
    assert_eq!(uploads(&report), 2);
    assert_eq!(large.write_count(), 1, "the same key is made once");
    let config_and_two_layers = 3;
    assert_eq!(registry.count("POST"), config_and_two_layers);
}

/// A registry that wants a token, whose service gives [`TOKEN`] to `ann` and counts how often.
fn token_registry(asked: Arc<AtomicUsize>) -> RecordingRegistry {
    RecordingRegistry::start_with(move |request| {
        let host = request.header("host").unwrap_or_default();
        if request.path == "/token" {
            asked.fetch_add(1, Ordering::SeqCst);
            let ann = "Basic YW5uOmNvcnJlY3QgaG9yc2U=";
            let refresh = "refresh_token=identity-of-ann";
            let allowed = request.header("authorization") == Some(ann)
                || String::from_utf8_lossy(&request.body).contains(refresh);
            return Some(if allowed {
                let body = format!(r#"{{"access_token":"{TOKEN}","expires_in":300}}"#);
                Answer::status(200).with_body(body)
            } else {
                let authorization = request.header("authorization").unwrap_or_default();
                let body = String::from_utf8_lossy(&request.body);
                Answer::refusal(401, "DENIED", &format!("not {authorization} {body}"))
            });
        }
        let bearer = format!("Bearer {TOKEN}");
        (request.header("authorization") != Some(bearer.as_str())).then(|| {
            let challenge = format!(r#"Bearer realm="http://{host}/token",service="the registry""#);
            Answer::refusal(401, "UNAUTHORIZED", "authentication required")
                .with_header("WWW-Authenticate", &challenge)
        })
    })
}

#[test]
fn one_token_serves_the_whole_push() {
    for credentials in [
        basic(),
        Credentials::IdentityToken("identity-of-ann".to_owned()),
    ] {
        let asked = Arc::new(AtomicUsize::new(0));
        let registry = token_registry(Arc::clone(&asked));
        let layers = vec![small_layer(1), large_layer(2), small_layer(3)];
        let report = push_to(&registry, layers, &credentials).unwrap();
        assert_eq!(uploads(&report), 3);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let requests = registry.requests();
        let token = requests.iter().find(|r| r.path == "/token").unwrap();
        let body = String::from_utf8(token.body.clone()).unwrap();
        let scope = "scope=repository%3Ateam%2Fapp%3Apull%2Cpush";
        assert!(format!("{}{body}", token.query).contains(scope));
        assert!(format!("{}{body}", token.query).contains("service=the+registry"));

        let reference = reference(&registry.host(), "team/app:one");
        let stored = RegistryImage::open(&client(&credentials), &reference, None);
        assert!(stored.is_ok(), "{stored:?}");
    }
}

#[test]
fn a_token_that_is_refused_says_why_without_the_secret() {
    let wrong = Credentials::Basic {
        username: "ann".to_owned(),
        password: "battery".to_owned(),
    };
    let wrong_identity = Credentials::IdentityToken("battery".to_owned());
    for credentials in [wrong, wrong_identity] {
        let registry = token_registry(Arc::default());
        let error = push_to(&registry, vec![small_layer(1)], &credentials).unwrap_err();
        assert!(error.is_network_or_registry());
        let text = format!("{error} {error:?}");
        assert!(text.contains("DENIED"), "{text}");
        // `YW5uOmJhdHRlcnk=` is `ann:battery`.
        for secret in ["battery", "YW5uOmJhdHRlcnk="] {
            assert!(!text.contains(secret), "{text}");
        }
        assert_eq!(registry.count("PUT"), 0);
    }
}

/// A registry that answers one kind of request with an error that quotes all it was sent.
fn refusing_registry(method: &'static str, part: &'static str, status: u16) -> RecordingRegistry {
    RecordingRegistry::start_with(move |request| {
        if request.header("authorization").is_none() {
            return Some(Answer::status(401).with_header("WWW-Authenticate", "Basic realm=\"r\""));
        }
        (request.method == method && request.path.contains(part)).then(|| {
            let quoted = format!("you sent {:?} {}", request.headers, request.query);
            Answer::refusal(status, "MADE_UP", &quoted)
        })
    })
}

#[test]
fn refusals_name_request_status_and_object_and_no_secret() {
    for (method, part, status, object) in [
        ("HEAD", "/blobs/", 503, "layer `a layer` (sha256:"),
        ("POST", "/uploads/", 403, "layer `a layer` (sha256:"),
        ("PUT", "/uploads/", 413, "layer `a layer` (sha256:"),
        ("PATCH", "/uploads/", 403, "layer `a layer`"),
        ("PUT", "/manifests/sha256", 400, "manifest sha256:"),
        ("PUT", "/manifests/one", 429, "tag `one`"),
    ] {
        let registry = refusing_registry(method, part, status);
        let layer = match method {
            "PATCH" => large_layer(1),
            _ => small_layer(1),
        };
        let layers = vec![layer.with_title("a layer")];
        let error = push_to(&registry, layers, &basic()).unwrap_err();
        let RegistryError::Refused(refusal) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(refusal.status, Some(status), "{error}");
        assert_eq!(refusal.method, method);
        let text = error.to_string();
        assert!(text.contains(object), "{text}");
        if method != "HEAD" {
            assert!(text.contains("MADE_UP (you sent"), "{text}");
        }
        // `YW5uOmNvcnJlY3QgaG9yc2U=` is `ann:correct horse`.
        let all = format!("{text} {error:?}");
        for secret in [PASSWORD, "YW5uOmNvcnJlY3QgaG9yc2U=", "?"] {
            assert!(!all.contains(secret), "{secret}: {all}");
        }
        let tags = ["one", "two"].map(|tag| registry.manifest(tag));
        assert_eq!(tags, [None, None], "{method} {part}");
    }
}

/// distribution 2.8 answers so for ever about a blob that it was noting when it was killed.
#[test]
fn a_blob_that_the_registry_cannot_tell_of_is_sent() {
    let registry = RecordingRegistry::start_with(|request| {
        let asks = request.method == "HEAD" && request.path.contains("/blobs/");
        asks.then(|| Answer::status(500))
    });
    let layer = small_layer(1);
    let report = push_to(&registry, vec![layer.clone()], &Credentials::Anonymous).unwrap();
    assert_eq!(uploads(&report), 1);
    let digest = layer.record().digest.to_string();
    assert_eq!(registry.blob(&digest).unwrap(), layer.blob());
}

#[test]
fn a_failed_tag_leaves_the_ones_after_it() {
    let registry = refusing_registry("PUT", "/manifests/two", 500);
    push_to(&registry, vec![small_layer(1)], &basic()).unwrap_err();
    assert!(registry.manifest("one").is_some());
    assert!(registry.manifest("two").is_none());
}

#[test]
fn a_registry_that_lies_about_a_blob_is_told_from_others() {
    let registry = RecordingRegistry::start_with(|request| {
        let manifest = request.method == "PUT" && request.path.contains("/manifests/");
        match request.method.as_str() {
            "HEAD" => Some(Answer::status(200)),
            _ if manifest => Some(Answer::refusal(
                400,
                "MANIFEST_BLOB_UNKNOWN",
                "blob unknown",
            )),
            _ => None,
        }
    });
    let error = push_to(&registry, vec![small_layer(1)], &Credentials::Anonymous).unwrap_err();
    assert!(
        error.to_string().contains("MANIFEST_BLOB_UNKNOWN"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("push again"));
}

#[test]
fn answers_outside_the_protocol_are_errors() {
    type Rule = fn(&Request) -> Option<Answer>;
    let rules: [(&str, Rule); 6] = [
        ("expected a Location header", |r| {
            (r.method == "POST").then(|| Answer::status(202))
        }),
        ("expected a URL as location", |r| {
            let answer = Answer::status(202).with_header("Location", "http://[::");
            (r.method == "POST").then_some(answer)
        }),
        ("expected status 202, found 201", |r| {
            (r.method == "POST").then(|| Answer::status(201))
        }),
        ("expected status 201, found 202", |r| {
            let upload = r.method == "PUT" && r.path.contains("/uploads/");
            upload.then(|| Answer::status(202))
        }),
        ("is something else: expected sha256:", |r| {
            let answer = Answer::status(201).with_header("Docker-Content-Digest", "sha256:0");
            r.path.contains("/manifests/").then_some(answer)
        }),
        ("a token or password that no header can hold", |r| {
            let challenge = format!(
                r#"Bearer realm="http://{}/token""#,
                r.header("host").unwrap_or_default()
            );
            match r.path.as_str() {
                "/token" => Some(Answer::status(200).with_body(r#"{"token":"a\nb"}"#)),
                _ => Some(Answer::status(401).with_header("WWW-Authenticate", &challenge)),
            }
        }),
    ];
    for (expected, rule) in rules {
        let registry = RecordingRegistry::start_with(rule);
        let error = push_to(&registry, vec![small_layer(1)], &Credentials::Anonymous).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.is_network_or_registry());
        assert_eq!(registry.manifest("one"), None);
    }
}

#[test]
fn credentials_do_not_follow_an_upload_to_another_host() {
    let storage = RecordingRegistry::start_with(|_| Some(Answer::status(201)));
    let location = format!("http://{}/bucket/1?signature=s", storage.host());
    let registry = RecordingRegistry::start_with(move |request| {
        let answer = || Answer::status(202).with_header("Location", &location);
        (request.method == "POST").then(answer)
    });
    let layer = small_layer(1);
    push_to(&registry, vec![layer.clone()], &basic()).unwrap();
    let requests = storage.requests();
    assert_eq!(requests.len(), 2, "the layer and the config");
    assert!(requests.iter().any(|r| r.body == layer.blob()));
    for request in requests {
        assert_eq!(request.header("authorization"), None);
        assert!(request.query.starts_with("signature=s&digest="));
    }
}

#[test]
fn a_broken_upload_ends_the_push_while_layers_are_still_made() {
    // A refusal in the middle of a streamed upload: the maker waits on a full channel when it comes.
    let registry = RecordingRegistry::start_with(|request| {
        (request.method == "POST").then(|| Answer::refusal(503, "UNAVAILABLE", "later"))
    });
    let layers: Vec<TestLayer> = (1..=6).map(large_layer).collect();
    let error = push_to(&registry, layers, &Credentials::Anonymous).unwrap_err();
    let RegistryError::Refused(refusal) = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal.status, Some(503));
}

#[test]
fn targets_are_checked_before_anything_is_sent() {
    let registry = RecordingRegistry::start();
    let image = TestImage::new(vec![small_layer(1)]);
    let push_refs = |rests: &[&str]| {
        let targets: Vec<_> = rests
            .iter()
            .map(|rest| reference(&registry.host(), rest))
            .collect();
        push(
            &anonymous(),
            &image,
            &targets,
            &without_records(),
            &SilentObserver,
        )
    };
    assert!(matches!(push_refs(&[]), Err(RegistryError::NoTarget)));
    assert!(matches!(
        push_refs(&["a:x", "b:x"]),
        Err(RegistryError::TargetsDiffer { .. })
    ));
    assert!(registry.requests().is_empty());

    let other = format!("a@sha256:{}", "0".repeat(64));
    assert!(matches!(
        push_refs(&[&other]),
        Err(RegistryError::TargetDigest { .. })
    ));
    assert_eq!(registry.count("PUT"), 1, "the layer, and no manifest");

    let report = push_refs(&["a"]).unwrap();
    assert_eq!(report.tags, [""; 0]);
    assert!(
        registry
            .manifest(&report.manifest_digest.unwrap().to_string())
            .is_some()
    );
    let by_digest = format!("a@{}", report.manifest_digest.unwrap());
    assert_eq!(push_refs(&[&by_digest]).unwrap().tags, [""; 0]);
}

#[test]
fn an_index_is_resolved_by_platform() {
    let registry = RecordingRegistry::start();
    let digests: Vec<(String, usize)> = ["amd64", "arm64"]
        .into_iter()
        .map(|architecture| {
            let image = TestImage::new(vec![
                small_layer(1).with_key(LayerKey::of(architecture.as_bytes())),
            ])
            .on(Platform::linux(architecture));
            let report = push(
                &anonymous(),
                &image,
                &[reference(&registry.host(), "a")],
                &without_records(),
                &SilentObserver,
            )
            .unwrap();
            let digest = report.manifest_digest.unwrap().to_string();
            let size = registry.manifest(&digest).unwrap().len();
            (digest, size)
        })
        .collect();
    let entry = |(digest, size): &(String, usize), architecture: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    };
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        entry(&digests[0], "amd64"),
        entry(&digests[1], "arm64")
    );
    let with_index = RecordingRegistry::start_with(move |request| {
        let name = request.path.rsplit('/').next().unwrap_or_default();
        if name == "all" {
            return Some(Answer::status(200).with_body(index.clone()));
        }
        let found = registry.manifest(name).or_else(|| registry.blob(name));
        found.map(|bytes| Answer::status(200).with_body(bytes))
    });
    let all = reference(&with_index.host(), "a:all");
    let open =
        |platform: Option<Platform>| RegistryImage::open(&anonymous(), &all, platform.as_ref());
    let arm64 = open(Some(Platform::linux("arm64"))).unwrap();
    let stored = arm64.image();
    assert_eq!(stored.manifest_descriptor.digest.to_string(), digests[1].0);
    assert_eq!(stored.config.platform, Platform::linux("arm64"));
    let error = open(None).unwrap_err();
    assert!(matches!(error, RegistryError::NoSuchPlatform { .. }));
}

#[test]
fn nothing_listening_is_a_transport_error_with_a_hint() {
    // The port of a service that died out in the 1980s: no other test can be given it.
    let host = "127.0.0.1:1";
    let image = TestImage::new(vec![small_layer(1)]);
    for insecure in [false, true] {
        let client = client_with(
            &Credentials::Anonymous,
            ClientOptions {
                insecure,
                ..ClientOptions::default()
            },
        );
        let targets = [reference(host, "a:x")];
        let error = push(
            &client,
            &image,
            &targets,
            &without_records(),
            &SilentObserver,
        )
        .unwrap_err();
        assert!(
            matches!(error, RegistryError::Transport { .. }),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("nothing listens"));
    }
}

#[test]
fn insecure_falls_back_to_plain_http() {
    let registry = RecordingRegistry::start();
    let client = client_with(
        &Credentials::Anonymous,
        ClientOptions {
            insecure: true,
            ..ClientOptions::default()
        },
    );
    let events = Events::default();
    let targets = [reference(&registry.host(), "a:x")];
    let image = TestImage::new(vec![small_layer(1)]);
    push(&client, &image, &targets, &without_records(), &events).unwrap();
    assert_eq!(events.lines().last().unwrap(), "tag x");
}
