//! Bodies on their way out: who hears how far they are, and when they stand still.

use crate::client::Shared;
use bytes::Bytes;
use futures_util::Stream;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// Where the numbers of bytes go that the network has taken.
pub(crate) type SentBytes = UnboundedSender<u64>;

/// Tells how far a blob is, over all tries to send it: bytes that are sent again are not told again.
#[derive(Debug)]
pub(crate) struct Meter {
    sent: SentBytes,
    told_bytes: AtomicU64,
}

impl Meter {
    /// Starts where `told_bytes` were told already.
    pub(crate) fn new(sent: &SentBytes, told_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            sent: sent.clone(),
            told_bytes: AtomicU64::new(told_bytes),
        })
    }

    /// How many bytes were told so far.
    pub(crate) fn told_bytes(&self) -> u64 {
        self.told_bytes.load(Ordering::Relaxed)
    }

    /// All bytes of the blob before `end` went out.
    fn reached(&self, end: u64) {
        let told = self.told_bytes.fetch_max(end, Ordering::Relaxed);
        if end > told {
            // Nobody listens any more when the push has ended.
            let _ = self.sent.send(end - told);
        }
    }
}

/// What a body waits for.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    /// That the network takes more, since then.
    Network(Instant),
    /// That more of it is made. That may take as long as it takes.
    Maker,
    /// That the registry answers: all of it has gone out, then.
    Answer(Instant),
}

/// What a body and the request that it belongs to know of each other.
#[derive(Debug)]
pub(crate) struct Progress(Mutex<Waiting>);

impl Progress {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Waiting::Network(Instant::now()))))
    }

    /// For a request without a body.
    pub(crate) fn gone() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Waiting::Answer(Instant::now()))))
    }

    fn set(&self, waiting: Waiting) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
    }

    fn get(&self) -> Waiting {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once all of the body is with the network.
    pub(crate) fn has_gone(&self) -> bool {
        matches!(self.get(), Waiting::Answer(_))
    }

    /// Ends when the body has stood still for `stall`, or the answer has not come for `answer`; says for how long.
    pub(crate) async fn expired(&self, answer: Duration, stall: Duration) -> Duration {
        loop {
            let (since, limit) = match self.get() {
                Waiting::Network(since) => (since, stall),
                Waiting::Maker => (Instant::now(), stall),
                Waiting::Answer(since) => (since, answer),
            };
            if since.elapsed() >= limit {
                return limit;
            }
            tokio::time::sleep_until((since + limit).into()).await;
        }
    }
}

/// A body that tells how far it is.
pub(crate) struct Outgoing<S> {
    segments: S,
    /// Where in the blob its next byte stands.
    position: u64,
    meter: Option<Arc<Meter>>,
    progress: Arc<Progress>,
    shared: Arc<Shared>,
}

impl<S> Outgoing<S> {
    pub(crate) fn new(
        segments: S,
        position: u64,
        meter: Option<Arc<Meter>>,
        progress: &Arc<Progress>,
        shared: &Arc<Shared>,
    ) -> Self {
        Self {
            segments,
            position,
            meter,
            progress: Arc::clone(progress),
            shared: Arc::clone(shared),
        }
    }
}

impl<S: Stream<Item = io::Result<Bytes>> + Unpin> Stream for Outgoing<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = Pin::new(&mut self.segments).poll_next(context);
        match &polled {
            Poll::Ready(Some(Ok(segment))) => {
                self.position += segment.len() as u64;
                if let Some(meter) = &self.meter {
                    meter.reached(self.position);
                }
                self.shared.counters.sent(segment.len());
                self.progress.set(Waiting::Network(Instant::now()));
            }
            Poll::Ready(_) => self.progress.set(Waiting::Answer(Instant::now())),
            Poll::Pending => self.progress.set(Waiting::Maker),
        }
        polled
    }
}

impl<S> Drop for Outgoing<S> {
    fn drop(&mut self) {
        // A body of known length is dropped as soon as that is reached.
        if !self.progress.has_gone() {
            self.progress.set(Waiting::Answer(Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use tokio::sync::mpsc;

    #[test]
    fn what_is_sent_again_is_not_told_again() {
        let (sent, mut told) = mpsc::unbounded_channel();
        let meter = Meter::new(&sent, 10);
        for end in [5, 12, 7, 12, 20] {
            meter.reached(end);
        }
        let all: Vec<u64> = std::iter::from_fn(|| told.try_recv().ok()).collect();
        assert_eq!(all, [2, 8]);
    }

    #[tokio::test]
    async fn a_body_that_is_still_made_does_not_stand_still() {
        let short = Duration::from_millis(5);
        let long = Duration::from_hours(1);
        let progress = Progress::new();
        assert_eq!(progress.expired(long, short).await, short);
        progress.set(Waiting::Answer(Instant::now()));
        assert!(progress.has_gone());
        assert_eq!(progress.expired(short, long).await, short);
        progress.set(Waiting::Maker);
        let expired = progress.expired(short, short);
        let limit = tokio::time::timeout(20 * short, expired);
        assert!(limit.await.is_err());
        progress.set(Waiting::Network(Instant::now()));
        assert!(progress.expired(short, long).now_or_never().is_none());
    }
}
