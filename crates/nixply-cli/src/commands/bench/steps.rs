//! Progress of work in steps: a bar on a terminal, nothing elsewhere.

use crate::progress::bar;
use indicatif::ProgressBar;
use nixply_reuse::Watch;
use std::time::Instant;

/// Steps that are shown one after another.
#[derive(Debug)]
pub(crate) struct Steps {
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// `verb` says what happens; `quiet` shows nothing at all.
    pub(crate) fn new(verb: &'static str, steps: usize, quiet: bool) -> Self {
        Self {
            start: Instant::now(),
            bar: bar(verb, steps, quiet),
        }
    }

    /// A step begins; the one before is done.
    pub(crate) fn begin(&mut self, what: &str) {
        if let Some(bar) = &self.bar {
            if !bar.message().is_empty() {
                bar.inc(1);
            }
            bar.set_message(what.to_owned());
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Steps {
    fn now_nanos(&mut self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn pin_begins(&mut self, pin: &str) {
        self.begin(pin);
    }
}
