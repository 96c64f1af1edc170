//! Registries that are killed at any moment, and come back.

use crate::common::{
    OBSERVER, anonymous, assert_stored, digest, for_all, impatient, large_layer, message, push_by,
    push_to, push_with, reference, remembering, small_layer, uploaded,
};
use crate::memory_records::MemoryRecords;
use nixply_oci::ImageSource as _;
use nixply_registry::RegistryImage;
use nixply_testkit::images::TestLayer;
use nixply_testkit::registry::{Fault, FaultProxy, Phase, RegistryProcess, Rule};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

/// How many registries die at once.
const N_REGISTRIES: u64 = 5;

/// How often each dies.
const N_DEATHS: u64 = 10;

/// Waits until so much of a push has happened as its number says, or until it has ended. Counted in bytes, a moment is as
/// early on a busy machine as on a quiet one.
fn wait_for_moment<T>(
    push: &ScopedJoinHandle<'_, T>,
    proxy: &FaultProxy,
    image: &[TestLayer],
    number: u64,
) {
    // Multiples of 61.8 % fill the whole evenly.
    let percent = 618 * number / 10 % 100;
    let size_bytes: usize = image.iter().map(|layer| layer.blob().len()).sum();
    // Before the first request, and between the last ones, there are no bytes to wait for.
    thread::sleep(Duration::from_millis(percent % 7));
    while proxy.relayed_bytes() < percent * size_bytes as u64 / 98 && !push.is_finished() {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Uploads take their time, so that a registry dies in the middle of them.
fn slow(registry: &RegistryProcess) -> FaultProxy {
    let slow = || Fault::Slow {
        bytes_per_second: 4 << 20,
    };
    let phases = [Phase::UploadPatch, Phase::UploadPut];
    let rules = phases.map(|phase| Rule::on(phase, slow()));
    FaultProxy::start(registry.host(), rules.into())
}

fn image(number: u64) -> Vec<TestLayer> {
    let small = (1..5).map(|n| small_layer(100 * number + n));
    let large = (5..7).map(|n| large_layer(100 * number + n));
    small.chain(large).collect()
}

#[test]
fn after_a_death_only_the_rest_is_sent() {
    let numbers: Vec<u64> = (0..N_REGISTRIES).collect();
    // Pushes that were ended in the middle: something was there, and something was not.
    let ended = AtomicU64::new(0);
    for_all(&numbers, |number| {
        let Some(mut registry) = RegistryProcess::start() else {
            return;
        };
        let name = "team/app:x";
        let mut old = image(1000 + number);
        push_by(&anonymous(), registry.host(), name, &old).unwrap();
        for death in 0..N_DEATHS {
            let number = number * N_DEATHS + death;
            let new = image(number);
            let records = MemoryRecords::default();
            let proxy = slow(&registry);
            let (client, host) = (impatient(), proxy.host());
            thread::scope(|scope| {
                let push = || push_with(&client, &host, name, &new, &remembering(&records));
                let push = scope.spawn(push);
                wait_for_moment(&push, &proxy, &new, number);
                registry.kill();
                if let Err(error) = push.join().unwrap() {
                    assert!(error.is_network_or_registry(), "{}", message(&error));
                }
            });
            let whole = registry.blobs_of("team/app");
            registry.restart();
            assert_names_one_of(registry.host(), name, [&old, &new]);

            let proxy = FaultProxy::start(registry.host(), vec![]);
            push_with(
                &anonymous(),
                &proxy.host(),
                name,
                &new,
                &remembering(&records),
            )
            .unwrap_or_else(|error| panic!("death {number}: {}", message(&error)));
            let sent = uploaded(&proxy).into_iter();
            let sent: BTreeSet<String> = sent.map(|digest| digest.replace("sha256:", "")).collect();
            let n_whole = new
                .iter()
                .filter(|layer| whole.contains(&digest(layer).hex()))
                .count();
            if n_whole > 0 && n_whole < new.len() {
                ended.fetch_add(1, Ordering::SeqCst);
            }
            let twice: Vec<_> = sent.intersection(&whole).collect();
            assert!(twice.is_empty(), "death {number}: {twice:?} of {whole:?}");
            assert_stored(&anonymous(), registry.host(), name, &new);
            old = new;
        }
    });
    let ended = ended.load(Ordering::SeqCst);
    let is_here = nixply_testkit::require_program("docker-registry").is_some();
    assert!(
        !is_here || ended > N_REGISTRIES * N_DEATHS / 4,
        "only {ended} pushes were ended"
    );
}

/// The tag names one of two images, whole.
fn assert_names_one_of(host: &str, name: &str, images: [&[TestLayer]; 2]) {
    let stored = RegistryImage::open(&OBSERVER, &reference(host, name), None).unwrap();
    let layers = &stored.image().manifest.layers;
    let first = layers.first().unwrap().digest;
    let named = images.into_iter().find(|image| digest(&image[0]) == first);
    assert_stored(&OBSERVER, host, name, named.unwrap());
}

#[test]
fn a_push_outlives_the_death_of_the_registry() {
    let numbers: Vec<u64> = (0..N_REGISTRIES).collect();
    for_all(&numbers, |&number| {
        let Some(mut registry) = RegistryProcess::start() else {
            return;
        };
        let image = image(2000 + number);
        let proxy = slow(&registry);
        let host = proxy.host();
        thread::scope(|scope| {
            let push = || push_to(&host, "team/app:x", &image);
            let push = scope.spawn(push);
            wait_for_moment(&push, &proxy, &image, 1 + number);
            registry.kill();
            thread::sleep(Duration::from_millis(300));
            registry.restart();
            if let Err(error) = push.join().unwrap() {
                panic!("{}", message(&error));
            }
        });
        assert_stored(&OBSERVER, registry.host(), "team/app:x", &image);
    });
}
