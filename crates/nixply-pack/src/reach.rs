//! Which nodes reach which, for all nodes at once, without a set of n bits for each.
//!
//! A node's sources (the nodes that it can be reached from, and itself) overlap with its neighbours', so their number or
//! any sum over them does not add up along edges: the set is needed. All sets at once would be n² bits. Here columns of
//! that matrix are taken in blocks: one pass gives each node its sources *in the block* as a mask. Two things make it
//! cheap on closures as they are:
//!
//! * Only nodes that the block reaches are looked at, and a block is a piece of a depth-first order, so its columns reach
//!   much the same nodes. A package depends on a few dozen others, however large the closure is.
//! * A node's mask differs little from that of the neighbour above it with the most bits. Whoever sums up works on the
//!   difference to that neighbour ([`Row::base`]).
//!
//! Cost: a step of one mask for each edge that a block reaches, at most n/896 · (n + m) of them. Memory: 128 bytes a node.

use crate::dag::Neighbours;

/// Words of 64 columns in a block: with the other fields a row is two cache lines.
const BLOCK_WORDS: usize = 14;

/// The most columns of a block.
pub(crate) const BLOCK_COLUMNS: usize = BLOCK_WORDS * 64;

/// A node's sources among the columns of the present block.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(128))]
pub(crate) struct Row {
    pub(crate) mask: [u64; BLOCK_WORDS],
    /// The bits in the mask.
    count: u32,
    /// The place of the neighbour above with the most bits, and how many.
    base: u32,
    base_count: u32,
}

impl Row {
    /// The place of the row whose mask is the greatest part of this one, where one above has any bit.
    pub(crate) fn base(&self) -> Option<usize> {
        (self.base_count > 0).then_some(self.base as usize)
    }
}

/// A graph whose nodes have *places*: each edge leads to a greater one.
#[derive(Debug)]
pub(crate) struct Reach {
    /// The node at each place.
    node_at: Vec<u32>,
    /// Edges between places.
    edges: Neighbours,
    /// By place. All empty between blocks.
    rows: Vec<Row>,
    /// A bit for each place that the block reaches and that is not done yet.
    open: Vec<u64>,
}

/// What one block reaches.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    pub(crate) rows: &'a [Row],
    /// The places with a mask that is not empty, ascending.
    pub(crate) reached: &'a [u32],
}

impl Reach {
    /// `backward` holds the edges of `forward` at their other end.
    pub(crate) fn new(forward: &Neighbours, backward: &Neighbours) -> Self {
        let node_at = depth_first(forward, backward);
        let mut place = vec![0_u32; node_at.len()];
        for (at, &node) in (0..).zip(&node_at) {
            place[node as usize] = at;
        }
        let targets = node_at.iter().map(|&node| {
            let places = forward.of(node).iter();
            places.map(|&to| place[to as usize])
        });
        Self {
            edges: Neighbours::collect(targets),
            rows: vec![Row::default(); node_at.len()],
            open: vec![0; node_at.len().div_ceil(64)],
            node_at,
        }
    }

    /// The node at each place.
    pub(crate) fn node_at(&self) -> &[u32] {
        &self.node_at
    }

