//! Which level suits a fleet.
//!
//! Coarse groups waste bytes when one of their paths changes; fine ones need more layers than there are, and then images
//! stop to agree. Virtual projects, unions of a few package sets each, show where the balance is: no list of real
//! projects is needed.

use super::build::Collection;
use super::{Catalog, CatalogError};
use crate::dag::Dag;
use crate::facts::{Facts, H64};
use crate::{Budget, PackOptions, Packer, layered};
use nixply_store::{Closure, PathIdx, StorePath};
use std::collections::{BTreeMap, BTreeSet};

/// How many virtual projects there are.
const PROJECTS: u64 = 32;

/// The sets that a project takes: from 4 to 12, as the projects do that the defaults were measured with.
const LEAST_SETS: u64 = 4;
const SET_COUNTS: u64 = 9;

/// Levels above put everything into a layer or two.
const HIGHEST: u32 = 12;

/// A pull of another image weighs as much as so many updates of a path.
const CROSS_WEIGHT: u128 = 4;

/// So many changing paths of a project are looked at.
const CHANGES: usize = 512;

/// Of levels whose scores are within this part of the least, the lowest is taken: virtual projects only guess what is
/// pulled after what, but what a high level puts together is pulled together for sure.
const TOLERANCE: u64 = 50;

/// The level that suits a fleet best, and how the others did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelProposal {
    /// The lowest level whose score is at most 2 % above the least.
    pub level: u32,
    /// The score of each level from 0 on: the bytes moved beyond the least possible, in 2^-20 of these, for pulls of one
    /// virtual project after another (taken four times) and for updates of a path with all that uses it.
    pub scores: Vec<u64>,
}

impl Catalog {
    /// Proposes a level for images of at most `max_layers` layers of store paths; 0 counts as 1.
    ///
    /// A level that moves from pin to pin costs more than one that is a step off, so that it is to be asked for once and
    /// then given.
    pub fn propose_level(
        closure: &Closure,
        sets: &BTreeMap<String, Vec<StorePath>>,
        max_layers: usize,
    ) -> Result<LevelProposal, CatalogError> {
        let collection = Collection::new(closure, sets)?;
        let projects = virtual_projects(closure, sets);
        let scores: Vec<u64> = (0..=HIGHEST)
            .map(|level| score(&collection.catalog(level), &projects, max_layers.max(1)))
            .collect();
        let least = scores.iter().copied().min().unwrap_or(0);
        let good_enough = least.saturating_add(least / TOLERANCE);
        let level = (0..).zip(&scores).find(|&(_, &score)| score <= good_enough);
        Ok(LevelProposal {
            level: level.map_or(0, |(level, _)| level),
            scores,
        })
    }
}

/// A project and its closure.
struct Project {
    closure: Closure,
    dag: Dag,
    /// The paths that are looked at as if they changed.
    changing: Vec<u32>,
}

fn virtual_projects(closure: &Closure, sets: &BTreeMap<String, Vec<StorePath>>) -> Vec<Project> {
    let project = |number: u64| {
        let mut names: Vec<(u64, &String)> = sets
            .keys()
            .map(|name| {
                let hash = H64::new("virtual project").number(number).text(name);
                (hash.finish(), name)
            })
            .collect();
        names.sort_unstable();
        let count = usize::try_from(LEAST_SETS + number % SET_COUNTS).unwrap_or(usize::MAX);
        let roots: Vec<StorePath> = (names.into_iter().take(count))
            .flat_map(|(_, name)| sets[name].iter().cloned())
            .collect();
        // The only failure is a union of empty sets.
        let closure = closure.restrict(&roots).ok()?;
        let dag = Dag::new(&closure);
        Some(Project {
            changing: changing(&closure, &dag),
            closure,
            dag,
        })
    };
    (0..PROJECTS).filter_map(project).collect()
}

