//! Progress without a terminal: a line for each layer that is done.

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

    /// A layer is where it has to be.
    pub(crate) fn done(&self, layer_idx: usize, what: &str, title: &str, size_bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.insert(layer_idx);
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
}
