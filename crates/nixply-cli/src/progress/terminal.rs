//! Progress on a terminal: lines that are drawn again and again.

use super::drawn;
use super::model::Model;
use console::{Term, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the lines are drawn. What is over sooner is not drawn at all.
const INTERVAL: Duration = Duration::from_millis(200);

/// The most often that indicatif draws.
const DRAWS_PER_SECOND: u8 = 10;

/// Draws a [`Model`] from a thread of its own until it is finished.
#[derive(Debug)]
pub(crate) struct Terminal {
    shared: Arc<Shared>,
    drawer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    model: Mutex<Model>,
    drawn: ProgressBar,
    start: Instant,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Terminal {
    /// Starts to draw.
    pub(crate) fn new(model: Model) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let drawn = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            drawn.set_style(style);
        }
        let shared = Arc::new(Shared {
            model: Mutex::new(model),
            drawn,
            start: Instant::now(),
            is_over: Mutex::new(false),
            over: Condvar::new(),
        });
        drawn::set(Some(shared.drawn.clone()));
        let drawing = Arc::clone(&shared);
        // Without the thread there is no progress to see, and nothing else is missing.
        let drawer = thread::Builder::new()
            .name("nixply-progress".to_owned())
            .spawn(move || drawing.draw())
            .ok();
        Self {
            shared,
            drawer: Mutex::new(drawer),
        }
    }

    /// Something changed.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Model)) {
        change(&mut lock(&self.shared.model));
    }

    /// Takes the lines away.
    pub(crate) fn finish(&self) {
        *lock(&self.shared.is_over) = true;
        self.shared.over.notify_all();
        if let Some(drawer) = lock(&self.drawer).take() {
            // A panic there was told there.
            let _ = drawer.join();
        }
        drawn::set(None);
    }
}

impl Shared {
    fn draw(&self) {
        let mut is_over = lock(&self.is_over);
        loop {
            let waited = self.over.wait_timeout(is_over, INTERVAL);
            is_over = waited.unwrap_or_else(PoisonError::into_inner).0;
            if *is_over {
                break;
            }
            let lines = lock(&self.model).lines(self.start.elapsed());
            // All lines at once: drawn one by one, they would not fit each other for a moment.
            self.drawn.set_message(cut_off(&lines));
        }
        self.drawn.finish_and_clear();
    }
}

/// The lines, cut off where the terminal ends.
fn cut_off(lines: &[String]) -> String {
    let (_, n_columns) = Term::stderr().size();
    let lines = lines
        .iter()
        .map(|line| truncate_str(line, n_columns.into(), ""));
    lines.collect::<Vec<_>>().join("\n")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
