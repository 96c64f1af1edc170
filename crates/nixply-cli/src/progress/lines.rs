//! Progress without a terminal: a line for each layer that was made, and one for all others of a kind.

use crate::text;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Counts layers and remembers when each was begun.
#[derive(Debug)]
pub(crate) struct Lines {
    n_layers: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A layer may be done twice: a registry may have lost what it said it had.
    done: BTreeSet<usize>,
    begun: BTreeMap<usize, Instant>,
    /// Layers of which nothing had to be made: what became of each, and its size.
    spared: BTreeMap<usize, (&'static str, u64)>,
}

impl Lines {
    /// Nothing is done yet.
    pub(crate) fn new(n_layers: usize) -> Self {
        Self {
            n_layers,
            state: Mutex::default(),
        }
    }

    /// A layer is being made.
    pub(crate) fn started(&self, layer_idx: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begun.entry(layer_idx).or_insert_with(Instant::now);
    }

    /// A layer was made and is where it has to be.
    pub(crate) fn done(&self, layer_idx: usize, what: &str, title: &str, size_bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.insert(layer_idx);
        state.spared.remove(&layer_idx);
        let time = match state.begun.remove(&layer_idx) {
            Some(begun) => format!(" in {}", text::duration(begun.elapsed())),
            None => String::new(),
        };
        // Under the lock: the numbers stand in order.
        text::message(&format!(
            "{} of {} done: {what}, {}{time}: {title}\n",
            state.done.len(),
            self.n_layers,
            text::size(size_bytes)
        ));
    }

    /// A layer is where it has to be, and nothing had to be made. These are told together in the end.
    pub(crate) fn spared(&self, layer_idx: usize, what: &'static str, size_bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.insert(layer_idx);
        state.spared.insert(layer_idx, (what, size_bytes));
    }

    /// Tells of the layers of which nothing had to be made.
    pub(crate) fn finish(&self) {
        for line in self.summary() {
            text::message(&line);
        }
    }

    fn summary(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kinds: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for (what, size_bytes) in state.spared.values() {
            let (count, total_bytes) = kinds.entry(what).or_default();
            *count += 1;
            *total_bytes = total_bytes.saturating_add(*size_bytes);
        }
        let line = |(what, (count, total_bytes))| {
            let (n_layers, total) = (self.n_layers, text::size(total_bytes));
            format!("{count} of {n_layers} {what}, {total}\n")
        };
        kinds.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_made_is_summed_up() {
        let lines = Lines::new(5);
        lines.spared(0, "mounted", 1024);
        lines.spared(1, "already there", 1);
        lines.spared(3, "mounted", 2048);
        lines.spared(4, "already there", 2);
        // The registry had lost it.
        lines.done(4, "sent", "app", 2);
        assert_eq!(
            lines.summary(),
            ["1 of 5 already there, 1 B\n", "2 of 5 mounted, 3.0 KiB\n"]
        );
        assert_eq!(Lines::new(3).summary(), Vec::<String>::new());
    }
}
