//! The last line of `--json`.

use super::events::{Outcome, SCHEMA, Source};
use nixply_oci::ImageReference;
use nixply_registry::{PushReport, PushedLayer};
use serde::Serialize;
use std::time::Duration;

/// What a push did; in a dry run, what it would do.
#[derive(Debug, Serialize)]
pub(super) struct PushResult<'a> {
    schema: &'static str,
    dry_run: bool,
    /// The reference by digest; none in a dry run where a layer is unknown.
    reference: Option<String>,
    digest: Option<String>,
    tags: &'a [String],
    unchanged: bool,
    layers: Vec<Layer<'a>>,
    store_bytes_read: u64,
    store_bytes_not_read: u64,
    layer_bytes_sent: u64,
    layer_bytes_not_sent: u64,
    bytes_sent: u64,
    bytes_received: u64,
    requests: u64,
    retries: u64,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Layer<'a> {
    title: &'a str,
    digest: Option<String>,
    diff_id: Option<String>,
    size_bytes: Option<u64>,
    media_type: Option<String>,
    #[serde(flatten)]
    outcome: Outcome,
    #[serde(flatten)]
    source: Source,
    store_bytes: u64,
    times_made: u32,
}

impl<'a> PushResult<'a> {
    /// The result of a push to the repository of `target` that took this long.
    pub(super) fn new(
        target: &ImageReference,
        report: &'a PushReport,
        dry_run: bool,
        duration: Duration,
    ) -> Self {
        let digest = report.manifest_digest;
        let repository = target.without_tag_and_digest();
        Self {
            schema: SCHEMA,
            dry_run,
            reference: digest.map(|digest| format!("{repository}@{digest}")),
            digest: digest.map(|digest| digest.to_string()),
            tags: &report.tags,
            unchanged: report.is_unchanged,
            layers: report.layers.iter().map(Layer::from).collect(),
            store_bytes_read: report.store_bytes_read(),
            store_bytes_not_read: report.store_bytes_not_read(),
            layer_bytes_sent: report.layer_bytes_sent(),
            layer_bytes_not_sent: report.layer_bytes_not_sent(),
            bytes_sent: report.traffic.bytes_sent,
            bytes_received: report.traffic.bytes_received,
            requests: report.traffic.requests,
            retries: report.traffic.retries,
            seconds: duration.as_secs_f64(),
        }
    }
}

impl<'a> From<&'a PushedLayer> for Layer<'a> {
    fn from(layer: &'a PushedLayer) -> Self {
        let record = layer.record.as_ref();
        Self {
            title: &layer.title,
            digest: record.map(|record| record.digest.to_string()),
            diff_id: record.map(|record| record.diff_id.to_string()),
            size_bytes: record.map(|record| record.size_bytes),
            media_type: record.map(|record| record.media_type.to_string()),
            outcome: (&layer.outcome).into(),
            source: (&layer.source).into(),
            store_bytes: layer.weight_bytes,
            times_made: layer.times_made,
        }
    }
}
