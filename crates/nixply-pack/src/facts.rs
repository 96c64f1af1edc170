//! What the planners know of each path: an order of all paths that no store hash decides, and where a path stands in
//! the graph.

use crate::dag::Dag;
use nixply_store::Closure;
use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;

/// How often colours are refined at most. Each round reaches over all of a graph but turns round once, between users and
/// references; the plans of the recorded closures are the same with one round. Only long zigzags of equal names and
/// sizes take more, and those would make the cost a square.
const MAX_ROUNDS: usize = 32;

/// Facts about every path; index with the position of the path.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) sizes: Vec<u64>,
    /// A path's place in the order by name, then structure, then store path.
    pub(crate) ranks: Vec<u32>,
    /// How many references the longest chain of them has that starts at the path: what it needs decides, not who uses it.
    pub(crate) heights: Vec<u32>,
}

/// A stable 64-bit hash of parts that cannot run into each other: SipHash-2-4 (Aumasson, Bernstein 2012) with the zero
/// key, each text behind its length.
pub(crate) struct H64(SipHasher24);

impl H64 {
    pub(crate) fn new(domain: &str) -> Self {
        let hasher = Self(SipHasher24::new());
        hasher.text(domain)
    }

    pub(crate) fn text(self, text: &str) -> Self {
        let mut hasher = self.number(text.len() as u64);
        hasher.0.write(text.as_bytes());
        hasher
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.write(&number.to_le_bytes());
        self
    }

    pub(crate) fn numbers(self, numbers: &[u64]) -> Self {
        let mut hasher = self.number(numbers.len() as u64);
        // Each call costs as much as several numbers.
        let mut bytes = [0; 256];
        for numbers in numbers.chunks(bytes.len() / 8) {
            for (bytes, number) in bytes.chunks_exact_mut(8).zip(numbers) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            hasher.0.write(&bytes[..numbers.len() * 8]);
        }
        hasher
    }

    pub(crate) fn finish(self) -> u64 {
        self.0.finish()
    }
}

impl Facts {
    pub(crate) fn new(closure: &Closure, dag: &Dag) -> Self {
        let sizes: Vec<u64> = closure
            .paths()
            .iter()
            .map(|info| info.nar_size_bytes)
            .collect();
        Self {
            ranks: ranks(closure, dag, &sizes),
            heights: heights(dag),
            sizes,
        }
    }
}

fn heights(dag: &Dag) -> Vec<u32> {
    let mut heights = vec![0; dag.len()];
    for &path in dag.users_first.iter().rev() {
        let below = dag.references.of(path).iter();
        let tallest = below
            .map(|&reference| heights[reference as usize] + 1)
            .max();
        heights[path as usize] = tallest.unwrap_or(0);
    }
    heights
}

/// The order of all paths by (name, structure, store path).
///
/// Structure is the colour of a path under colour refinement along references and users (Weisfeiler, Leman 1968):
/// paths of one colour look the same as far as names, sizes and references reach, so that the store path decides
/// between look-alikes only, and no plan moves when hashes do.
fn ranks(closure: &Closure, dag: &Dag, sizes: &[u64]) -> Vec<u32> {
    let name = |path: u32| closure.paths()[path as usize].path.name();
    let mut colours = vec![0_u64; dag.len()];
    let mut gathered = Vec::new();
    for &path in dag.users_first.iter().rev() {
        gather(&mut gathered, dag.references.of(path), &colours);
        colours[path as usize] = H64::new("path")
            .text(name(path))
            .number(sizes[path as usize])
            .numbers(&gathered)
            .finish();
    }
    let own = colours.clone();
    // Users decide only between paths that look the same from above, so other images hardly ever disagree.
    let mut distinct = distinct_count(&colours);
    for _ in 0..MAX_ROUNDS {
        if distinct == dag.len() {
            break;
        }
        let mut refined = vec![0_u64; dag.len()];
        for &path in &dag.users_first {
            gather(&mut gathered, dag.users.of(path), &refined);
            refined[path as usize] = H64::new("users")
                .number(colours[path as usize])
                .numbers(&gathered)
                .finish();
        }
        colours.copy_from_slice(&refined);
        for &path in dag.users_first.iter().rev() {
            gather(&mut gathered, dag.references.of(path), &colours);
            colours[path as usize] = H64::new("references")
                .number(refined[path as usize])
                .numbers(&gathered)
                .finish();
        }
        let refined_count = distinct_count(&colours);
        if refined_count <= distinct {
            break;
        }
        distinct = refined_count;
    }
    let mut order: Vec<u32> = closure.by_name().into_iter().map(|path| path.0).collect();
    for same_name in order.chunk_by_mut(|&a, &b| name(a) == name(b)) {
        same_name.sort_unstable_by_key(|&path| (own[path as usize], colours[path as usize], path));
    }
    let mut ranks = vec![0; order.len()];
    for (rank, path) in (0..).zip(order) {
        ranks[path as usize] = rank;
    }
    ranks
}

fn gather(into: &mut Vec<u64>, paths: &[u32], colours: &[u64]) {
    into.clear();
    into.extend(paths.iter().map(|&path| colours[path as usize]));
    into.sort_unstable();
}

fn distinct_count(colours: &[u64]) -> usize {
    let mut sorted = colours.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.len()
}
