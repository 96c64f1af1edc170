//! What a push tells while it runs, to people and to machines.

use super::events::Events;
use crate::progress::Progress;
use crate::text;
use nixply_oci::{ImageReference, RepositoryName};
use nixply_registry::{PushEvent, PushObserver, RecordSource, RegistryError, Survey};
use std::sync::{Mutex, PoisonError};

/// Passes events on.
pub(super) struct Observer<'a> {
    pub(super) progress: &'a Progress,
    pub(super) events: Option<&'a Events>,
    /// Whether things that only cost time are told.
    pub(super) verbose: bool,
    pub(super) quiet: bool,
    pub(super) named: Named,
}

/// The sources of records that the user named: he wants to know if they are of no use.
#[derive(Debug, Default)]
pub(super) struct Named {
    images: Vec<ImageReference>,
    /// Whether the layer index is where the user says.
    is_index: bool,
    /// Those of the images that told of no layer that was not known before.
    without_news: Mutex<Vec<ImageReference>>,
}

impl Named {
    pub(super) fn new(images: Vec<ImageReference>, is_index: bool) -> Self {
        Self {
            images,
            is_index,
            without_news: Mutex::default(),
        }
    }

    fn includes(&self, source: &RecordSource) -> bool {
        match source {
            RecordSource::Manifest(image) => self.images.contains(image),
            RecordSource::Index(_) => self.is_index,
            _ => false,
        }
    }

    fn note_found(&self, source: &RecordSource, n_layers: usize) {
        if let RecordSource::Manifest(image) = source
            && n_layers == 0
            && self.images.contains(image)
        {
            let mut without_news = self
                .without_news
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            without_news.push(image.clone());
        }
    }
}

impl Observer<'_> {
    /// Warns of images to reuse that are said to hold none of the layers. An image that does not exist tells just as
    /// little as one of other layers, and what was known before is no news.
    pub(super) fn warn_of_useless(&self, survey: &Survey, n_layers: usize) {
        let without_news = &self.named.without_news;
        let without_news = without_news.lock().unwrap_or_else(PoisonError::into_inner);
        for image in without_news.iter() {
            let repository = RepositoryName::from(image);
            let holds_one = (0..n_layers)
                .filter_map(|layer_idx| survey.known(layer_idx))
                .any(|known| known.held_by.contains(&repository));
            if !holds_one {
                text::warning(&format!(
                    "--reuse-from {image}: there is no such image, or it has none of these layers"
                ));
            }
        }
    }

    fn records_failed(&self, source: &RecordSource, error: &RegistryError) {
        let error = super::one_line(error);
        if self.named.includes(source) {
            text::warning(&format!("going on without {source}: {error}"));
        } else if self.verbose {
            text::note(&format!("no records from {source}: {error}"), None);
        }
    }
}

impl PushObserver for Observer<'_> {
    fn event(&self, event: &PushEvent<'_>) {
        self.progress.event(event);
        if let Some(events) = self.events {
            events.push_event(event);
        }
        match event {
            PushEvent::RecordsFound { source, layers } => {
                self.named.note_found(source, *layers);
                if self.verbose {
                    let layers = text::count(*layers, "layer");
                    text::note(&format!("{source}: {layers} more known"), None);
                }
            }
            PushEvent::RecordsFailed { source, error } => self.records_failed(source, error),
            PushEvent::RecordWrong { title, source, .. } => text::warning(&format!(
                "{source} had a wrong record of the layer {}: the layer is made again",
                text::printable(title)
            )),
            PushEvent::LayerRestarted {
                title,
                error,
                resumed_at_bytes,
                ..
            } if !self.quiet => text::note(
                &format!(
                    "sending the layer {} broke off, {}: {}",
                    text::printable(title),
                    match resumed_at_bytes {
                        0 => "starting again".to_owned(),
                        n_bytes => format!("going on at {}", text::size(*n_bytes)),
                    },
                    super::one_line(*error)
                ),
                None,
            ),
            _ => {}
        }
    }
}