/// Some paths of every height.
fn changing(closure: &Closure, dag: &Dag) -> Vec<u32> {
    let facts = Facts::new(closure, dag);
    let mut paths: Vec<u32> = dag.nodes().collect();
    paths.sort_unstable_by_key(|&path| (facts.heights[path as usize], facts.ranks[path as usize]));
    let stride = paths.len().div_ceil(CHANGES).max(1);
    paths.into_iter().step_by(stride).collect()
}

fn score(catalog: &Catalog, projects: &[Project], max_layers: usize) -> u64 {
    let options = PackOptions {
        catalog: Some(catalog),
        ..PackOptions::new(
            Packer::Fleet,
            Budget {
                max_layers,
                reserved_layers: 0,
            },
        )
    };
    let layers: Vec<Vec<Vec<PathIdx>>> = projects
        .iter()
        .map(|project| {
            let packing = layered::pack(&project.closure, &project.dag, &options);
            packing
                .layers
                .into_iter()
                .map(|layer| layer.paths)
                .collect()
        })
        .collect();
    let mut cross = Bytes::default();
    for (pair, layers) in projects.windows(2).zip(layers.windows(2)) {
        cross.add(pulled_after(&pair[0], &layers[0], &pair[1], &layers[1]));
    }
    let mut changes = Bytes::default();
    for (project, layers) in projects.iter().zip(&layers) {
        changes.add(pulled_on_changes(project, layers));
    }
    let score = CROSS_WEIGHT * cross.excess() + changes.excess();
    u64::try_from(score).unwrap_or(u64::MAX)
}

/// Bytes that move, and the least that could.
#[derive(Default, Clone, Copy)]
struct Bytes {
    moved: u128,
    least: u128,
}

impl Bytes {
    fn add(&mut self, other: Self) {
        self.moved += other.moved;
        self.least += other.least;
    }

    /// What moves beyond the least, in 2^-20 of it.
    fn excess(self) -> u128 {
        ((self.moved - self.least) << 20) / self.least.max(1)
    }
}

/// The pull of one project where another one is already.
fn pulled_after(
    before: &Project,
    before_layers: &[Vec<PathIdx>],
    after: &Project,
    after_layers: &[Vec<PathIdx>],
) -> Bytes {
    let path = |project: &'_ Project, idx: PathIdx| project.closure.info(idx).path.clone();
    let there: BTreeSet<Vec<StorePath>> = before_layers
        .iter()
        .map(|layer| layer.iter().map(|&idx| path(before, idx)).collect())
        .collect();
    let mut bytes = Bytes::default();
    for layer in after_layers {
        let paths: Vec<StorePath> = layer.iter().map(|&idx| path(after, idx)).collect();
        let is_there = there.contains(&paths);
        for (&idx, path) in layer.iter().zip(&paths) {
            let size = u128::from(after.closure.info(idx).nar_size_bytes);
            if !is_there {
                bytes.moved += size;
            }
            if before.closure.find(path).is_none() {
                bytes.least += size;
            }
        }
    }
    bytes
}

/// The pull when a path changes and so does all that uses it, summed over the paths.
fn pulled_on_changes(project: &Project, layers: &[Vec<PathIdx>]) -> Bytes {
    let size = |path: u32| u128::from(project.closure.info(PathIdx(path)).nar_size_bytes);
    let mut layer_of = vec![0; project.dag.len()];
    let mut layer_bytes = vec![0_u128; layers.len()];
    for (number, layer) in layers.iter().enumerate() {
        for path in layer {
            layer_of[path.as_usize()] = number;
            layer_bytes[number] += size(path.0);
        }
    }
    let mut walk = crate::dag::Walk::new(project.dag.len());
    let mut bytes = Bytes::default();
    for &changed in &project.changing {
        walk.from(&[changed], &project.dag.users);
        let mut moved: Vec<usize> = walk
            .met
            .iter()
            .map(|&path| layer_of[path as usize])
            .collect();
        moved.sort_unstable();
        moved.dedup();
        bytes.moved += moved
            .into_iter()
            .map(|layer| layer_bytes[layer])
            .sum::<u128>();
        bytes.least += walk.met.iter().map(|&path| size(path)).sum::<u128>();
    }
    bytes
}
