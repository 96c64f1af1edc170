//! The `auto-layer` packer: nixpkgs' default since November 2024.
//!
//! Follows nixpkgs' `docker/auto-layer.py`. Every path carries a *label*, a set of large paths; paths of equal label
//! share a layer. At first all labels are empty. Then the paths become *primary* one by one, largest first:
//!
//! * A new primary's own label is itself alone.
//! * From the label of each of its dependencies, direct or not, the primaries that depend on the new one are removed;
//!   if no dependency of the new primary is left in it, the new primary is added.
//! * As soon as there are more labels than layers, the last step is undone and the labels stand.
//!
//! Equal sizes are taken in descending order of paths (the script sorts ascending, in a stable way, and takes from the
//! end). Layers go by the NAR size of their closure, ascending. Where two are equal the script leaves the order to the
//! iteration of a Python set; here the layer goes first whose first path does, by name and then hash. Inside a layer
//! paths go by name and then hash.
//!
//! A primary's own label never changes again: when a later primary has it among its dependencies, the set still holds a
//! dependency, itself. So there are at least as many labels as primaries, hence at most one more step than layers, and
//! each step is two walks over the graph.

use crate::dag::{Dag, Walk};
use crate::names::name_ranks;
use nixply_store::Closure;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The layers, paths in order. `available` is at least 1.
pub(crate) fn layers(closure: &Closure, dag: &Dag, available: usize) -> Vec<Vec<u32>> {
    let nar_size = |path: u32| closure.paths()[path as usize].nar_size_bytes;
    let mut largest_first: Vec<u32> = dag.nodes().collect();
    largest_first.sort_unstable_by_key(|&path| Reverse((nar_size(path), path)));

    let mut split = Split::new(dag);
    for primary in largest_first {
        let undo = split.add_primary(primary);
        if split.labels_in_use > available {
            split.undo(undo);
            break;
        }
    }

    let ranks = name_ranks(closure);
    let mut by_name: Vec<u32> = dag.nodes().collect();
    by_name.sort_unstable_by_key(|&path| ranks[path as usize]);
    let mut groups = vec![Vec::new(); split.labels.len()];
    for path in by_name {
        groups[split.label_of[path as usize]].push(path);
    }
    let mut walk = Walk::new(dag.len());
    let mut layers: Vec<(u64, Vec<u32>)> = groups
        .into_iter()
        .filter(|layer| !layer.is_empty())
        .map(|layer| {
            walk.from(&layer, &dag.references);
            // No overflow: a closure whose sizes exceed 64 bits together is refused when it is read.
            let closure_size = walk.met.iter().map(|&path| nar_size(path)).sum();
            (closure_size, layer)
        })
        .collect();
    layers.sort_unstable_by_key(|(closure_size, layer)| (*closure_size, ranks[layer[0] as usize]));
    layers.into_iter().map(|(_, layer)| layer).collect()
}

/// A set of primaries, ascending.
type Label = Vec<u32>;

/// The labels of all paths, and what changes them.
struct Split<'a> {
    dag: &'a Dag,
    /// The position in `labels` of each path's label.
    label_of: Vec<usize>,
    /// Every label that was ever in use, and how many paths have it.
    labels: Vec<(Label, usize)>,
    numbers: BTreeMap<Label, usize>,
    labels_in_use: usize,
    dependencies: Walk,
    users: Walk,
}

impl<'a> Split<'a> {
    fn new(dag: &'a Dag) -> Self {
        let len = dag.len();
        Self {
            dag,
            label_of: vec![0; len],
            labels: vec![(Label::new(), len)],
            numbers: BTreeMap::from([(Label::new(), 0)]),
            labels_in_use: 1,
            dependencies: Walk::new(len),
            users: Walk::new(len),
        }
    }

    /// Makes a path primary. Returns each changed path with the label that it had.
    fn add_primary(&mut self, primary: u32) -> Vec<(u32, usize)> {
        self.dependencies.from(&[primary], &self.dag.references);
        self.users.from(&[primary], &self.dag.users);
        let mut undo = Vec::new();
        // The new label depends on the old one alone, so it is worked out once for each.
        let mut becomes = vec![None; self.labels.len()];
        for position in 0..self.dependencies.met.len() {
            let path = self.dependencies.met[position];
            let old = self.label_of[path as usize];
            let new = if path == primary {
                self.number(vec![primary])
            } else if let Some(new) = becomes[old] {
                new
            } else {
                let new = self.relabelled(old, primary);
                *becomes[old].insert(self.number(new))
            };
            if new != old {
                undo.push((path, old));
                self.set_label(path, new);
            }
        }
        undo
    }

    /// The label that a dependency of a new primary gets in place of its old one.
    fn relabelled(&self, old: usize, primary: u32) -> Label {
        // Both walks start with the new primary itself, which is in no label yet.
        let mut label: Label = self.labels[old].0.clone();
        label.retain(|&other| !self.users.has_met(other));
        if !label.iter().any(|&other| self.dependencies.has_met(other)) {
            let at = label.partition_point(|&other| other < primary);
            label.insert(at, primary);
        }
        label
    }

    /// The position of a label in `labels`, where it is put if it is new.
    fn number(&mut self, label: Label) -> usize {
        let next = self.labels.len();
        *self.numbers.entry(label).or_insert_with_key(|label| {
            self.labels.push((label.clone(), 0));
            next
        })
    }

    fn set_label(&mut self, path: u32, new: usize) {
        let old = std::mem::replace(&mut self.label_of[path as usize], new);
        self.labels[old].1 -= 1;
        if self.labels[old].1 == 0 {
            self.labels_in_use -= 1;
        }
        if self.labels[new].1 == 0 {
            self.labels_in_use += 1;
        }
        self.labels[new].1 += 1;
    }

    fn undo(&mut self, changes: Vec<(u32, usize)>) {
        for (path, old) in changes {
            self.set_label(path, old);
        }
    }
}
