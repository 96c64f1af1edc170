//! What the tests of this crate share.

use nixply_oci::ImageReference;
use nixply_registry::{
    Client, ClientOptions, Credentials, FixedKeychain, LayerOutcome, PushEvent, PushObserver,
    PushOptions, PushReport,
};
use nixply_testkit::images::TestLayer;
use std::sync::{Arc, Mutex};

/// Two makers, four senders, and a budget that small layers fit into and [`large_layer`]s do not.
pub(crate) fn options() -> PushOptions {
    PushOptions {
        jobs: 2,
        connections: 4,
        layer_memory_budget_bytes: 1 << 20,
    }
}

/// A client that does not try again.
pub(crate) fn client(credentials: &Credentials) -> Client {
    client_with(
        credentials,
        ClientOptions {
            retries_per_request: 0,
            ..ClientOptions::default()
        },
    )
}

pub(crate) fn client_with(credentials: &Credentials, options: ClientOptions) -> Client {
    Client::new(Arc::new(FixedKeychain(credentials.clone())), options).unwrap()
}

pub(crate) fn anonymous() -> Client {
    client(&Credentials::Anonymous)
}

pub(crate) fn reference(host: &str, rest: &str) -> ImageReference {
    format!("{host}/{rest}").parse().unwrap()
}

/// Bytes that no compressor helps with, other ones for every seed.
pub(crate) fn noise(seed: u64, n_bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(n_bytes)
    .collect()
}

pub(crate) fn small_layer(seed: u64) -> TestLayer {
    TestLayer::plain(&noise(seed, 10_000 + usize::try_from(seed).unwrap()))
}

/// A layer of 3 MiB and a bit: over the budget of [`options`].
pub(crate) fn large_layer(seed: u64) -> TestLayer {
    TestLayer::plain(&noise(seed, (3 << 20) + 77))
}

/// How many layers were sent.
pub(crate) fn uploads(report: &PushReport) -> usize {
    let outcomes = report.layers.iter().map(|layer| layer.outcome);
    outcomes
        .filter(|outcome| matches!(outcome, LayerOutcome::Uploaded { .. }))
        .count()
}

/// Keeps the events of a push as lines.
#[derive(Default)]
pub(crate) struct Events(Mutex<Vec<String>>);

impl Events {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl PushObserver for Events {
    fn event(&self, event: &PushEvent<'_>) {
        let line = match event {
            PushEvent::LayerStarted { layer_idx, .. } => format!("start {layer_idx}"),
            PushEvent::BytesSent { layer_idx, bytes } => format!("bytes {layer_idx} {bytes}"),
            PushEvent::LayerAlreadyThere { layer_idx, .. } => format!("there {layer_idx}"),
            PushEvent::LayerUploaded { layer_idx, .. } => format!("uploaded {layer_idx}"),
            PushEvent::ConfigDone { uploaded, .. } => format!("config {uploaded}"),
            PushEvent::ManifestDone { .. } => "manifest".to_owned(),
            PushEvent::TagDone { tag } => format!("tag {tag}"),
            _ => "other".to_owned(),
        };
        self.0.lock().unwrap().push(line);
    }
}
