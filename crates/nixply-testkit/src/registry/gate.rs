//! What lets a body pass, for so long.

use super::message::Stopped;
use std::thread;
use std::time::Duration;

/// What happens to a connection when enough has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    Reset,
    /// An orderly end.
    Close,
}

/// Counts the bytes of a body, slows them down, and stops them.
#[derive(Debug, Default)]
pub(super) struct Gate {
    passed_bytes: u64,
    bytes_per_second: Option<u64>,
    /// After how many bytes what happens.
    limit: Option<(u64, Event)>,
    has_acted: bool,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Cut(Cut),
    /// Waits; then it is as if the gate had no limit, or a cut.
    Wait(Duration, Option<Cut>),
}

impl Gate {
    /// Lets all pass.
    pub(super) fn open() -> Self {
        Self::default()
    }

    /// Cuts the connection.
    pub(super) fn cutting(after_bytes: u64, cut: Cut) -> Self {
        Self {
            limit: Some((after_bytes, Event::Cut(cut))),
            ..Self::default()
        }
    }

    /// Waits, and then cuts the connection or lets the rest pass.
    pub(super) fn waiting(after_bytes: u64, lasting: Duration, then: Option<Cut>) -> Self {
        Self {
            limit: Some((after_bytes, Event::Wait(lasting, then))),
            ..Self::default()
        }
    }

    /// Lets so much pass a second.
    pub(super) fn slow(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: Some(bytes_per_second.max(1)),
            has_acted: true,
            ..Self::default()
        }
    }

    /// What has passed.
    pub(super) fn passed_bytes(&self) -> u64 {
        self.passed_bytes
    }

    /// Whether anything happened because of it.
    pub(super) fn has_acted(&self) -> bool {
        self.has_acted
    }

    /// How many of `n` bytes may pass at once.
    pub(super) fn admit(&self, n: usize) -> usize {
        let left = match self.limit {
            Some((after_bytes, _)) => after_bytes - self.passed_bytes,
            None => u64::MAX,
        };
        n.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    /// Tells that `n` bytes have passed.
    pub(super) fn passed(&mut self, n: usize) -> Result<(), Stopped> {
        self.passed_bytes += n as u64;
        if let Some(bytes_per_second) = self.bytes_per_second {
            let nanos = (n as u64).saturating_mul(1_000_000_000) / bytes_per_second;
            thread::sleep(Duration::from_nanos(nanos));
        }
        self.check()
    }

    /// Does what is to be done at the limit.
    pub(super) fn check(&mut self) -> Result<(), Stopped> {
        let Some((_, event)) = self
            .limit
            .take_if(|(after_bytes, _)| *after_bytes == self.passed_bytes)
        else {
            return Ok(());
        };
        self.has_acted = true;
        let cut = match event {
            Event::Cut(cut) => Some(cut),
            Event::Wait(lasting, then) => {
                thread::sleep(lasting);
                then
            }
        };
        cut.map_or(Ok(()), |cut| Err(Stopped::Cut(cut)))
    }
}
