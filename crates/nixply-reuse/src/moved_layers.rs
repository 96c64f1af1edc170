//! Which layers an update moved, and what travelled in them although it was there.

use crate::figures::Moved;
use crate::ledger::{Ledger, Stack};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// So many rows stand alone in a report; the rest is one.
const ROWS: usize = 24;

/// The layers of one name in the updates of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedLayers {
    /// The package of the layer's largest path, without its version; none for all layers that have no row.
    pub name: Option<String>,
    /// The most paths of such a layer.
    pub paths: usize,
    /// What they moved at each pin, summed over images; `bound_bytes` is what was new of it.
    pub pins: Vec<Moved>,
}

impl MovedLayers {
    /// What they moved in all.
    #[must_use]
    pub fn total(&self) -> Moved {
        self.pins.iter().copied().sum()
    }
}

/// Collects the layers of updates.
#[derive(Debug)]
pub(crate) struct Movements {
    pins: usize,
    by_name: BTreeMap<String, MovedLayers>,
}

impl Movements {
    pub(crate) fn new(pins: usize) -> Self {
        Self {
            pins,
            by_name: BTreeMap::new(),
        }
    }

    /// Notes what a host with the version before pulls.
    pub(crate) fn add(&mut self, pin: usize, ledger: &Ledger, before: &Stack, stack: &Stack) {
        for &layer in stack
            .layers
            .iter()
            .filter(|&&layer| !before.has_layer(layer))
        {
            let paths = ledger.layer_paths(layer);
            let largest = paths.iter().copied().max_by_key(|&path| {
                let path_name = ledger.path(path).name();
                (ledger.path_bytes(path), Reverse(path_name))
            });
            let Some(largest) = largest else { continue };
            let (name, _) = ledger.path(largest).package_and_version();
            let row = self
                .by_name
                .entry(name.to_owned())
                .or_insert_with(|| MovedLayers {
                    name: Some(name.to_owned()),
                    paths: 0,
                    pins: vec![Moved::default(); self.pins],
                });
            row.paths = row.paths.max(paths.len());
            let new = paths.iter().filter(|&&path| !before.has_path(path));
            row.pins[pin] += Moved {
                bytes: ledger.layer_bytes(layer),
                bound_bytes: new
                    .map(|&path| ledger.path_bytes(path))
                    .fold(0, u64::saturating_add),
            };
        }
    }

    /// The rows that moved most, first those with most bytes that were there already.
    pub(crate) fn finish(self) -> Vec<MovedLayers> {
        let mut rows: Vec<MovedLayers> = self.by_name.into_values().collect();
        rows.sort_by_key(|row| {
            let total = row.total();
            Reverse((total.extra_bytes(), total.bytes))
        });
        let rest = rows.split_off(rows.len().min(ROWS));
        if !rest.is_empty() {
            let pins = (0..self.pins).map(|pin| rest.iter().map(|row| row.pins[pin]).sum());
            rows.push(MovedLayers {
                name: None,
                paths: rest.iter().map(|row| row.paths).max().unwrap_or(0),
                pins: pins.collect(),
            });
        }
        rows
    }
}
