//! Paths and layers as numbers, with their bytes.

use nixply_store::{Closure, PathIdx, StorePath};
use std::collections::BTreeMap;

/// What was seen so far. A layer is its set of paths: two images share it when the sets are equal.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    numbers: BTreeMap<StorePath, usize>,
    paths: Vec<KnownPath>,
    layer_numbers: BTreeMap<Box<[usize]>, usize>,
    layers: Vec<KnownLayer>,
}

#[derive(Debug)]
struct KnownPath {
    path: StorePath,
    bytes: u64,
}

#[derive(Debug)]
struct KnownLayer {
    paths: Box<[usize]>,
    bytes: u64,
}

/// An image as numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stack {
    /// The layers, bottom first.
    pub(crate) layers: Vec<usize>,
    /// The layers, ascending.
    sorted_layers: Vec<usize>,
    /// The paths, ascending.
    pub(crate) paths: Vec<usize>,
}

impl Stack {
    pub(crate) fn has_layer(&self, layer: usize) -> bool {
        self.sorted_layers.binary_search(&layer).is_ok()
    }

    pub(crate) fn has_path(&self, path: usize) -> bool {
        self.paths.binary_search(&path).is_ok()
    }
}

impl Ledger {
    /// Numbers the paths of an image, in the order of the closure. `bytes` says what a path counts for; the first
    /// answer for a path stands.
    pub(crate) fn number_paths(
        &mut self,
        closure: &Closure,
        bytes: impl Fn(PathIdx) -> u64,
    ) -> Vec<usize> {
        let number = |idx: PathIdx| {
            let path = &closure.info(idx).path;
            if let Some(&number) = self.numbers.get(path) {
                return number;
            }
            let number = self.paths.len();
            self.numbers.insert(path.clone(), number);
            self.paths.push(KnownPath {
                path: path.clone(),
                bytes: bytes(idx),
            });
            number
        };
        closure.indices().map(number).collect()
    }

    /// Numbers the layers of an image whose paths have numbers.
    pub(crate) fn stack(&mut self, numbers: &[usize], layers: &[Vec<PathIdx>]) -> Stack {
        let layers: Vec<usize> = layers
            .iter()
            .map(|layer| self.number_layer(layer.iter().map(|path| numbers[path.as_usize()])))
            .collect();
        let sorted = |numbers: &[usize]| {
            let mut sorted = numbers.to_vec();
            sorted.sort_unstable();
            sorted
        };
        Stack {
            sorted_layers: sorted(&layers),
            layers,
            paths: sorted(numbers),
        }
    }

    fn number_layer(&mut self, paths: impl Iterator<Item = usize>) -> usize {
        let mut paths: Vec<usize> = paths.collect();
        paths.sort_unstable();
        let paths = paths.into_boxed_slice();
        if let Some(&number) = self.layer_numbers.get(&paths) {
            return number;
        }
        let number = self.layers.len();
        self.layer_numbers.insert(paths.clone(), number);
        let bytes = paths.iter().map(|&path| self.paths[path].bytes);
        self.layers.push(KnownLayer {
            bytes: bytes.fold(0, u64::saturating_add),
            paths,
        });
        number
    }

    pub(crate) fn path(&self, number: usize) -> &StorePath {
        &self.paths[number].path
    }

    pub(crate) fn path_bytes(&self, number: usize) -> u64 {
        self.paths[number].bytes
    }

    pub(crate) fn layer_paths(&self, number: usize) -> &[usize] {
        &self.layers[number].paths
    }

    pub(crate) fn layer_bytes(&self, number: usize) -> u64 {
        self.layers[number].bytes
    }

    /// The bytes of those layers of an image that are not there yet.
    pub(crate) fn missing_layers(&self, stack: &Stack, is_there: impl Fn(usize) -> bool) -> u64 {
        let missing = stack.layers.iter().filter(|&&layer| !is_there(layer));
        missing
            .map(|&layer| self.layer_bytes(layer))
            .fold(0, u64::saturating_add)
    }

    /// The bytes of those paths of an image that are not there yet: what one layer per path would move.
    pub(crate) fn missing_paths(&self, stack: &Stack, is_there: impl Fn(usize) -> bool) -> u64 {
        let missing = stack.paths.iter().filter(|&&path| !is_there(path));
        missing
            .map(|&path| self.path_bytes(path))
            .fold(0, u64::saturating_add)
    }

    /// The bytes of all layers from the first that differs from another image's.
    pub(crate) fn above_first_change(&self, before: &Stack, stack: &Stack) -> u64 {
        let pairs = before.layers.iter().zip(&stack.layers);
        let same = pairs.take_while(|(a, b)| a == b).count();
        stack.layers[same..]
            .iter()
            .map(|&layer| self.layer_bytes(layer))
            .fold(0, u64::saturating_add)
    }
}
