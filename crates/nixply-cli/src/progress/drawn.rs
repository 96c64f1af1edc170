//! What is drawn on the terminal at this moment, for all that writes to it beside.

use indicatif::ProgressBar;
use std::sync::{Mutex, MutexGuard, PoisonError};

static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn drawn() -> MutexGuard<'static, Option<ProgressBar>> {
    DRAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is drawn from now on; `None` when nothing is.
pub(super) fn set(progress: Option<ProgressBar>) {
    *drawn() = progress;
}

/// Writes while nothing is drawn; what was comes back below.
pub(crate) fn beside(write: impl FnOnce()) {
    match &*drawn() {
        Some(progress) => progress.suspend(write),
        None => write(),
    }
}

/// Takes away what is drawn, for good.
pub(crate) fn clear() {
    if let Some(progress) = drawn().take() {
        progress.finish_and_clear();
    }
}
