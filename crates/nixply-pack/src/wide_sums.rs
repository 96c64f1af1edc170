//! Sums of large numbers over the sources of every node ([`Reach`]).
//!
//! Numbers that count ways through a graph are exponential in its depth, but in a closure few or none of them need more
//! than 64 bits. So nodes are split: as many of the least values as fit into 64 bits together belong to *narrow* nodes,
//! the others to *wide* ones. A value is at least as great as each value above it in the graph, so all sources of a
//! narrow node are narrow, and its sum is one word. Sums of wide values are taken apart from the others, at full width.
//!
//! Within a block of columns a node's part of the sum is that of its base plus what its mask has more, added up one by
//! one, or where there is much of it eight at a time from tables of all sets of eight columns.

use crate::reach::{Block, Reach};
use num_bigint::BigUint;
use std::cmp::Ordering;

/// One table entry for each set of members of one byte of a mask.
const BYTE_SETS: usize = 256;

/// Up to so many bits of a mask's word are added one by one.
const FEW_BITS: u32 = 8;

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

    fn of_mut(&mut self, node: u32) -> &mut [u64] {
        let start = node as usize * self.digits;
        &mut self.values[start..start + self.digits]
    }

    /// Orders two nodes by their numbers.
    pub(crate) fn compare(&self, a: u32, b: u32) -> Ordering {
        self.of(a).iter().rev().cmp(self.of(b).iter().rev())
    }
}

/// For each node the sum of `values` over its sources. A value is at least as great as that of each source.
pub(crate) fn sums_over_sources(reach: &mut Reach, values: &[BigUint]) -> WideNumbers {
    let narrow_max = narrow_max(values);
    let is_narrow = |node: u32| values[node as usize] <= narrow_max;
    let len = u32::try_from(reach.node_at().len()).unwrap_or(u32::MAX);
    let (narrow, wide): (Vec<u32>, Vec<u32>) =
        (0..len).partition(|&at| is_narrow(reach.node_at()[at as usize]));
    // No sum exceeds the sum over all nodes, so its width is enough for each of them.
    let digits = if wide.is_empty() {
        1
    } else {
        let total: BigUint = values.iter().sum();
        total.to_u64_digits().len()
    };
    let mut sums = WideNumbers::zeros(digits, values.len());
    add_sums(reach, &narrow, 1, values, &mut sums);
    add_sums(reach, &wide, digits, values, &mut sums);
    sums
}

/// The greatest value such that all values up to it add up in 64 bits; 0 where there is none.
fn narrow_max(values: &[BigUint]) -> BigUint {
    let mut ascending: Vec<u64> = values
        .iter()
        .filter_map(|value| u64::try_from(value).ok())
        .collect();
    ascending.sort_unstable();
    let mut sum: u64 = 0;
    let mut max = 0;
    for equal in ascending.chunk_by(|a, b| a == b) {
        let added = (equal[0].checked_mul(equal.len() as u64)).and_then(|all| sum.checked_add(all));
        match added {
            Some(added) => (sum, max) = (added, equal[0]),
            None => break,
        }
    }
    BigUint::from(max)
}

/// Adds to each node's sum the values of its sources among `columns`, whose sums have at most `digits` digits.
fn add_sums(
    reach: &mut Reach,
    columns: &[u32],
    digits: usize,
    values: &[BigUint],
    sums: &mut WideNumbers,
) {
    let node_at = reach.node_at().to_vec();
    let node_of = |at: u32| node_at[at as usize];
    // By place; what is left over from an earlier block is not read.
    let mut parts = WideNumbers::zeros(digits, node_at.len());
    reach.for_each_block(columns, |columns, block| {
        let mut of_columns = WideNumbers::zeros(digits, columns.len());
        for (number, &column) in (0..).zip(columns) {
            let digits = values[node_of(column) as usize].iter_u64_digits();
            for (to, digit) in of_columns.of_mut(number).iter_mut().zip(digits) {
                *to = digit;
            }
        }
        let tables = ByteTables::new(of_columns);
        for &at in block.reached {
            let part = part(&block, at, &tables, &mut parts);
            add(sums.of_mut(node_of(at)), part);
        }
    });
}

/// Works out the part that a block adds to the sum of one of the places that it reaches; those above are done.
fn part<'p>(
    block: &Block<'_>,
    at: u32,
    tables: &ByteTables,
    parts: &'p mut WideNumbers,
) -> &'p [u64] {
    let row = &block.rows[at as usize];
    let mut more = row.mask;
    let digits = parts.digits;
    let start = at as usize * digits;
    match row.base() {
        Some(base) => {
            for (bits, of_base) in more.iter_mut().zip(block.rows[base].mask) {
                *bits &= !of_base;
            }
            let base = base * digits;
            parts.values.copy_within(base..base + digits, start);
        }
        None => parts.values[start..start + digits].fill(0),
    }
    let part = &mut parts.values[start..start + digits];
    for (word, bits) in more.into_iter().enumerate() {
        if bits != 0 {
            tables.add_members(part, word, bits);
        }
    }
    part
}

