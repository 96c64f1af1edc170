//! Progress on standard error: lines that are drawn anew on a terminal, a line a layer that was
//! made elsewhere, and one for the others of a kind.

mod bar;
pub(crate) mod drawn;
mod lines;
mod meter;
mod model;
mod terminal;

use crate::environment;
pub(crate) use bar::bar;
use lines::Lines;
use model::Model;
use nixply_layout::{WriteObserver, WrittenLayer};
use nixply_oci::Image;
use nixply_registry::{LayerOutcome, PushEvent, PushObserver};
use terminal::Terminal;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// On a terminal, and elsewhere as lines.
    All,
    /// On a terminal only: lines would say what standard output says.
    Drawn,
    /// Not at all.
    Nothing,
}

impl Show {
    /// Everything, or nothing where `quiet`.
    pub(crate) const fn unless(quiet: bool) -> Self {
        if quiet { Self::Nothing } else { Self::All }
    }
}

/// Shows what a sink reports.
#[derive(Debug)]
pub(crate) enum Progress {
    Terminal(Terminal),
    Lines(Lines),
    Nothing,
}

impl Progress {
    /// Starts with no layer done. `verb` says what happens, "pushing" for example; `sends` whether layers are sent once
    /// they are made.
    pub(crate) fn new(verb: &'static str, sends: bool, image: &dyn Image, show: Show) -> Self {
        let layers = image.layers();
        match show {
            Show::All | Show::Drawn if environment::can_draw() => {
                let weights: Vec<u64> = layers.iter().map(|layer| layer.weight_bytes()).collect();
                Self::Terminal(Terminal::new(Model::new(verb, sends, &weights)))
            }
            Show::All => Self::Lines(Lines::new(layers.len())),
            Show::Drawn | Show::Nothing => Self::Nothing,
        }
    }

    /// Takes away what is drawn; where lines are written, tells of the layers that had none.
    pub(crate) fn finish(&self) {
        match self {
            Self::Terminal(terminal) => terminal.finish(),
            Self::Lines(lines) => lines.finish(),
            Self::Nothing => {}
        }
    }

    fn started(&self, layer_idx: usize, title: &str) {
        match self {
            Self::Terminal(terminal) => terminal.update(|model| model.started(layer_idx, title)),
            Self::Lines(lines) => lines.started(layer_idx),
            Self::Nothing => {}
        }
    }

    fn update(&self, change: impl FnOnce(&mut Model)) {
        if let Self::Terminal(terminal) = self {
            terminal.update(change);
        }
    }

    fn done(&self, layer_idx: usize, done: &Done<'_>) {
        match self {
            Self::Terminal(terminal) => {
                terminal.update(|model| model.done(layer_idx, done.size_bytes, done.spared));
            }
            Self::Lines(lines) if done.spared => {
                lines.spared(layer_idx, done.what, done.size_bytes);
            }
            Self::Lines(lines) => lines.done(layer_idx, done.what, done.title, done.size_bytes),
            Self::Nothing => {}
        }
    }
}

/// A layer that is where it has to be.
struct Done<'a> {
    what: &'static str,
    title: &'a str,
    size_bytes: u64,
    /// True if nothing had to be made.
    spared: bool,
}

impl PushObserver for Progress {
    fn event(&self, event: &PushEvent<'_>) {
        match event {
            PushEvent::LayerStarted {
                layer_idx, title, ..
            } => self.started(*layer_idx, title),
            PushEvent::BytesMade { layer_idx, bytes } => {
                self.update(|model| model.made_bytes(*layer_idx, *bytes));
            }
            PushEvent::LayerRestarted {
                layer_idx,
                resumed_at_bytes,
                ..
            } => self.update(|model| model.restarted(*layer_idx, *resumed_at_bytes)),
            PushEvent::LayerMade {
                layer_idx,
                size_bytes,
            } => self.update(|model| model.made(*layer_idx, *size_bytes)),
            PushEvent::BytesSent { layer_idx, bytes } => {
                self.update(|model| model.sent_bytes(*layer_idx, *bytes));
            }
            PushEvent::LayerDone {
                layer_idx,
                title,
                record,
                outcome,
                ..
            } => {
                let (what, spared) = match outcome {
                    LayerOutcome::Uploaded { .. } => ("sent", false),
                    LayerOutcome::Mounted { .. } => ("mounted", true),
                    _ => ("already there", true),
                };
                let done = Done {
                    what,
                    title,
                    size_bytes: record.size_bytes,
                    spared,
                };
                self.done(*layer_idx, &done);
            }
            _ => {}
        }
    }
}

impl WriteObserver for Progress {
    fn layer_started(&self, layer_idx: usize, title: &str, _weight_bytes: u64) {
        self.started(layer_idx, title);
    }

    fn layer_bytes(&self, layer_idx: usize, n_bytes: u64) {
        self.update(|model| model.made_bytes(layer_idx, n_bytes));
    }

    fn layer_done(&self, layer_idx: usize, layer: &WrittenLayer) {
        let (what, spared) = match layer.outcome {
            nixply_layout::LayerOutcome::Written => ("written", false),
            nixply_layout::LayerOutcome::AlreadyThere => ("already there", true),
            nixply_layout::LayerOutcome::Repeated => ("same as another layer", true),
        };
        let done = Done {
            what,
            title: &layer.title,
            size_bytes: layer.record.size_bytes,
            spared,
        };
        self.done(layer_idx, &done);
    }
}
