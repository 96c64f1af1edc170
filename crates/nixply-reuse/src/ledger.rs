//! Identities: paths and layers as numbers, with their bytes.

use nixply_store::{Closure, PathIdx, StorePath};
use std::collections::BTreeMap;

/// Paths and layers that were seen so far. A layer is its set of paths.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    paths: BTreeMap<StorePath, usize>,
    path_bytes: Vec<u64>,
    layers: BTreeMap<Box<[usize]>, usize>,
    layer_bytes: Vec<u64>,
}

/// An image as numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    /// Layers, bottom first.
    pub(crate) layers: Vec<usize>,
    /// All paths, ascending.
    pub(crate) paths: Vec<usize>,
}

impl Ledger {
    pub(crate) fn stack(&mut self, closure: &Closure, layers: &[Vec<PathIdx>]) -> Stack {
        let numbers: Vec<usize> = closure
            .paths()
            .iter()
            .map(|info| {
                if let Some(&number) = self.paths.get(&info.path) {
                    return number;
                }
                let number = self.path_bytes.len();
                self.paths.insert(info.path.clone(), number);
                self.path_bytes.push(info.nar_size_bytes);
                number
            })
            .collect();
        let layers = layers
            .iter()
            .map(|layer| {
                let mut members: Vec<usize> =
                    layer.iter().map(|path| numbers[path.as_usize()]).collect();
                members.sort_unstable();
                let bytes = members.iter().map(|&path| self.path_bytes[path]).sum();
                let next = self.layer_bytes.len();
                let number = *self.layers.entry(members.into()).or_insert(next);
                if number == next {
                    self.layer_bytes.push(bytes);
                }
                number
            })
            .collect();
        let mut paths = numbers;
        paths.sort_unstable();
        Stack { layers, paths }
    }

    pub(crate) fn layer_bytes(&self, layer: usize) -> u64 {
        self.layer_bytes[layer]
    }

    pub(crate) fn path_bytes(&self, path: usize) -> u64 {
        self.path_bytes[path]
    }
}
