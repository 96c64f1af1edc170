//! `--json`: `nixply.push/1`, one event a line on standard output, the result last. `docs/push.md` documents it.

use super::result::PushResult;
use crate::error::{CliError, output};
use nixply_oci::ImageReference;
use nixply_registry::{LayerOutcome, PushEvent, RecordSource};
use serde::Serialize;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// The version of the events.
pub(super) const SCHEMA: &str = "nixply.push/1";

/// Writes events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The first error of standard output; nothing is written after it.
    failure: Mutex<Option<io::Error>>,
}

/// A source of records, flat beside other fields.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    #[serde(rename = "source")]
    name: &'static str,
    #[serde(rename = "source_reference", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// An outcome, flat beside other fields.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    #[serde(rename = "outcome")]
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mounted_from: Option<String>,
    sent_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event<'a> {
    Start {
        schema: &'static str,
        references: Vec<String>,
        layers: usize,
        dry_run: bool,
    },
    Records {
        #[serde(flatten)]
        source: Source,
        layers: usize,
    },
    RecordsFailed {
        #[serde(flatten)]
        source: Source,
        error: String,
    },
    RecordWrong {
        layer: usize,
        #[serde(flatten)]
        source: Source,
    },
    LayerStarted {
        layer: usize,
        title: &'a str,
        store_bytes: u64,
    },
    LayerMade {
        layer: usize,
        size_bytes: u64,
    },
    LayerRestarted {
        layer: usize,
        resumed_at_bytes: u64,
        error: String,
    },
    LayerDone {
        layer: usize,
        title: &'a str,
        digest: String,
        size_bytes: u64,
        #[serde(flatten)]
        outcome: Outcome,
        #[serde(flatten)]
        source: Source,
    },
    ConfigDone {
        digest: String,
        uploaded: bool,
    },
    ManifestDone {
        digest: String,
    },
    TagDone {
        tag: &'a str,
        moved: bool,
    },
    LayerIndexDone {
        reference: String,
    },
    Result(&'a PushResult<'a>),
    Error {
        schema: &'static str,
        message: &'a str,
        causes: &'a [String],
        hint: Option<&'a str>,
        exit_code: u8,
    },
}

impl From<&RecordSource> for Source {
    fn from(source: &RecordSource) -> Self {
        let (name, reference) = match source {
            RecordSource::Image => ("image", None),
            RecordSource::Local => ("local", None),
            RecordSource::Manifest(reference) => ("manifest", Some(reference)),
            RecordSource::Index(reference) => ("index", Some(reference)),
            _ => ("made", None),
        };
        Self {
            name,
            reference: reference.map(ToString::to_string),
        }
    }
}

impl From<&LayerOutcome> for Outcome {
    fn from(outcome: &LayerOutcome) -> Self {
        let (name, mounted_from, sent_bytes) = match outcome {
            LayerOutcome::Mounted { from } => ("mounted", Some(from.to_string()), 0),
            LayerOutcome::Uploaded { bytes } => ("uploaded", None, *bytes),
            _ => ("present", None, 0),
        };
        Self {
            name,
            mounted_from,
            sent_bytes,
        }
    }
}

impl Events {
    /// The push begins.
    pub(super) fn start(&self, targets: &[ImageReference], n_layers: usize, dry_run: bool) {
        self.write(&Event::Start {
            schema: SCHEMA,
            references: targets.iter().map(ToString::to_string).collect(),
            layers: n_layers,
            dry_run,
        });
    }

    /// Something happened. How many bytes went out meanwhile is told at the end only.
    pub(super) fn push_event(&self, event: &PushEvent<'_>) {
        if let Some(event) = told(event) {
            self.write(&event);
        }
    }

    /// The push has ended well.
    pub(super) fn result(&self, result: &PushResult<'_>) {
        self.write(&Event::Result(result));
    }

    /// The push has failed.
    pub(super) fn error(&self, error: &CliError) {
        self.write(&Event::Error {
            schema: SCHEMA,
            message: error.message(),
            causes: error.causes(),
            hint: error.hint_text(),
            exit_code: error.status() as u8,
        });
    }

    /// Whether all of it was written.
    pub(super) fn finish(self) -> Result<(), CliError> {
        let failure = self.failure.into_inner();
        match failure.unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(output(&error)),
            None => Ok(()),
        }
    }

    fn write(&self, event: &Event<'_>) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        if failure.is_some() {
            return;
        }
        let written = serde_json::to_vec(event)
            .map_err(io::Error::from)
            .and_then(|mut line| {
                line.push(b'\n');
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            });
        *failure = written.err();
    }
}

/// The event of a push as it is written; none for what is not.
fn told<'a>(event: &'a PushEvent<'a>) -> Option<Event<'a>> {
    Some(match event {
        PushEvent::RecordsFound { source, layers } => Event::Records {
            source: (*source).into(),
            layers: *layers,
        },
        PushEvent::RecordsFailed { source, error } => Event::RecordsFailed {
            source: (*source).into(),
            error: super::one_line(*error),
        },
        PushEvent::RecordWrong {
            layer_idx, source, ..
        } => Event::RecordWrong {
            layer: *layer_idx,
            source: (*source).into(),
        },
        PushEvent::LayerStarted {
            layer_idx,
            title,
            weight_bytes,
        } => Event::LayerStarted {
            layer: *layer_idx,
            title,
            store_bytes: *weight_bytes,
        },
        PushEvent::LayerMade {
            layer_idx,
            size_bytes,
        } => Event::LayerMade {
            layer: *layer_idx,
            size_bytes: *size_bytes,
        },
        PushEvent::LayerRestarted {
            layer_idx,
            resumed_at_bytes,
            error,
            ..
        } => Event::LayerRestarted {
            layer: *layer_idx,
            resumed_at_bytes: *resumed_at_bytes,
            error: super::one_line(*error),
        },
        PushEvent::LayerDone {
            layer_idx,
            title,
            record,
            outcome,
            source,
        } => Event::LayerDone {
            layer: *layer_idx,
            title,
            digest: record.digest.to_string(),
            size_bytes: record.size_bytes,
            outcome: (*outcome).into(),
            source: (*source).into(),
        },
        PushEvent::ConfigDone { digest, uploaded } => Event::ConfigDone {
            digest: digest.to_string(),
            uploaded: *uploaded,
        },
        PushEvent::ManifestDone { digest } => Event::ManifestDone {
            digest: digest.to_string(),
        },
        PushEvent::TagDone { tag, moved } => Event::TagDone { tag, moved: *moved },
        PushEvent::LayerIndexDone { index } => Event::LayerIndexDone {
            reference: index.to_string(),
        },
        _ => return None,
    })
}
