//! Makes things on several threads and hands them out in order.
//!
//! Workers take the heaviest thing among the next few that are not handed out yet, so that a heavy one near the end does not
//! start last, and so that no more than those few wait to be handed out.

use crate::LayoutError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Tells makers that their result is not wanted any more.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

impl Stop {
    /// True once any part of the work has failed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How much is made at once and how far ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Worker threads; at least one is started.
    pub(crate) jobs: usize,
    /// The number of things, from the next one to hand out, that may be made or wait.
    pub(crate) look_ahead: usize,
}

struct State<T> {
    next_out: usize,
    started: Vec<bool>,
    made: Vec<Option<T>>,
    failure: Option<LayoutError>,
}

struct Shared<'a, T> {
    weights: &'a [u64],
    look_ahead: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
    stop: Stop,
}

/// Makes the thing of each index of `weights` by `make`, on worker threads, and gives them to `hand_out` in order, on the
/// calling thread. The first error ends it: `make` sees it in [`Stop`], and nothing more is handed out.
pub(crate) fn make_in_order<T: Send>(
    weights: &[u64],
    pace: Pace,
    make: &(dyn Fn(usize, &Stop) -> Result<T, LayoutError> + Sync),
    hand_out: impl FnMut(usize, T) -> Result<(), LayoutError>,
) -> Result<(), LayoutError> {
    let shared = Shared {
        weights,
        look_ahead: pace.look_ahead.max(1),
        state: Mutex::new(State {
            next_out: 0,
            started: vec![false; weights.len()],
            made: weights.iter().map(|_| None).collect(),
            failure: None,
        }),
        changed: Condvar::new(),
        stop: Stop::default(),
    };
    thread::scope(|scope| {
        // Whatever ends this closure, a panic of `hand_out` too, must not leave workers waiting: the scope joins them.
        let _stop = StopOnDrop(&shared);
        for _ in 0..pace.jobs.clamp(1, weights.len().max(1)) {
            thread::Builder::new()
                .spawn_scoped(scope, || shared.work(make))
                .map_err(LayoutError::Thread)?;
        }
        shared.hand_out_all(hand_out)
    })
}

impl<T> Shared<'_, T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State<T>>) -> MutexGuard<'s, State<T>> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        // Under the lock, so that nobody can be between looking at the flag and waiting.
        let _state = self.lock();
        self.stop.0.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn work(&self, make: &(dyn Fn(usize, &Stop) -> Result<T, LayoutError> + Sync)) {
        while let Some(idx) = self.take() {
            // A panic of `make` ends this thread; the scope passes it on once the others have stopped.
            let stop_on_panic = StopOnDrop(self);
            let result = make(idx, &self.stop);
            match result {
                Ok(thing) => {
                    std::mem::forget(stop_on_panic);
                    self.lock().made[idx] = Some(thing);
                    self.changed.notify_all();
                }
                Err(error) => {
                    // What fails after the first failure fails because of it.
                    if !self.stop.is_set() {
                        self.lock().failure.get_or_insert(error);
                    }
                    return;
                }
            }
        }
    }

    /// The next thing to make; none when all are taken or the work has failed.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if self.stop.is_set() || state.started.iter().all(|started| *started) {
                return None;
            }
            let end = self
                .weights
                .len()
                .min(state.next_out.saturating_add(self.look_ahead));
            let heaviest = (state.next_out..end)
                .filter(|idx| !state.started[*idx])
                .max_by_key(|idx| (self.weights[*idx], std::cmp::Reverse(*idx)));
            if let Some(idx) = heaviest {
                state.started[idx] = true;
                return Some(idx);
            }
            state = self.wait(state);
        }
    }

    fn hand_out_all(
        &self,
        mut hand_out: impl FnMut(usize, T) -> Result<(), LayoutError>,
    ) -> Result<(), LayoutError> {
        for idx in 0..self.weights.len() {
            let thing = {
                let mut state = self.lock();
                loop {
                    if let Some(error) = state.failure.take() {
                        return Err(error);
                    }
                    if let Some(thing) = state.made[idx].take() {
                        break thing;
                    }
                    if self.stop.is_set() {
                        // A worker has panicked; leaving the scope passes the panic on.
                        return Ok(());
                    }
                    state = self.wait(state);
                }
            };
            hand_out(idx, thing)?;
            self.lock().next_out = idx + 1;
            self.changed.notify_all();
        }
        Ok(())
    }
}

struct StopOnDrop<'a, 'b, T>(&'a Shared<'b, T>);

impl<T> Drop for StopOnDrop<'_, '_, T> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::atomic::AtomicUsize;

    fn pace(jobs: usize, look_ahead: usize) -> Pace {
        Pace { jobs, look_ahead }
    }

    #[test]
    fn everything_comes_out_once_and_in_order() {
        for (jobs, look_ahead) in [(0, 0), (1, 1), (3, 2), (8, 100)] {
            let weights: Vec<u64> = (0..50).map(|idx| idx * 37 % 11).collect();
            let mut out = Vec::new();
            make_in_order(
                &weights,
                pace(jobs, look_ahead),
                &|idx, _| Ok(idx * 2),
                |idx, thing| {
                    out.push((idx, thing));
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(out, (0..50).map(|idx| (idx, idx * 2)).collect::<Vec<_>>());
        }
        make_in_order(&[], pace(4, 4), &|_, _| Ok(()), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn nothing_is_made_further_ahead_than_told() {
        const LOOK_AHEAD: usize = 3;
        let handed_out = AtomicUsize::new(0);
        let make = |idx: usize, _: &Stop| {
            assert!(idx < handed_out.load(Ordering::SeqCst) + LOOK_AHEAD);
            Ok(())
        };
        let weights: Vec<u64> = (0..200).collect();
        make_in_order(&weights, pace(4, LOOK_AHEAD), &make, |idx, ()| {
            handed_out.store(idx + 1, Ordering::SeqCst);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn the_heaviest_of_those_in_reach_comes_first() {
        let order = Mutex::new(Vec::new());
        let make = |idx: usize, _: &Stop| {
            order.lock().unwrap().push(idx);
            Ok(())
        };
        // The first is the lightest, so that nothing is handed out before all five are made.
        make_in_order(&[0, 5, 9, 5, 7, 100], pace(1, 5), &make, |_, ()| Ok(())).unwrap();
        assert_eq!(order.into_inner().unwrap(), [2, 4, 1, 3, 0, 5]);
    }

    #[test]
    fn an_error_of_the_receiver_stops_the_makers() {
        let n_made = AtomicUsize::new(0);
        let make = |_: usize, _: &Stop| {
            n_made.fetch_add(1, Ordering::SeqCst);
            Ok(())
        };
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let result = make_in_order(&[1; 1000], pace(2, 4), &make, |_, ()| {
            Err(LayoutError::Output(full()))
        });
        assert!(matches!(result, Err(LayoutError::Output(_))));
        assert!(n_made.into_inner() <= 4);
    }
}