    /// Finds the sources of all nodes among `columns`, block by block, and hands each block over with its columns.
    /// Columns are places, ascending.
    pub(crate) fn for_each_block(
        &mut self,
        columns: &[u32],
        mut visit: impl FnMut(&[u32], Block<'_>),
    ) {
        let mut reached = Vec::new();
        for columns in columns.chunks(BLOCK_COLUMNS) {
            self.spread(columns, &mut reached);
            let rows = &self.rows;
            visit(
                columns,
                Block {
                    rows,
                    reached: &reached,
                },
            );
            for at in reached.drain(..) {
                self.rows[at as usize] = Row::default();
            }
        }
    }

    fn spread(&mut self, columns: &[u32], reached: &mut Vec<u32>) {
        for (bit, &column) in columns.iter().enumerate() {
            self.rows[column as usize].mask[bit / 64] |= 1 << (bit % 64);
            self.open[column as usize / 64] |= 1 << (column % 64);
        }
        let mut word = columns.first().map_or(0, |&first| first as usize / 64);
        while let Some(&open) = self.open.get(word) {
            if open == 0 {
                word += 1;
                continue;
            }
            self.open[word] = open & (open - 1);
            let at = word * 64 + open.trailing_zeros() as usize;
            let row = &mut self.rows[at];
            row.count = row.mask.iter().map(|bits| bits.count_ones()).sum();
            let (mask, count) = (row.mask, row.count);
            // There are no more places than 32 bits can count.
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            reached.push(at);
            for &to in self.edges.of(at) {
                self.open[to as usize / 64] |= 1 << (to % 64);
                let below = &mut self.rows[to as usize];
                for (below, above) in below.mask.iter_mut().zip(mask) {
                    *below |= above;
                }
                if count > below.base_count {
                    below.base = at;
                    below.base_count = count;
                }
            }
        }
    }
}

/// All nodes, each behind those that lead to it, in the reverse of the order in which a walk in depth is done with them:
/// what is near in the graph is mostly near in this order.
fn depth_first(forward: &Neighbours, backward: &Neighbours) -> Vec<u32> {
    let len = forward.len();
    let mut met = vec![false; len];
    let mut done = Vec::with_capacity(len);
    // A node and how many of its neighbours were visited.
    let mut walk: Vec<(u32, usize)> = Vec::new();
    let starts = (0..).take(len).filter(|&node| backward.of(node).is_empty());
    for start in starts {
        walk.push((start, 0));
        while let Some((node, visited)) = walk.last_mut() {
            let node = *node;
            if let Some(&to) = forward.of(node).get(*visited) {
                *visited += 1;
                if !std::mem::replace(&mut met[to as usize], true) {
                    walk.push((to, 0));
                }
            } else {
                done.push(node);
                walk.pop();
            }
        }
    }
    done.reverse();
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::{Dag, Walk};
    use nixply_testkit::closures::{any_paths, closure, random_closure};
    use nixply_testkit::fitted::fitted_closure;
    use proptest::prelude::*;

    /// Checks every mask, with each third place a column.
    fn check(dag: &Dag) {
        let mut reach = Reach::new(&dag.references, &dag.users);
        let columns: Vec<u32> = dag.nodes().filter(|place| place % 3 != 1).collect();
        let node_at = reach.node_at().to_vec();
        let mut found = vec![Vec::new(); dag.len()];
        reach.for_each_block(&columns, |columns, block| {
            for &at in block.reached {
                let row = &block.rows[at as usize];
                let bits = (0..)
                    .zip(columns)
                    .filter(|(bit, _): &(usize, _)| row.mask[bit / 64] >> (bit % 64) & 1 == 1);
                let sources = bits.map(|(_, &column)| node_at[column as usize]);
                found[node_at[at as usize] as usize].extend(sources);
            }
        });
        let is_column = |node: u32| {
            node_at
                .iter()
                .position(|&at| at == node)
                .is_some_and(|at| at % 3 != 1)
        };
        let is_column: Vec<bool> = dag.nodes().map(is_column).collect();
        let mut walk = Walk::new(dag.len());
        for node in dag.nodes() {
            walk.from(&[node], &dag.users);
            let mut sources = walk.met.clone();
            sources.retain(|&source| is_column[source as usize]);
            sources.sort_unstable();
            found[node as usize].sort_unstable();
            assert_eq!(found[node as usize], sources);
        }
    }

    #[test]
    fn masks_are_what_walks_meet_over_several_blocks() {
        check(&Dag::new(&random_closure(3, 2_500, 9_000)));
        check(&Dag::new(&fitted_closure(3, 4_000, 20_000)));
    }

    proptest! {
        #[test]
        fn masks_are_what_walks_meet(paths in any_paths()) {
            check(&Dag::new(&closure(&paths)));
        }
    }
}
