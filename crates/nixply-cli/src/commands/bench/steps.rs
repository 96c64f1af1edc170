//! Progress of work in steps: a bar on a terminal, nothing elsewhere.

use crate::environment;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nixply_reuse::Watch;
use std::time::{Duration, Instant};

/// Steps that are shown one after another.
#[derive(Debug)]
pub(crate) struct Steps {
    start: Instant,
    bar: Option<ProgressBar>,
}

impl Steps {
    /// `verb` says what happens; `quiet` shows nothing at all.
    pub(crate) fn new(verb: &'static str, steps: usize, quiet: bool) -> Self {
        let bar = (!quiet && environment::can_draw()).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
            if let Ok(style) =
                ProgressStyle::with_template("{prefix} [{bar:24}] {pos}/{len}, {wide_msg}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(verb);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            start: Instant::now(),
            bar,
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
