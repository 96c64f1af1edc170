//! How many requests run at once: a number that a registry's 429 halves and its other answers raise again.
//!
//! Who waits longest goes first. The engine asks for the biggest layers first, so these also go out first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Hands out permits to send requests.
#[derive(Debug)]
pub(crate) struct Limiter {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// At least 1, at most `max`; a fraction of a request is progress towards the next one.
    allowed: f64,
    running: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    paused_until: Option<Instant>,
    last_cut: Option<Instant>,
}

/// The right to have a request under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Limiter>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.grant();
    }
}

impl Limiter {
    /// Allows `max` requests at once; 0 counts as 1.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        let max = max.max(1);
        Arc::new(Self {
            max,
            state: Mutex::new(State {
                allowed: as_float(max),
                running: 0,
                waiting: VecDeque::new(),
                paused_until: None,
                last_cut: None,
            }),
        })
    }

    /// Waits for a permit, and then for the end of a pause.
    pub(crate) async fn acquire(self: &Arc<Self>) -> Permit {
        let (sender, receiver) = oneshot::channel();
        self.lock().waiting.push_back(sender);
        self.grant();
        let permit = receiver.await.unwrap_or_else(|_| {
            // Senders leave the queue only to send. If one ever did not, one request too many is better than none.
            self.lock().running += 1;
            Permit(Arc::clone(self))
        });
        loop {
            let paused_until = self.lock().paused_until;
            match paused_until.filter(|end| *end > Instant::now()) {
                Some(end) => tokio::time::sleep_until(end.into()).await,
                None => return permit,
            }
        }
    }

    /// A request that began at `started` was answered: one more at once for every round of such answers.
    pub(crate) fn answered(self: &Arc<Self>) {
        let mut state = self.lock();
        state.allowed = (state.allowed + 1.0 / state.allowed).min(as_float(self.max));
        drop(state);
        self.grant();
    }

    /// A request that began at `started` was one too many: half as many at once, and none before the pause ends.
    ///
    /// Requests that were under way together are one event, however many of them are told so.
    pub(crate) fn throttled(&self, started: Instant, pause: Duration) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.last_cut.is_none_or(|cut| started > cut) {
            state.allowed = (state.allowed / 2.0).max(1.0);
            state.last_cut = Some(now);
        }
        let end = now + pause;
        state.paused_until = Some(state.paused_until.map_or(end, |known| known.max(end)));
    }

    /// Gives permits to those who wait, as many as are free.
    fn grant(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            if as_float(state.running + 1) > state.allowed {
                return;
            }
            let Some(next) = state.waiting.pop_front() else {
                return;
            };
            state.running += 1;
            drop(state);
            // Who does not wait any more gives its permit back by dropping it.
            drop(next.send(Permit(Arc::clone(self))));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nobody allows more requests at once than a float counts exactly"
)]
fn as_float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn try_acquire(limiter: &Arc<Limiter>) -> Option<Permit> {
        limiter.acquire().now_or_never()
    }

    #[tokio::test]
    async fn who_waits_longest_goes_first_and_who_left_is_skipped() {
        let limiter = Limiter::new(1);
        let permit = limiter.acquire().await;
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(limiter.acquire())).collect();
        for other in &mut waiting {
            assert!(other.now_or_never().is_none());
        }
        drop(waiting.remove(0));
        drop(permit);
        let second = waiting.remove(0);
        assert!((&mut waiting[0]).now_or_never().is_none(), "the third");
        let permit = second.now_or_never().unwrap();
        drop(permit);
        assert!(waiting.remove(0).now_or_never().is_some());
        assert!(try_acquire(&limiter).is_some());
    }

    #[tokio::test]
    async fn too_many_requests_halve_the_number_and_answers_raise_it() {
        let limiter = Limiter::new(8);
        let started = Instant::now();
        for _ in 0..5 {
            limiter.throttled(started, Duration::ZERO);
        }
        let held: Vec<Permit> = std::iter::from_fn(|| try_acquire(&limiter)).collect();
        assert_eq!(
            held.len(),
            4,
            "five answers to requests of one time are one event"
        );
        drop(held);
        limiter.throttled(Instant::now(), Duration::ZERO);
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(1));
            limiter.throttled(Instant::now(), Duration::ZERO);
        }
        let held: Vec<Permit> = std::iter::from_fn(|| try_acquire(&limiter)).collect();
        assert_eq!(held.len(), 1, "never none");
        drop(held);
        for _ in 0..1000 {
            limiter.answered();
        }
        let held: Vec<Permit> = std::iter::from_fn(|| try_acquire(&limiter)).collect();
        assert_eq!(held.len(), 8, "never more than at first");
    }

    #[tokio::test]
    async fn nobody_starts_in_a_pause() {
        let limiter = Limiter::new(2);
        let pause = Duration::from_millis(50);
        let started = Instant::now();
        limiter.throttled(started, pause);
        assert!(try_acquire(&limiter).is_none());
        let _permit = limiter.acquire().await;
        assert!(started.elapsed() >= pause);
    }
}
