//! Schedules of faults out of seeds.

use crate::common::{
    OBSERVER, assert_new_or_old, for_all, large_layer, message, push_by, push_to, small_layer,
};
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{FaultProxy, RandomFaults, RegistryKind, RegistrySetup};
use std::ops::RangeInclusive;

/// Each makes a schedule; others try others.
const SEEDS: RangeInclusive<u64> = 1..=60;

#[test]
fn whatever_the_faults_the_tag_names_the_new_image_or_the_old_one() {
    let kinds = RegistryKind::ALL.map(|kind| RegistrySetup::new(kind).start());
    let seeds: Vec<u64> = SEEDS.collect();
    for_all(&seeds, |&seed| {
        let kind = usize::try_from(seed).unwrap() % kinds.len();
        let Some(registry) = &kinds[kind] else {
            return;
        };
        let name = format!("random/{seed}:x");
        let old: Vec<TestLayer> = [10, 11].map(|n| small_layer(100 * seed + n)).to_vec();
        let new = vec![
            old[0].clone(),
            small_layer(100 * seed + 12),
            large_layer(100 * seed + 13),
            large_layer(100 * seed + 14),
            small_layer(100 * seed + 15),
        ];
        push_by(&OBSERVER, registry.host(), &name, &old).unwrap();
        // From rare faults to so many that hardly anything gets through.
        let faults = RandomFaults::new(seed, 2 + seed % 7, 3 + u32::try_from(seed % 23).unwrap());
        let proxy = FaultProxy::start_random(registry.host(), faults);
        let result = push_to(&proxy.host(), &name, &new);
        if let Err(error) = &result {
            let text = message(error);
            assert!(
                !proxy.faults().is_empty(),
                "an error without a fault: {text}"
            );
        }
        assert_new_or_old(registry, &name, [&old, &new], &result);
    });
}
