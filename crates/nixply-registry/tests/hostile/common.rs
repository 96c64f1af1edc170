//! Images to push, clients that are impatient, and what has to hold afterwards.

use crate::memory_records::MemoryRecords;
use nixply_oci::{Digest, ImageReference, ImageSource as _, LayerKey};
use nixply_registry::{
    Client, ClientOptions, Credentials, FixedKeychain, PushOptions, PushReport, RegistryError,
    RegistryImage, SilentObserver, push,
};
use nixply_testkit::images::{TestImage, TestLayer};
use nixply_testkit::registry::{FaultProxy, Phase, RegistryProcess};
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

/// How many cases run at once. They wait for most of their time, for retries and stalls.
const CASES_AT_ONCE: usize = 16;

/// A layer that is held in memory until its digest is known.
pub(crate) fn small_layer(seed: u64) -> TestLayer {
    keyed(
        TestLayer::noise(seed, 40_000 + usize::try_from(seed % 100).unwrap()),
        seed,
    )
}

/// A layer that is sent before its digest is known: more than [`options`] let a layer hold.
pub(crate) fn large_layer(seed: u64) -> TestLayer {
    keyed(TestLayer::noise(seed, (1 << 20) + 77), seed)
}

fn keyed(layer: TestLayer, seed: u64) -> TestLayer {
    layer.with_key(LayerKey::of(&seed.to_le_bytes()))
}

/// Two makers, and little memory.
pub(crate) fn options() -> PushOptions<'static> {
    PushOptions {
        layer_memory_budget_bytes: 256 << 10,
        ..PushOptions::for_jobs(2)
    }
}

/// Waits that are short enough for tests, and more retries than any of them needs.
pub(crate) fn client_options() -> ClientOptions {
    ClientOptions {
        connect_timeout: Duration::from_secs(10),
        first_byte_timeout: Duration::from_secs(2),
        stall_timeout: Duration::from_secs(1),
        connections: 4,
        ..ClientOptions::default()
    }
}

pub(crate) fn client_as(credentials: Credentials, options: ClientOptions) -> Client {
    Client::new(Arc::new(FixedKeychain(credentials)), options).unwrap()
}

pub(crate) fn anonymous() -> Client {
    client_as(Credentials::Anonymous, client_options())
}

pub(crate) fn reference(host: &str, name: &str) -> ImageReference {
    format!("{host}/{name}").parse().unwrap()
}

/// For what goes over a good network, beside the push that is tried. Making a client costs more than a small push.
pub(crate) static OBSERVER: LazyLock<Client> = LazyLock::new(anonymous);

/// Pushes the image of these layers to `HOST/NAME`, with a client of its own.
pub(crate) fn push_to(
    host: &str,
    name: &str,
    layers: &[TestLayer],
) -> Result<PushReport, RegistryError> {
    push_by(&anonymous(), host, name, layers)
}

pub(crate) fn push_by(
    client: &Client,
    host: &str,
    name: &str,
    layers: &[TestLayer],
) -> Result<PushReport, RegistryError> {
    push_with(client, host, name, layers, &options())
}

pub(crate) fn push_with(
    client: &Client,
    host: &str,
    name: &str,
    layers: &[TestLayer],
    options: &PushOptions<'_>,
) -> Result<PushReport, RegistryError> {
    let image = TestImage::new(layers.to_vec());
    let targets = [reference(host, name)];
    push(client, &image, &targets, options, &SilentObserver)
}

/// [`options`] with what a machine remembers.
pub(crate) fn remembering(records: &MemoryRecords) -> PushOptions<'_> {
    PushOptions {
        records: Some(records),
        ..options()
    }
}

/// The image under a name has these layers, byte for byte.
pub(crate) fn assert_stored(client: &Client, host: &str, name: &str, layers: &[TestLayer]) {
    let reference = reference(host, name);
    let stored = RegistryImage::open(client, &reference, None)
        .unwrap_or_else(|error| panic!("{reference}: {error:?}"));
    assert_eq!(stored.image().manifest.layers.len(), layers.len());
    for (layer_idx, layer) in layers.iter().enumerate() {
        let mut bytes = Vec::new();
        let mut reader = stored.open_layer(layer_idx).unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        assert!(bytes == layer.blob(), "layer {layer_idx} of {reference}");
    }
}

/// The property: a push to a tag that named `old` has ended well and the tag names `new`; or it has ended with an error
/// that blames registry or network, and the tag still names `old`. Then the same push succeeds over a good network.
pub(crate) fn assert_new_or_old(
    registry: &RegistryProcess,
    name: &str,
    [old, new]: [&[TestLayer]; 2],
    result: &Result<PushReport, RegistryError>,
) {
    match result {
        Ok(_) => assert_stored(&OBSERVER, registry.host(), name, new),
        Err(error) => {
            assert!(error.is_network_or_registry(), "{error:?}");
            assert!(error.to_string().len() > 20, "it says nothing: {error}");
            assert_stored(&OBSERVER, registry.host(), name, old);
            let again = push_by(&OBSERVER, registry.host(), name, new);
            again.unwrap_or_else(|error| panic!("over a good network: {error:?}"));
            assert_stored(&OBSERVER, registry.host(), name, new);
        }
    }
}

/// An error with its causes, as people see it.
pub(crate) fn message(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The digest of a layer's blob.
pub(crate) fn digest(layer: &TestLayer) -> Digest {
    layer.record().digest.into()
}

/// The digests of the blobs that uploads through a proxy have brought to their end, with how often each was.
pub(crate) fn uploaded(proxy: &FaultProxy) -> Vec<String> {
    let log = proxy.log();
    let puts = log.iter().filter(|passed| passed.phase == Phase::UploadPut);
    puts.filter_map(|passed| {
        let (_, digest) = passed.request.query().split_once("digest=")?;
        let digest = digest.split('&').next()?.replace("%3A", ":");
        Some(digest)
    })
    .collect()
}

/// Runs cases side by side, and then fails with the messages of all that failed.
pub(crate) fn for_all<T: Sync + std::fmt::Debug>(cases: &[T], run: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(case))) {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text =
                        text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).to_owned()));
                    failed.push(format!("{case:?}: {}", text.unwrap_or_default()));
                }
            }
            failed
        };
        let workers: Vec<_> = (0..CASES_AT_ONCE)
            .map(|_| {
                // Named after the test: what is skipped is told by this name.
                let test = thread::current().name().unwrap_or_default().to_owned();
                thread::Builder::new()
                    .name(test)
                    .spawn_scoped(scope, work)
                    .unwrap()
            })
            .collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap());
        results.flatten().collect()
    });
    assert!(
        failures.is_empty(),
        "{} of {} cases:\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
}

/// A client that tries once more and no more.
pub(crate) fn impatient() -> Client {
    let options = ClientOptions {
        retries_per_request: 1,
        ..client_options()
    };
    client_as(Credentials::Anonymous, options)
}
