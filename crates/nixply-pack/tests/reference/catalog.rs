//! A closure with everything that can be known of it, and the catalog by the letter.

use nixply_store::{Closure, PathIdx, StorePath};
use nixply_testkit::recorded::Sets;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;

pub(crate) type Paths = BTreeSet<u32>;

/// A closure with everything that can be known of it.
pub(crate) struct Graph<'a> {
    pub(crate) closure: &'a Closure,
    pub(crate) all: Paths,
    pub(crate) size: Vec<u64>,
    /// Place by name.
    pub(crate) rank: Vec<usize>,
    pub(crate) references: Vec<Paths>,
    pub(crate) users: Vec<Paths>,
    /// All that a path needs, without itself.
    pub(crate) below: Vec<Paths>,
    /// All that needs a path, without itself.
    pub(crate) above: Vec<Paths>,
    /// The length of the longest chain of references.
    pub(crate) height: Vec<usize>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(closure: &'a Closure) -> Self {
        let all: Paths = closure.indices().map(|path| path.0).collect();
        let numbers = |paths: &mut dyn Iterator<Item = PathIdx>| paths.map(|path| path.0).collect();
        let indices = || closure.indices();
        let references: Vec<Paths> = indices()
            .map(|path| numbers(&mut closure.references(path)))
            .collect();
        let users: Vec<Paths> = indices()
            .map(|path| numbers(&mut closure.referrers(path)))
            .collect();
        let reach = |start: u32, edges: &[Paths]| {
            let mut done = Paths::new();
            let mut todo: Vec<u32> = edges[start as usize].iter().copied().collect();
            while let Some(path) = todo.pop() {
                if done.insert(path) {
                    todo.extend(&edges[path as usize]);
                }
            }
            done
        };
        let below: Vec<Paths> = all.iter().map(|&path| reach(path, &references)).collect();
        let above = all.iter().map(|&path| reach(path, &users)).collect();
        let mut fewest_below: Vec<u32> = all.iter().copied().collect();
        fewest_below.sort_by_key(|&path| below[path as usize].len());
        let mut height = vec![0; all.len()];
        for path in fewest_below {
            let references = references[path as usize].iter();
            let heights = references.map(|&reference| height[reference as usize] + 1);
            height[path as usize] = heights.max().unwrap_or(0);
        }
        let name = |path: u32| closure.info(PathIdx(path)).path.name();
        let names: BTreeSet<&str> = all.iter().map(|&path| name(path)).collect();
        assert_eq!(names.len(), all.len(), "names are unique");
        let rank = |&path: &u32| names.iter().position(|&other| other == name(path)).unwrap();
        Self {
            size: (closure.paths().iter())
                .map(|info| info.nar_size_bytes)
                .collect(),
            rank: all.iter().map(rank).collect(),
            closure,
            all,
            references,
            users,
            below,
            above,
            height,
        }
    }

    pub(crate) fn path(&self, path: u32) -> &StorePath {
        &self.closure.info(PathIdx(path)).path
    }

    pub(crate) fn bytes(&self, group: &Paths) -> u64 {
        group.iter().map(|&path| self.size[path as usize]).sum()
    }

    pub(crate) fn key(&self, group: &Paths) -> usize {
        let ranks = group.iter().map(|&path| self.rank[path as usize]);
        ranks.min().unwrap()
    }

    /// A path and all that it needs.
    pub(crate) fn down(&self, path: u32) -> Paths {
        let mut down = self.below[path as usize].clone();
        down.insert(path);
        down
    }
}

/// What a catalog says.
pub(crate) struct RefCatalog {
    pub(crate) level: u32,
    pub(crate) set_count: u32,
    /// For each path of the collection, by its store path, the sets that hold it; paths of no set are left out.
    pub(crate) sets_of: BTreeMap<StorePath, BTreeSet<u32>>,
    pub(crate) groups: Vec<RefGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefGroup {
    pub(crate) head: StorePath,
    pub(crate) paths: BTreeSet<StorePath>,
    pub(crate) host: Option<StorePath>,
    pub(crate) sets: BTreeSet<u32>,
}

pub(crate) fn catalog(graph: &Graph<'_>, sets: &Sets, level: u32) -> RefCatalog {
    let phi = (64 * KIB) << level;
    let theta = 4 * phi;
    let mut mask: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for (number, roots) in (0..).zip(sets.values()) {
        for root in roots {
            for path in graph.down(graph.closure.find(root).unwrap().0) {
                mask.entry(path).or_default().insert(number);
            }
        }
    }
    let mut atoms: BTreeMap<&BTreeSet<u32>, Paths> = BTreeMap::new();
    for (&path, mask) in &mask {
        atoms.entry(mask).or_default().insert(path);
    }
    let mut group_of: BTreeMap<u32, Paths> = BTreeMap::new();
    for atom in atoms.values() {
        let large: Paths = (atom.iter().copied())
            .filter(|&path| graph.size[path as usize] >= theta)
            .collect();
        let joins = |path: u32| -> Option<u32> {
            if large.contains(&path) {
                return Some(path);
            }
            let mut needing = large.clone();
            needing.retain(|&head| graph.below[head as usize].contains(&path));
            let least = |&head: &u32| (graph.height[head as usize], graph.rank[head as usize]);
            needing.into_iter().min_by_key(least)
        };
        let mut groups: BTreeMap<Option<u32>, Paths> = BTreeMap::new();
        for &path in atom {
            groups.entry(joins(path)).or_default().insert(path);
        }
        for group in groups.into_values() {
            for &path in &group {
                group_of.insert(path, group.clone());
            }
        }
    }
    let host = |group: &Paths| {
        if graph.bytes(group) >= phi {
            return None;
        }
        let mut candidates = graph.all.clone();
        for &path in group {
            candidates = &candidates & &graph.above[path as usize];
        }
        let own_mask = &mask[group.first().unwrap()];
        candidates.retain(|path| {
            let enough = |mask: &BTreeSet<u32>| 2 * mask.len() >= own_mask.len();
            !group.contains(path) && mask.get(path).is_some_and(enough)
        });
        candidates.into_iter().min_by_key(|path| {
            let bytes = graph.bytes(&group_of[path]);
            (Reverse(mask[path].len()), bytes, graph.rank[*path as usize])
        })
    };
    let mut groups: Vec<&Paths> = group_of
        .values()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let atom_key = |group: &Paths| graph.key(&atoms[&mask[group.first().unwrap()]]);
    groups.sort_by_key(|group| (atom_key(group), graph.key(group)));
    let ref_group = |group: &Paths| {
        let large = group
            .iter()
            .find(|&&path| graph.size[path as usize] >= theta);
        let by_rank = group.iter().min_by_key(|&&path| graph.rank[path as usize]);
        RefGroup {
            head: graph.path(*large.or(by_rank).unwrap()).clone(),
            paths: group.iter().map(|&path| graph.path(path).clone()).collect(),
            host: host(group).map(|path| graph.path(path).clone()),
            sets: mask[group.first().unwrap()].clone(),
        }
    };
    RefCatalog {
        level,
        set_count: u32::try_from(sets.len()).unwrap(),
        groups: groups.into_iter().map(ref_group).collect(),
        sets_of: (mask.iter())
            .map(|(&path, mask)| (graph.path(path).clone(), mask.clone()))
            .collect(),
    }
}
