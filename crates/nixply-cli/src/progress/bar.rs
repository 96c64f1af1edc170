//! A bar for work in steps.

use crate::environment;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar on a terminal, none elsewhere or where `quiet`; `verb` says what happens.
pub(crate) fn bar(verb: &'static str, steps: usize, quiet: bool) -> Option<ProgressBar> {
    (!quiet && environment::can_draw()).then(|| {
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
    })
}
