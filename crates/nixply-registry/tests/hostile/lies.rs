//! Registries that say what is not so, and registries that refuse ways of uploading.

use crate::common::{
    OBSERVER, anonymous, assert_new_or_old, assert_stored, digest, for_all, impatient, large_layer,
    message, options, push_by, push_to, push_with, small_layer, uploaded,
};
use nixply_registry::PushOptions;
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Phase, RegistryProcess, RequestHead, Rule,
};
use std::sync::Arc;

const WRONG_DIGEST: &str =
    "sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn old_layers() -> Vec<TestLayer> {
    vec![small_layer(1), small_layer(2)]
}

fn new_layers() -> Vec<TestLayer> {
    vec![small_layer(1), small_layer(3), large_layer(4)]
}

/// Answers a HEAD of a layer of [`new_layers`] as if the registry had it.
fn claims_to_have_all() -> Fault {
    let layers = new_layers();
    Fault::AnswerWith(Arc::new(move |request| {
        let layer = layers
            .iter()
            .find(|layer| request.path().ends_with(&digest(layer).to_string()))?;
        let size = layer.blob().len().to_string();
        Some(Answer::status(200).with_header("Content-Length", &size))
    }))
}

#[test]
fn a_blob_that_is_said_to_be_there_and_is_not_is_sent_in_the_end() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    push_to(registry.host(), "a:x", &old_layers()).unwrap();
    let proxy = FaultProxy::start(
        registry.host(),
        vec![Rule::on(Phase::BlobHead, claims_to_have_all())],
    );
    let known: Vec<TestLayer> = new_layers()
        .into_iter()
        .map(TestLayer::known_beforehand)
        .collect();
    let result = push_to(&proxy.host(), "a:x", &known);
    result.unwrap_or_else(|error| panic!("{}", message(&error)));
    assert_stored(&OBSERVER, registry.host(), "a:x", &new_layers());
}

#[test]
fn a_blob_that_is_said_to_be_missing_is_sent_again_and_all_is_well() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    push_to(registry.host(), "a:x", &new_layers()).unwrap();
    let missing = Answer::refusal(404, "BLOB_UNKNOWN", "blob unknown to registry");
    let rule = Rule::on(Phase::BlobHead, Fault::Answer(missing));
    let proxy = FaultProxy::start(registry.host(), vec![rule]);
    let more: Vec<TestLayer> = new_layers().into_iter().chain([small_layer(9)]).collect();
    push_to(&proxy.host(), "a:x", &more).unwrap();
    assert_stored(&OBSERVER, registry.host(), "a:x", &more);
}

#[test]
fn wrong_headers_end_in_the_image_or_in_an_error() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let mut cases: Vec<(Phase, Fault)> = Vec::new();
    for phase in Phase::REQUESTS {
        cases.push((phase, Fault::header("Docker-Content-Digest", WRONG_DIGEST)));
        cases.push((phase, Fault::header("Docker-Content-Digest", "nonsense")));
        cases.push((phase, Fault::header("Location", "http://[::")));
        cases.push((phase, Fault::header("Location", "")));
        cases.push((phase, Fault::header("Range", "bytes=9-5")));
        cases.push((phase, Fault::header("Range", "0-99999999999999999999999")));
        cases.push((phase, Fault::header("Content-Type", "text/html")));
    }
    cases.push((Phase::BlobHead, Fault::header("Content-Length", "7")));
    cases.push((
        Phase::BlobHead,
        Fault::header("Content-Length", "99999999999999999999999"),
    ));
    let cases: Vec<(usize, (Phase, Fault))> = cases.into_iter().enumerate().collect();
    let (old, new) = (old_layers(), new_layers());
    for_all(&cases, |(number, (phase, fault))| {
        let name = format!("headers/{number}:x");
        push_by(&OBSERVER, registry.host(), &name, &old).unwrap();
        let proxy = FaultProxy::start(registry.host(), vec![Rule::on(*phase, fault.clone())]);
        let result = push_by(&impatient(), &proxy.host(), &name, &new);
        assert_new_or_old(&registry, &name, [&old, &new], &result);
    });
}

