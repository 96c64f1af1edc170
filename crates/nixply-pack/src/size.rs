//! The `size` packer: the largest paths alone, the rest together on top.

use crate::names::name_ranks;
use nixply_store::Closure;
use std::cmp::Reverse;

/// Every path, largest NAR first, ties by name and then hash.
pub(crate) fn order(closure: &Closure) -> Vec<u32> {
    let ranks = name_ranks(closure);
    let mut order: Vec<u32> = closure.indices().map(|path| path.0).collect();
    order.sort_unstable_by_key(|&path| {
        let size = closure.paths()[path as usize].nar_size_bytes;
        (Reverse(size), ranks[path as usize])
    });
    order
}