/// Sums of columns, ready for all sets of columns that share a byte of a mask.
struct ByteTables {
    columns: WideNumbers,
    /// For each byte of a mask and each set of its eight columns, the sum of their values.
    sums: Vec<u64>,
}

impl ByteTables {
    fn new(columns: WideNumbers) -> Self {
        let digits = columns.digits;
        let mut sums = vec![0; (columns.values.len() / digits).div_ceil(8) * BYTE_SETS * digits];
        let tables = sums.chunks_exact_mut(BYTE_SETS * digits);
        for (table, members) in tables.zip(columns.values.chunks(8 * digits)) {
            for set in 1..1_usize << (members.len() / digits) {
                let least = set.trailing_zeros() as usize * digits;
                let (smaller, from_set) = table.split_at_mut(set * digits);
                let sum = &mut from_set[..digits];
                sum.copy_from_slice(&smaller[(set & (set - 1)) * digits..][..digits]);
                add(sum, &members[least..least + digits]);
            }
        }
        Self { columns, sums }
    }

    /// Adds the values of the columns whose bits are set in a word of a mask.
    fn add_members(&self, sum: &mut [u64], word: usize, mut bits: u64) {
        if bits.count_ones() <= FEW_BITS {
            while bits != 0 {
                let column = (word * 64 + bits.trailing_zeros() as usize) * sum.len();
                add(sum, &self.columns.values[column..column + sum.len()]);
                bits &= bits - 1;
            }
            return;
        }
        for (byte, set) in bits.to_le_bytes().into_iter().enumerate() {
            if set != 0 {
                let entry = ((word * 8 + byte) * BYTE_SETS + usize::from(set)) * sum.len();
                add(sum, &self.sums[entry..entry + sum.len()]);
            }
        }
    }
}

/// Adds `value` to `sum`, which is wide enough for the result.
fn add(sum: &mut [u64], value: &[u64]) {
    if let ([sum], [value]) = (&mut *sum, value) {
        *sum = sum.wrapping_add(*value);
        return;
    }
    let mut carry = false;
    let padded = value.iter().copied().chain(std::iter::repeat(0));
    for (digit, value) in sum.iter_mut().zip(padded) {
        let (partial, over) = digit.overflowing_add(value);
        let (full, over_again) = partial.overflowing_add(u64::from(carry));
        *digit = full;
        carry = over || over_again;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::{Dag, Walk};
    use nixply_testkit::closures::random_closure;

    /// Values on both sides of what fits into 64 bits together, over several blocks.
    #[test]
    fn narrow_and_wide_sums_are_those_of_walks() {
        let dag = Dag::new(&random_closure(5, 2_000, 8_000));
        let mut values = vec![BigUint::ZERO; dag.len()];
        for (n, &node) in (0_u32..).zip(&dag.users_first) {
            values[node as usize] = BigUint::from(3_u32).pow(n / 16) + n;
        }
        let mut reach = Reach::new(&dag.references, &dag.users);
        let sums = sums_over_sources(&mut reach, &values);
        assert!(narrow_max(&values) > BigUint::ZERO);
        let mut walk = Walk::new(dag.len());
        for node in dag.nodes() {
            walk.from(&[node], &dag.users);
            let sum: BigUint = walk
                .met
                .iter()
                .map(|&source| &values[source as usize])
                .sum();
            let mut digits = sum.to_u64_digits();
            digits.resize(sums.digits, 0);
            assert_eq!(sums.of(node), digits, "{node}");
        }
    }

    #[test]
    fn narrow_values_add_up_in_64_bits() {
        let max = |values: &[u64]| {
            let values: Vec<BigUint> = values.iter().copied().map(BigUint::from).collect();
            narrow_max(&values)
        };
        assert_eq!(max(&[3, 1, 2]), BigUint::from(3_u32));
        assert_eq!(max(&[1, u64::MAX - 1]), BigUint::from(u64::MAX - 1));
        assert_eq!(max(&[2, u64::MAX - 1]), BigUint::from(2_u32));
        // Of equal values all are narrow or none.
        assert_eq!(
            max(&[1, u64::MAX / 2, u64::MAX / 2, u64::MAX / 2]),
            BigUint::from(1_u32)
        );
        assert_eq!(max(&[u64::MAX, u64::MAX]), BigUint::ZERO);
        assert_eq!(
            narrow_max(&[BigUint::from(u64::MAX) + 1_u32]),
            BigUint::ZERO
        );
    }
}
