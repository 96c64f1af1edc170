//! How fast something grows.

use std::collections::VecDeque;
use std::time::Duration;

/// The time that a rate is taken over: long enough to be read, short enough to show a stall.
const WINDOW: Duration = Duration::from_secs(4);

/// Remembers the last few seconds of a number that grows.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// At this time it was this much.
    pub(crate) fn sample(&mut self, now: Duration, total_bytes: u64) {
        // What was begun anew counts from there.
        if self
            .samples
            .back()
            .is_some_and(|(_, last)| *last > total_bytes)
        {
            self.samples.clear();
        }
        self.samples.push_back((now, total_bytes));
        while self.samples.len() > 2
            && self
                .samples
                .get(1)
                .is_some_and(|(time, _)| *time + WINDOW <= now)
        {
            self.samples.pop_front();
        }
    }

    /// How much more it is every second; none where there is nothing to compare.
    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        let millis = last.0.checked_sub(first.0)?.as_millis();
        let grown = u128::from(last.1 - first.1) * 1000;
        u64::try_from(grown.checked_div(millis)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.bytes_per_second(), None);
        meter.sample(Duration::ZERO, 0);
        assert_eq!(meter.bytes_per_second(), None);
        for second in 1..=10 {
            meter.sample(Duration::from_secs(second), second * 100);
        }
        assert_eq!(meter.bytes_per_second(), Some(100));
        for second in 11..=20 {
            meter.sample(Duration::from_secs(second), 1000);
        }
        assert_eq!(meter.bytes_per_second(), Some(0), "a stall shows");
        meter.sample(Duration::from_secs(21), 5);
        assert_eq!(meter.bytes_per_second(), None, "begun anew");
    }
}
