//! SIGINT and SIGTERM: work ends within a second, and nothing half written stays behind.
//!
//! A push is told and ends by itself, so that it can say what was done; if it does not within [`PATIENCE`], and in every
//! other command, the signal's own thread removes what is unfinished and ends the process.

use crate::error::{CliError, ExitStatus};
use crate::progress::drawn;
use crate::text;
use nixply_layout::discard_unfinished;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a push may take to end; the rest of the second is for what ends the process.
const PATIENCE: Duration = Duration::from_millis(800);

/// What an interrupted push says.
const RUN_AGAIN: &str = "interrupted; run the same command again: it sends only the rest";

/// What a signal has to reach.
struct State {
    /// Ends a push.
    stop: Option<Box<dyn Fn() + Send>>,
    caught: Option<ExitStatus>,
}

static STATE: Mutex<State> = Mutex::new(State {
    stop: None,
    caught: None,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to listen for signals.
pub(crate) fn listen() {
    // Without the thread, signals do what they do by default: end the process at once.
    let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    let spawned = thread::Builder::new()
        .name("nixply-signals".to_owned())
        .spawn(move || {
            let (again, once_more) = mpsc::channel();
            let mut first = Some(once_more);
            for signal in signals.forever() {
                let status = if signal == SIGTERM {
                    ExitStatus::Terminated
                } else {
                    ExitStatus::Interrupted
                };
                match first.take() {
                    Some(once_more) => {
                        thread::spawn(move || end(status, &once_more));
                    }
                    // Whoever asks twice does not want to wait.
                    None => drop(again.send(())),
                }
            }
        });
    drop(spawned);
}

/// Does work that a signal ends by `stop`.
pub(crate) fn stopping<T>(stop: impl Fn() + Send + 'static, work: impl FnOnce() -> T) -> T {
    state().stop = Some(Box::new(stop));
    let done = work();
    state().stop = None;
    done
}

/// What work that [`stopping`] ends says of itself, if a signal came; else the error that it failed with.
pub(crate) fn or(error: CliError) -> CliError {
    match state().caught {
        Some(status) => CliError::new(status, RUN_AGAIN),
        None => error,
    }
}

fn end(status: ExitStatus, once_more: &Receiver<()>) {
    let is_stopping = {
        let mut state = state();
        state.caught = Some(status);
        match &state.stop {
            Some(stop) => {
                stop();
                true
            }
            None => false,
        }
    };
    if is_stopping {
        // Until the work has ended, and the process with it; or until asked again.
        let _ = once_more.recv_timeout(PATIENCE);
    }
    discard_unfinished();
    drawn::clear();
    let message = if is_stopping {
        RUN_AGAIN
    } else {
        "interrupted"
    };
    text::message(&CliError::new(status, message).render());
    exit(status);
}

#[expect(
    clippy::exit,
    reason = "other threads cannot be asked to end: they wait for disks, pipes and programs"
)]
fn exit(status: ExitStatus) -> ! {
    std::process::exit(status as i32)
}
