//! Every fault alone, at every step of a push.

use crate::common::{
    OBSERVER, assert_new_or_old, assert_stored, for_all, impatient, large_layer, message, options,
    push_by, push_to, reference, small_layer,
};
use nixply_registry::{SilentObserver, push};
use nixply_testkit::images::{TestImage, TestLayer};
use nixply_testkit::registry::{
    Answer, Fault, FaultProxy, Phase, RegistryProcess, RequestHead, Rule,
};
use std::time::Duration;

/// The steps that a push to a registry that has another image under the tag goes through.
const STEPS: [Phase; 7] = [
    Phase::Connect,
    Phase::ManifestGet,
    Phase::BlobHead,
    Phase::UploadStart,
    Phase::UploadPatch,
    Phase::UploadPut,
    Phase::ManifestPut,
];

/// Longer than the clients of these tests wait.
const STALL: Duration = Duration::from_secs(4);

fn old_layers() -> Vec<TestLayer> {
    vec![small_layer(1), small_layer(2)]
}

/// One layer of the old image, small ones that go by POST and PUT, and one that goes by PATCH.
fn new_layers() -> Vec<TestLayer> {
    vec![
        small_layer(1),
        small_layer(3),
        small_layer(4),
        large_layer(5),
    ]
}

/// What passes if one tries again.
pub(crate) fn passing_faults() -> Vec<Fault> {
    vec![
        Fault::ResetRequest { after_bytes: 0 },
        Fault::ResetRequest {
            after_bytes: 10_000,
        },
        Fault::ResetRequest {
            after_bytes: 700_000,
        },
        Fault::ResetAnswer { after_bytes: 0 },
        Fault::StallRequest {
            after_bytes: 300,
            lasting: STALL,
        },
        Fault::EarlyAnswer(Answer::status(503)),
        Fault::too_many_requests(None),
        Fault::too_many_requests(Some("1")),
        // A date that was, so that nobody waits for it.
        Fault::too_many_requests(Some("Sun, 06 Nov 1994 08:49:37 GMT")),
        Fault::status(408),
        Fault::status(425),
        Fault::status(500),
        Fault::status(502),
        Fault::status(503),
        Fault::status(504),
    ]
}

#[test]
fn a_fault_that_passes_does_not_fail_a_push() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let cases: Vec<(usize, Phase, Fault, u32)> = STEPS
        .into_iter()
        .flat_map(|phase| {
            passing_faults()
                .into_iter()
                .map(move |fault| (phase, fault))
        })
        .filter(|(phase, fault)| {
            // A connection is reset or not.
            *phase != Phase::Connect || matches!(fault, Fault::ResetRequest { after_bytes: 0 })
        })
        .enumerate()
        .map(|(number, (phase, fault))| {
            let times = if matches!(fault, Fault::StallRequest { .. }) {
                1
            } else {
                2
            };
            (number, phase, fault, times)
        })
        .collect();
    let (old, new) = (old_layers(), new_layers());
    for_all(&cases, |(number, phase, fault, times)| {
        let name = format!("passing/{number}:x");
        push_by(&OBSERVER, registry.host(), &name, &old).unwrap();
        let rule = Rule::on(*phase, fault.clone()).times(*times);
        let proxy = FaultProxy::start(registry.host(), vec![rule]);
        let result = push_to(&proxy.host(), &name, &new);
        if let Err(error) = result {
            panic!("{}; faults: {:?}", message(&error), proxy.faults());
        }
        assert_stored(&OBSERVER, registry.host(), &name, &new);
        // Bodies of most steps are shorter than some resets wait for.
        let has_body = |fault: &Fault| {
            !matches!(
                fault,
                Fault::ResetRequest { after_bytes: 1.. } | Fault::StallRequest { .. }
            )
        };
        let always_met = has_body(fault) || *phase == Phase::UploadPatch;
        assert!(!always_met || !proxy.faults().is_empty());
    });
}

/// What does not pass, and what the error has to tell.
pub(crate) fn lasting_faults() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::ResetRequest { after_bytes: 0 }, "no answer"),
        (Fault::ResetAnswer { after_bytes: 0 }, "no answer"),
        (Fault::status(500), "500"),
        (Fault::status(503), "503"),
        (Fault::too_many_requests(Some("0")), "429"),
        (Fault::status(400), "400"),
        (Fault::status(401), "401"),
        (Fault::status(403), "403"),
        (Fault::status(405), "405"),
        (Fault::status(413), "413"),
        (Fault::EarlyAnswer(Answer::status(413)), "413"),
        (Fault::status(507), "507"),
        (Fault::Answer(Answer::status(200)), ""),
        (Fault::Answer(Answer::status(204)), ""),
        (Fault::Answer(Answer::status(302)), ""),
        (
            Fault::Answer(Answer::status(418).with_body([0xff; 3000])),
            "418",
        ),
    ]
}

#[test]
fn a_fault_that_lasts_is_told_and_moves_no_tag() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let cases: Vec<(usize, Phase, Fault, &str)> = STEPS
        .into_iter()
        .flat_map(|phase| {
            let faults = lasting_faults().into_iter();
            faults.map(move |(fault, told)| (phase, fault, told))
        })
        .filter(|(phase, fault, _)| {
            *phase != Phase::Connect || matches!(fault, Fault::ResetRequest { .. })
        })
        .enumerate()
        .map(|(number, (phase, fault, told))| (number, phase, fault, told))
        .collect();
    let (old, new) = (old_layers(), new_layers());
    for_all(&cases, |(number, phase, fault, told)| {
        let name = format!("lasting/{number}:x");
        push_by(&OBSERVER, registry.host(), &name, &old).unwrap();
        let rule = Rule::on(*phase, fault.clone());
        let proxy = FaultProxy::start(registry.host(), vec![rule]);
        let result = crate::common::push_by(&impatient(), &proxy.host(), &name, &new);
        assert!(!proxy.faults().is_empty());
        if let Err(error) = &result {
            let text = message(error);
            assert!(text.contains(told), "{told}: {text}");
        }
        assert_new_or_old(&registry, &name, [&old, &new], &result);
    });
}

#[test]
fn all_tags_move_or_none() {
    let Some(registry) = RegistryProcess::start() else {
        return;
    };
    let tags = ["one", "two", "three"].map(|tag| format!("tags:{tag}"));
    for name in &tags {
        push_by(&OBSERVER, registry.host(), name, &old_layers()).unwrap();
    }
    let push_all = |host: &str| {
        let targets = tags.each_ref().map(|name| reference(host, name));
        let image = TestImage::new(new_layers());
        push(&impatient(), &image, &targets, &options(), &SilentObserver)
    };
    for refused in ["one", "two", "three"] {
        let is_refused =
            move |request: &RequestHead| request.path().ends_with(&format!("/{refused}"));
        let rule = Rule::on(Phase::ManifestPut, Fault::status(500)).when(is_refused);
        let proxy = FaultProxy::start(registry.host(), vec![rule]);
        let error = push_all(&proxy.host()).unwrap_err();
        assert!(message(&error).contains(refused), "{}", message(&error));
        for name in &tags {
            assert_stored(&OBSERVER, registry.host(), name, &old_layers());
        }
    }
    push_all(registry.host()).unwrap();
    for name in &tags {
        assert_stored(&OBSERVER, registry.host(), name, &new_layers());
    }
}