/// Which requests are meant.
type Condition = fn(&RequestHead) -> bool;

/// True for a `PATCH` of more than 4 MiB, or of a length that nobody knows.
fn is_too_large(request: &RequestHead) -> bool {
    let length = request
        .header("content-length")
        .and_then(|length| length.parse::<u64>().ok());
    length.is_none_or(|length| length > 4 << 20)
}

#[test]
fn uploads_find_the_way_that_a_registry_takes() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let status = |status| Fault::Answer(Answer::status(status));
    let early = |status| Fault::EarlyAnswer(Answer::status(status));
    let cases: Vec<(&str, Fault, Condition)> = vec![
        ("416-large", status(416), is_too_large),
        ("413-large", status(413), is_too_large),
        ("413-large-early", early(413), is_too_large),
        ("411-large", status(411), is_too_large),
        ("416", status(416), |_| true),
        ("405", status(405), |_| true),
        ("405-early", early(405), |_| true),
        ("400", status(400), |_| true),
        ("404", status(404), |_| true),
        ("501", status(501), |_| true),
    ];
    let image = [
        TestLayer::noise(1, 9 << 20),
        TestLayer::noise(2, 5 << 20),
        small_layer(3),
        large_layer(4),
    ];
    for_all(&cases, |(name, fault, when)| {
        let name = format!("ways/{name}:x");
        let rule = Rule::on(Phase::UploadPatch, fault.clone()).when(*when);
        let proxy = FaultProxy::start(registry.host(), vec![rule]);
        push_to(&proxy.host(), &name, &image)
            .unwrap_or_else(|error| panic!("{}; {:?}", message(&error), proxy.faults()));
        assert_stored(&OBSERVER, registry.host(), &name, &image);
        // What was learnt from one layer serves the others: at most all of them are refused once.
        assert!(proxy.faults().len() <= 12, "{:?}", proxy.faults());
        let mut ends = uploaded(&proxy);
        ends.sort();
        ends.dedup();
        assert_eq!(ends.len(), 7, "four layers, the config, the layer index");
    });
}

#[test]
fn a_tag_whose_answer_makes_no_sense_is_moved_back() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let (old, new) = (old_layers(), new_layers());
    push_to(registry.host(), "moved:x", &old).unwrap();
    let wrong = Fault::header("Docker-Content-Digest", WRONG_DIGEST);
    let rule = Rule::on(Phase::ManifestPut, wrong)
        .times(1)
        .when(|request| request.path().ends_with("/manifests/x"));
    let proxy = FaultProxy::start(registry.host(), vec![rule]);
    let result = push_by(&impatient(), &proxy.host(), "moved:x", &new);
    assert!(result.is_err());
    assert_new_or_old(&registry, "moved:x", [&old, &new], &result);
}

#[test]
fn a_limit_on_requests_is_met_whatever_is_known_of_a_layer() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let large = TestLayer::noise(1, 9 << 20);
    let cases = [
        ("held", large.clone(), 64 << 20),
        ("known", large.clone().known_beforehand(), 256 << 10),
        ("known-held", large.known_beforehand(), 64 << 20),
    ];
    for_all(&cases, |(name, layer, layer_memory_budget_bytes)| {
        let name = format!("limit/{name}:x");
        let image = [layer.clone(), small_layer(2)];
        let too_large = Fault::Answer(Answer::status(413));
        let rules = [Phase::UploadPatch, Phase::UploadPut]
            .map(|phase| Rule::on(phase, too_large.clone()).when(is_too_large));
        let proxy = FaultProxy::start(registry.host(), rules.into());
        let options = PushOptions {
            layer_memory_budget_bytes: *layer_memory_budget_bytes,
            ..options()
        };
        push_with(&anonymous(), &proxy.host(), &name, &image, &options)
            .unwrap_or_else(|error| panic!("{}; {:?}", message(&error), proxy.faults()));
        assert_stored(&OBSERVER, registry.host(), &name, &image);
    });
}
