//! What a push tells while it runs, to people and to machines.

use super::events::Events;
use crate::progress::Progress;
use crate::text;
use nixply_registry::{PushEvent, PushObserver};

/// Passes events on.
pub(super) struct Observer<'a> {
    pub(super) progress: &'a Progress,
    pub(super) events: Option<&'a Events>,
    /// Whether things that only cost time are told.
    pub(super) verbose: bool,
    pub(super) quiet: bool,
}

impl PushObserver for Observer<'_> {
    fn event(&self, event: &PushEvent<'_>) {
        self.progress.event(event);
        if let Some(events) = self.events {
            events.push_event(event);
        }
        match event {
            PushEvent::RecordsFound { source, layers } if self.verbose => text::note(
                &format!("{source}: {} more known", text::count(*layers, "layer")),
                None,
            ),
            PushEvent::RecordsFailed { source, error } if self.verbose => text::note(
                &format!("no records from {source}: {}", super::one_line(*error)),
                None,
            ),
            PushEvent::RecordWrong { title, source, .. } => text::warning(&format!(
                "{source} had a wrong record of the layer {}: the layer is made again",
                text::printable(title)
            )),
            PushEvent::LayerRestarted { title, error, .. } if !self.quiet => text::note(
                &format!(
                    "sending the layer {} broke off, and is gone on with: {}",
                    text::printable(title),
                    super::one_line(*error)
                ),
                None,
            ),
            _ => {}
        }
    }
}
