//! Faults at the steps that only some pushes go through, and while images are read.

use crate::common::{
    OBSERVER, anonymous, assert_new_or_old, assert_stored, for_all, impatient, large_layer,
    message, push_by, push_to, push_with, remembering, small_layer,
};
use crate::every_fault::{lasting_faults, passing_faults};
use crate::memory_records::MemoryRecords;
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{Fault, FaultProxy, Phase, RegistryProcess, Rule};

fn image() -> Vec<TestLayer> {
    vec![small_layer(1), large_layer(2)]
}

#[test]
fn reading_goes_on_where_it_broke_off() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    push_by(&OBSERVER, registry.host(), "a:x", &image()).unwrap();
    let cut = [
        Fault::TruncateAnswer { after_bytes: 0 },
        Fault::TruncateAnswer { after_bytes: 100 },
        Fault::TruncateAnswer {
            after_bytes: 700_000,
        },
        Fault::ResetAnswer { after_bytes: 100 },
        Fault::ResetAnswer {
            after_bytes: 700_000,
        },
    ];
    let faults = || passing_faults().into_iter().chain(cut.clone());
    let phases = [Phase::ManifestGet, Phase::BlobGet];
    let cases: Vec<(Phase, Fault)> = phases
        .into_iter()
        .flat_map(|phase| faults().map(move |fault| (phase, fault)))
        .collect();
    for_all(&cases, |(phase, fault)| {
        let rule = Rule::on(*phase, fault.clone()).times(2);
        let proxy = FaultProxy::start(registry.host(), vec![rule]);
        assert_stored(&anonymous(), &proxy.host(), "a:x", &image());
    });
}

#[test]
fn a_mount_that_fails_becomes_an_upload_or_is_told() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let old = [small_layer(8)];
    let passing = passing_faults().into_iter().map(|fault| (fault, 2, ""));
    let lasting = lasting_faults().into_iter();
    let lasting = lasting.map(|(fault, told)| (fault, u32::MAX, told));
    let cases: Vec<(usize, (Fault, u32, &str))> = passing.chain(lasting).enumerate().collect();
    for_all(&cases, |(number, (fault, times, told))| {
        let name = format!("mount/{number}:x");
        push_by(&OBSERVER, registry.host(), &name, &old).unwrap();
        let rule = Rule::on(Phase::Mount, fault.clone()).times(*times);
        let proxy = FaultProxy::start(registry.host(), vec![rule]);
        let records = MemoryRecords::default();
        push_with(
            &anonymous(),
            &proxy.host(),
            &format!("mount-from/{number}:x"),
            &image(),
            &remembering(&records),
        )
        .unwrap();
        let result = push_with(
            &impatient(),
            &proxy.host(),
            &name,
            &image(),
            &remembering(&records),
        );
        assert!(proxy.count(Phase::Mount) > 0);
        if let Err(error) = &result {
            let text = message(error);
            assert!(
                *times > 2 && text.contains(told),
                "{text}; {:?}",
                proxy.faults()
            );
        }
        assert_new_or_old(&registry, &name, [&old, &image()], &result);
    });
}

#[test]
fn an_upload_that_cannot_be_asked_how_far_it_is_begins_again() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let lasting = lasting_faults().into_iter();
    let lasting = lasting.map(|(fault, _)| (fault, u32::MAX));
    let passing = passing_faults().into_iter().map(|fault| (fault, 1));
    let cases: Vec<(usize, (Fault, u32))> = passing.chain(lasting).enumerate().collect();
    for_all(&cases, |(number, (fault, times))| {
        let name = format!("status/{number}:x");
        let old = [small_layer(8)];
        push_by(&OBSERVER, registry.host(), &name, &old).unwrap();
        let cut = Fault::ResetRequest {
            after_bytes: 700_000,
        };
        let rules = vec![
            Rule::on(Phase::UploadPatch, cut).times(1),
            Rule::on(Phase::UploadStatus, fault.clone()).times(*times),
        ];
        let proxy = FaultProxy::start(registry.host(), rules);
        let result = push_to(&proxy.host(), &name, &image());
        if let Err(error) = &result {
            assert!(*times > 1, "{}; {:?}", message(error), proxy.faults());
        }
        assert_new_or_old(&registry, &name, [&old, &image()], &result);
    });
}
