//! Sums of large numbers over the ancestors of every node.
//!
//! Ancestor sets overlap, so their sums do not add up along edges: a node needs the set, not its users' sums. Sets of
//! all nodes at once would be n² bits. Instead ancestors are taken in blocks of 256: one pass down the graph gives each
//! node the members of the block above it as a mask, and tables of partial sums turn a mask into a sum eight members at
//! a time. Cost: (n / 256)·(n + m) steps over masks and n² / 16 additions at most; nodes with an empty mask cost
//! nothing. Memory: n masks and n sums.

use crate::dag::Dag;
use num_bigint::BigUint;
use std::cmp::Ordering;

/// Words of 64 members in a block: a node's mask is half a cache line.
const BLOCK_WORDS: usize = 4;
const BLOCK_MEMBERS: usize = BLOCK_WORDS * 64;
/// One table entry for each set of members of one byte of a mask.
const BYTE_SETS: usize = 256;

/// Non-negative numbers of one width, one per node.
#[derive(Debug)]
pub(crate) struct WideNumbers {
    /// 64-bit digits per number.
    digits: usize,
    /// Least digit first.
    values: Vec<u64>,
}

impl WideNumbers {
    fn zeros(digits: usize, len: usize) -> Self {
        Self {
            digits,
            values: vec![0; digits * len],
        }
    }

    fn of(&self, node: u32) -> &[u64] {
        let start = node as usize * self.digits;
        &self.values[start..start + self.digits]
    }

    /// Orders two nodes by their numbers.
    pub(crate) fn compare(&self, a: u32, b: u32) -> Ordering {
        self.of(a).iter().rev().cmp(self.of(b).iter().rev())
    }
}

/// For each node the sum of `values` over itself and every node from which it can be reached.
pub(crate) fn sums_over_ancestors(dag: &Dag, values: &[BigUint]) -> WideNumbers {
    let users_first = &dag.users_first;
    // No sum exceeds the sum over all nodes, so its width is enough for each of them.
    let total: BigUint = values.iter().sum();
    let digits = total.to_u64_digits().len().max(1);
    let mut sums = WideNumbers::zeros(digits, dag.len());

    let mut place = vec![0; dag.len()];
    for (position, &node) in users_first.iter().enumerate() {
        place[node as usize] = position;
    }
    // Users by place in `users_first`, so that masks are read and written in one direction.
    let users: Vec<Vec<usize>> = users_first
        .iter()
        .map(|&node| {
            dag.users
                .of(node)
                .iter()
                .map(|&u| place[u as usize])
                .collect()
        })
        .collect();

    let mut masks = vec![[0_u64; BLOCK_WORDS]; users_first.len()];
    for (block, members) in users_first.chunks(BLOCK_MEMBERS).enumerate() {
        let first = block * BLOCK_MEMBERS;
        // Nothing before the block can be reached from it.
        masks[first.saturating_sub(BLOCK_MEMBERS)..first].fill([0; BLOCK_WORDS]);
        for position in first..users_first.len() {
            let mut mask = [0; BLOCK_WORDS];
            for &user in &users[position] {
                for (word, above) in mask.iter_mut().zip(masks[user]) {
                    *word |= above;
                }
            }
            let member = position - first;
            if member < BLOCK_MEMBERS {
                mask[member / 64] |= 1 << (member % 64);
            }
            masks[position] = mask;
        }
        for (word, members) in members.chunks(64).enumerate() {
            let tables = byte_tables(members, values, digits);
            for (position, &node) in users_first.iter().enumerate().skip(first) {
                let mask = masks[position][word];
                if mask != 0 {
                    let start = node as usize * digits;
                    add_members(&mut sums.values[start..start + digits], mask, &tables);
                }
            }
        }
    }
    sums
}

/// For each byte of a word of members and each set of its eight members, the sum of their values.
fn byte_tables(members: &[u32], values: &[BigUint], digits: usize) -> Vec<u64> {
    let mut tables = vec![0; members.len().div_ceil(8) * BYTE_SETS * digits];
    for (byte, members) in members.chunks(8).enumerate() {
        let table = &mut tables[byte * BYTE_SETS * digits..][..BYTE_SETS * digits];
        for set in 1..1 << members.len() {
            let least = usize::try_from(u32::trailing_zeros(set)).unwrap_or(0);
            let value = values[members[least] as usize].to_u64_digits();
            let set = set as usize;
            let (smaller, from_set) = table.split_at_mut(set * digits);
            let sum = &mut from_set[..digits];
            sum.copy_from_slice(&smaller[(set & (set - 1)) * digits..][..digits]);
            add(sum, &value);
        }
    }
    tables
}

/// Adds the values of the members in a mask.
fn add_members(sum: &mut [u64], mask: u64, tables: &[u64]) {
    let table_len = BYTE_SETS * sum.len();
    for (set, table) in mask.to_le_bytes().into_iter().zip(tables.chunks(table_len)) {
        if set != 0 {
            let entry = usize::from(set) * sum.len();
            add(sum, &table[entry..entry + sum.len()]);
        }
    }
}

/// Adds `value` to `sum`, which is wide enough for the result.
fn add(sum: &mut [u64], value: &[u64]) {
    let mut carry = false;
    let padded = value.iter().copied().chain(std::iter::repeat(0));
    for (digit, value) in sum.iter_mut().zip(padded) {
        let (partial, over) = digit.overflowing_add(value);
        let (full, over_again) = partial.overflowing_add(u64::from(carry));
        *digit = full;
        carry = over || over_again;
    }
}
