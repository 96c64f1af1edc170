//! Layers that another repository of the registry has.

use crate::common::{
    anonymous, assert_stored, digest, large_layer, push_with, remembering, small_layer, uploaded,
};
use crate::memory_records::MemoryRecords;
use nixply_registry::LayerOutcome;
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{
    Fault, FaultProxy, Phase, RegistryKind, RegistryProcess, RegistrySetup, Rule, TokenRules,
    TokenServer,
};

fn image() -> Vec<TestLayer> {
    vec![small_layer(1), large_layer(2), small_layer(3)]
}

fn writes(image: &[TestLayer]) -> Vec<usize> {
    image.iter().map(TestLayer::write_count).collect()
}

#[test]
fn every_kind_mounts_what_it_has_elsewhere() {
    for kind in RegistryKind::ALL {
        let Some(registry) = RegistrySetup::new(kind).start() else {
            continue;
        };
        let records = MemoryRecords::default();
        let proxy = FaultProxy::start(registry.host(), vec![]);
        push_with(
            &anonymous(),
            &proxy.host(),
            "team/a:x",
            &image(),
            &remembering(&records),
        )
        .unwrap();
        proxy.forget();
        let again: Vec<TestLayer> = image().into_iter().chain([small_layer(9)]).collect();
        let report = push_with(
            &anonymous(),
            &proxy.host(),
            "team/b:x",
            &again,
            &remembering(&records),
        )
        .unwrap();
        assert_stored(&anonymous(), registry.host(), "team/b:x", &again);
        // crane's registry has no repositories: a layer that is anywhere is everywhere.
        let is_mounted = |outcome: &LayerOutcome| match kind {
            RegistryKind::Crane => *outcome == LayerOutcome::Present,
            _ => matches!(outcome, LayerOutcome::Mounted { from } if from.repository() == "team/a"),
        };
        let mounted = report
            .layers
            .iter()
            .filter(|layer| is_mounted(&layer.outcome));
        assert_eq!(mounted.count(), 3, "{kind:?}: {:?}", report.layers);
        assert_eq!(writes(&again), [0, 0, 0, 1], "{kind:?}");
        let layers = uploaded(&proxy);
        assert!(layers.contains(&digest(&small_layer(9)).to_string()));
        assert!(
            !again[..3]
                .iter()
                .any(|layer| layers.contains(&digest(layer).to_string()))
        );
    }
}

#[test]
fn a_refused_mount_is_an_upload_that_has_begun() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let records = MemoryRecords::default();
    let refused = Rule::on(Phase::Mount, Fault::RefuseMount);
    let proxy = FaultProxy::start(registry.host(), vec![refused]);
    push_with(
        &anonymous(),
        &proxy.host(),
        "team/a:x",
        &image(),
        &remembering(&records),
    )
    .unwrap();
    proxy.forget();
    push_with(
        &anonymous(),
        &proxy.host(),
        "team/b:x",
        &image(),
        &remembering(&records),
    )
    .unwrap();
    assert_stored(&anonymous(), registry.host(), "team/b:x", &image());
    assert_eq!(proxy.count(Phase::Mount), 3);
    // The config, and the two blobs of the layer index.
    assert_eq!(proxy.count(Phase::UploadStart), 3);
}

#[test]
fn a_mount_asks_for_a_token_for_both_repositories() {
    let tokens = TokenServer::start(TokenRules::default());
    let setup = RegistrySetup::new(RegistryKind::Distribution2);
    let Some(registry) = setup.with_tokens(&tokens).start() else {
        return;
    };
    let records = MemoryRecords::default();
    let client = crate::tokens::client();
    push_with(
        &client,
        registry.host(),
        "team/a:x",
        &image(),
        &remembering(&records),
    )
    .unwrap();
    tokens.forget_requests();
    let client = crate::tokens::client();
    let report = push_with(
        &client,
        registry.host(),
        "team/b:x",
        &image(),
        &remembering(&records),
    )
    .unwrap();
    let is_mounted = |outcome: &LayerOutcome| matches!(outcome, LayerOutcome::Mounted { .. });
    assert!(
        report.layers.iter().all(|layer| is_mounted(&layer.outcome)),
        "{:?}",
        report.layers
    );
    let asked: Vec<Vec<String>> = tokens
        .requests()
        .into_iter()
        .map(|asked| asked.scopes)
        .collect();
    let both = ["repository:team/b:pull,push", "repository:team/a:pull"];
    assert!(
        asked.iter().any(|scopes| both
            .iter()
            .all(|scope| scopes.iter().any(|asked| asked == scope))),
        "{asked:?}"
    );
    assert_stored(&client, registry.host(), "team/b:x", &image());
    // A repository that one may not read is no place to mount from, and no reason to fail.
    tokens.set_rules(TokenRules {
        refused_repositories: ["team/a".to_owned(), "team/b".to_owned()].into(),
        ..TokenRules::default()
    });
    let client = crate::tokens::client();
    push_with(
        &client,
        registry.host(),
        "team/c:x",
        &image(),
        &remembering(&records),
    )
    .unwrap();
    assert_stored(&client, registry.host(), "team/c:x", &image());
}
