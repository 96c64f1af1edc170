//! What a push did, or would do, for people.

use crate::text;
use nixply_oci::ImageReference;
use nixply_registry::{LayerOutcome, PushReport, PushedLayer, RecordSource};
use std::time::Duration;

/// How many layers had which outcome.
struct Counts {
    present: usize,
    mounted: usize,
    uploaded: usize,
}

impl Counts {
    fn of(report: &PushReport) -> Self {
        let count = |is: fn(&LayerOutcome) -> bool| {
            let layers = report.layers.iter();
            layers.filter(|layer| is(&layer.outcome)).count()
        };
        Self {
            present: count(|outcome| matches!(outcome, LayerOutcome::Present)),
            mounted: count(|outcome| matches!(outcome, LayerOutcome::Mounted { .. })),
            uploaded: count(|outcome| matches!(outcome, LayerOutcome::Uploaded { .. })),
        }
    }
}

/// A summary of what was done.
pub(super) fn describe(
    targets: &[ImageReference],
    report: &PushReport,
    duration: Duration,
) -> String {
    let Counts {
        present,
        mounted,
        uploaded,
    } = Counts::of(report);
    let unchanged = if report.is_unchanged {
        "; nothing has changed"
    } else {
        ""
    };
    format!(
        "{}\n  digest   {}\n  layers   {present} already there, {mounted} mounted, {uploaded} sent{unchanged}\n  \
         store    {} not read, {} read\n  network  {} not sent, {} sent in {}, {}\n  time     {}\n",
        names(targets),
        digest(report),
        text::size(report.store_bytes_not_read()),
        text::size(report.store_bytes_read()),
        text::size(report.layer_bytes_not_sent()),
        text::size(report.traffic.bytes_sent),
        text::count(as_usize(report.traffic.requests), "request"),
        match report.traffic.retries {
            1 => "1 retry".to_owned(),
            n => format!("{n} retries"),
        },
        text::duration(duration),
    )
}

/// What would be done, layer by layer, and why.
pub(super) fn describe_dry_run(targets: &[ImageReference], report: &PushReport) -> String {
    let rows: Vec<Vec<String>> = (1..)
        .zip(&report.layers)
        .map(|(number, layer)| row(number, layer))
        .collect();
    let Counts {
        present,
        mounted,
        uploaded,
    } = Counts::of(report);
    let to_read = report
        .layers
        .iter()
        .filter(|layer| matches!(layer.outcome, LayerOutcome::Uploaded { .. }))
        .map(|layer| layer.weight_bytes)
        .fold(0, u64::saturating_add);
    let end = if report.is_unchanged {
        "nothing has changed: nothing would be done".to_owned()
    } else {
        format!(
            "{present} already there, {mounted} to mount, {uploaded} to make and send: {} to read",
            text::size(to_read)
        )
    };
    format!(
        "{}\n\n{}\ndigest  {}\nlayers  {end}\n",
        names(targets),
        text::table(
            &["layer", "size", "would be", "known from", "contents"],
            &[0, 1],
            &rows
        ),
        digest(report),
    )
}

fn row(number: usize, layer: &PushedLayer) -> Vec<String> {
    let size = match &layer.record {
        Some(record) => text::size(record.size_bytes),
        None => "?".to_owned(),
    };
    let action = match &layer.outcome {
        LayerOutcome::Mounted { from } => format!("mounted from {from}"),
        LayerOutcome::Uploaded { .. } => "made and sent".to_owned(),
        _ => "left as it is".to_owned(),
    };
    let known_from = match &layer.source {
        RecordSource::Made => "nothing".to_owned(),
        source => source.to_string(),
    };
    vec![
        number.to_string(),
        size,
        action,
        known_from,
        text::printable(&layer.title),
    ]
}

fn names(targets: &[ImageReference]) -> String {
    let names: Vec<String> = targets.iter().map(ToString::to_string).collect();
    names.join("\n")
}

fn digest(report: &PushReport) -> String {
    match report.manifest_digest {
        Some(digest) => digest.to_string(),
        None => "known when every layer is".to_owned(),
    }
}

fn as_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
