//! Progress on standard error: a bar on a terminal, a line a layer elsewhere.

use crate::environment;
use crate::text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nixply_layout::{WriteObserver, WrittenLayer};
use nixply_oci::LayerRecord;
use nixply_registry::{LayerOutcome, PushEvent, PushObserver};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Counts what a sink reports and shows it.
#[derive(Debug)]
pub(crate) struct Progress {
    n_layers: usize,
    done: AtomicUsize,
    sent_bytes: AtomicU64,
    /// None where the terminal cannot draw or nobody wants to see it.
    bar: Option<ProgressBar>,
    quiet: bool,
}

/// A bar on a terminal, none elsewhere or where `quiet`; `unit` stands behind the number of steps.
pub(crate) fn bar(
    verb: &'static str,
    steps: usize,
    unit: &str,
    quiet: bool,
) -> Option<ProgressBar> {
    (!quiet && environment::can_draw()).then(|| {
        let target = ProgressDrawTarget::stderr_with_hz(10);
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let template = format!("{{prefix}} [{{bar:24}}] {{pos}}/{{len}}{unit}, {{wide_msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(verb);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    })
}

impl Progress {
    /// Starts with no layer done. `verb` says what happens, "pushing" for example; `quiet` shows nothing at all.
    pub(crate) fn new(verb: &'static str, n_layers: usize, quiet: bool) -> Self {
        let bar = bar(verb, n_layers, " layers", quiet);
        Self {
            n_layers,
            done: AtomicUsize::new(0),
            sent_bytes: AtomicU64::new(0),
            bar,
            quiet,
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn bytes(&self, bytes: u64, current: Option<&str>) {
        let total = self.sent_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(bar) = &self.bar {
            let current = current
                .map(|title| format!(", {title}"))
                .unwrap_or_default();
            bar.set_message(format!("{}{current}", text::size(total)));
        }
    }

    fn layer_done(&self, what: &str, title: &str, record: &LayerRecord) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.set_position(done as u64),
            None if self.quiet => {}
            None => text::message(&format!(
                "layer {done}/{}: {what}, {}: {title}\n",
                self.n_layers,
                text::size(record.size_bytes)
            )),
        }
    }

    fn line(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.quiet => {}
            None => text::message(&format!("{line}\n")),
        }
    }
}

impl PushObserver for Progress {
    fn event(&self, event: &PushEvent<'_>) {
        match event {
            PushEvent::LayerStarted { title, .. } => self.bytes(0, Some(title)),
            PushEvent::BytesSent { bytes, .. } => self.bytes(*bytes, None),
            PushEvent::LayerDone {
                title,
                record,
                outcome,
                ..
            } => {
                let what = match outcome {
                    LayerOutcome::Uploaded { .. } => "uploaded",
                    LayerOutcome::Mounted { .. } => "mounted",
                    _ => "already there",
                };
                self.layer_done(what, title, record);
            }
            PushEvent::TagDone { tag, .. } => self.line(&format!("tag {tag}")),
            _ => {}
        }
    }
}

impl WriteObserver for Progress {
    fn layer_started(&self, _layer_idx: usize, title: &str, _weight_bytes: u64) {
        self.bytes(0, Some(title));
    }

    fn layer_bytes(&self, _layer_idx: usize, n_bytes: u64) {
        self.bytes(n_bytes, None);
    }

    fn layer_done(&self, _layer_idx: usize, layer: &WrittenLayer) {
        let what = match layer.outcome {
            nixply_layout::LayerOutcome::Written => "written",
            nixply_layout::LayerOutcome::AlreadyThere => "already there",
            nixply_layout::LayerOutcome::Repeated => "same as another layer",
        };
        self.layer_done(what, &layer.title, &layer.record);
    }
}
