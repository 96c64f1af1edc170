//! The reference graph in the form that the packers walk: flat neighbour lists both ways.

use nixply_store::Closure;

/// Neighbours of every node, one list behind the other.
#[derive(Debug, Clone)]
pub(crate) struct Neighbours {
    starts: Vec<usize>,
    targets: Vec<u32>,
}

impl Neighbours {
    /// The lists of all nodes, in order.
    pub(crate) fn collect<L: IntoIterator<Item = u32>>(lists: impl Iterator<Item = L>) -> Self {
        let mut starts = vec![0];
        let mut targets = Vec::new();
        for list in lists {
            targets.extend(list);
            starts.push(targets.len());
        }
        Self { starts, targets }
    }

    /// The number of nodes.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The neighbours of a node, ascending.
    pub(crate) fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.starts[node]..self.starts[node + 1]]
    }

    /// The same edges, listed at their other end.
    pub(crate) fn transposed(&self) -> Self {
        let mut counts = vec![0; self.len()];
        for &to in &self.targets {
            counts[to as usize] += 1;
        }
        transposed(self, &counts)
    }
}

/// A closure's paths as numbers (their [`PathIdx`](nixply_store::PathIdx)) with who refers to whom.
#[derive(Debug)]
pub(crate) struct Dag {
    /// Every path, each behind all its users.
    pub(crate) users_first: Vec<u32>,
    /// What a path refers to.
    pub(crate) references: Neighbours,
    /// What refers to a path.
    pub(crate) users: Neighbours,
}

impl Dag {
    pub(crate) fn new(closure: &Closure) -> Self {
        let mut starts = vec![0];
        let mut targets = Vec::with_capacity(closure.reference_count());
        for path in closure.indices() {
            for reference in closure.references(path) {
                targets.push(reference.0);
            }
            starts.push(targets.len());
        }
        let references = Neighbours { starts, targets };
        let users = references.transposed();
        let references_first = closure.topological_order().into_iter();
        Self {
            users_first: references_first.rev().map(|path| path.0).collect(),
            references,
            users,
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = u32> + use<> {
        (0..).take(self.len())
    }

    pub(crate) fn len(&self) -> usize {
        self.users_first.len()
    }
}

/// The same edges, listed at their other end.
fn transposed(edges: &Neighbours, counts: &[usize]) -> Neighbours {
    let mut starts = Vec::with_capacity(counts.len() + 1);
    let mut sum = 0;
    starts.push(0);
    for count in counts {
        sum += count;
        starts.push(sum);
    }
    let mut next = starts.clone();
    let mut targets = vec![0; sum];
    for (from, bounds) in (0_u32..).zip(edges.starts.windows(2)) {
        for &to in &edges.targets[bounds[0]..bounds[1]] {
            targets[next[to as usize]] = from;
            next[to as usize] += 1;
        }
    }
    Neighbours { starts, targets }
}

/// Walks from nodes along edges and remembers what it met; used again and again without clearing.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The number of the walk that last met a node.
    met_in: Vec<u32>,
    current: u32,
    /// What the last walk met, its starts among them.
    pub(crate) met: Vec<u32>,
}

impl Walk {
    pub(crate) fn new(len: usize) -> Self {
        Self {
            met_in: vec![0; len],
            current: 0,
            met: Vec::new(),
        }
    }

    /// Meets everything that can be reached from `starts`, and the starts.
    pub(crate) fn from(&mut self, starts: &[u32], edges: &Neighbours) {
        self.current += 1;
        self.met.clear();
        for &start in starts {
            self.meet(start);
        }
        let mut next = 0;
        while let Some(&node) = self.met.get(next) {
            next += 1;
            for &neighbour in edges.of(node) {
                self.meet(neighbour);
            }
        }
    }

    fn meet(&mut self, node: u32) {
        let met_in = &mut self.met_in[node as usize];
        if *met_in != self.current {
            *met_in = self.current;
            self.met.push(node);
        }
    }

    /// Whether the last walk met a node.
    pub(crate) fn has_met(&self, node: u32) -> bool {
        self.met_in[node as usize] == self.current
    }
}
