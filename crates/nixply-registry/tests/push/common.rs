//! What the tests of this crate share.

use nixply_oci::{ImageReference, LayerKey};
use nixply_registry::{
    Client, ClientOptions, Credentials, FixedKeychain, LayerIndexPlace, LayerOutcome, PushEvent,
    PushObserver, PushOptions, PushReport,
};
use nixply_testkit::images::TestLayer;
use std::sync::{Arc, Mutex};

/// Two makers, and a budget that small layers fit into and [`large_layer`]s do not.
pub(crate) fn options<'a>() -> PushOptions<'a> {
    PushOptions {
        layer_memory_budget_bytes: 1 << 20,
        ..PushOptions::for_jobs(2)
    }
}

/// The same without any source of records.
pub(crate) fn without_records<'a>() -> PushOptions<'a> {
    PushOptions {
        read_tags: false,
        layer_index: LayerIndexPlace::Off,
        ..options()
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
    let outcomes = report.layers.iter().map(|layer| &layer.outcome);
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
            PushEvent::LayerDone {
                layer_idx, outcome, ..
            } => match outcome {
                LayerOutcome::Uploaded { .. } => format!("uploaded {layer_idx}"),
                LayerOutcome::Mounted { .. } => format!("mounted {layer_idx}"),
                _ => format!("there {layer_idx}"),
            },
            PushEvent::ConfigDone { uploaded, .. } => format!("config {uploaded}"),
            PushEvent::ManifestDone { .. } => "manifest".to_owned(),
            PushEvent::TagDone { tag, .. } => format!("tag {tag}"),
            PushEvent::RecordWrong { layer_idx, .. } => format!("record wrong {layer_idx}"),
            PushEvent::RecordsFailed { .. } => "records failed".to_owned(),
            _ => "other".to_owned(),
        };
        self.0.lock().unwrap().push(line);
    }
}

/// A layer with a key, as those of a store have.
pub(crate) fn keyed_layer(seed: u64) -> TestLayer {
    small_layer(seed).with_key(LayerKey::of(&seed.to_le_bytes()))
}
