//! Second implementations of `solo`, the catalog and `fleet`, slow and literal, step by step after `docs/packing.md`:
//! sets, transitive closures written out, no shortcut. The real ones must agree with them layer by layer, with all
//! reasons and riders. Names are made unique, so that the name alone orders paths.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, where a panic is a failed test"
)]

use nixply_pack::{
    Budget, Catalog, LayerReason, PackOptions, PackedLayer, Packer, Packing, Rider, VolatileReason,
    pack,
};
use nixply_store::{Closure, PathIdx, StorePath};
use nixply_testkit::closures::{TestPath, any_many_paths, any_paths, any_sets, closure};
use nixply_testkit::recorded::{Sets, closure_lines, fleet, recorded_closures};
use proptest::prelude::*;
use siphasher::sip::SipHasher24;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher as _;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

type Paths = BTreeSet<u32>;

/// A closure with everything that can be known of it.
struct Graph<'a> {
    closure: &'a Closure,
    all: Paths,
    size: Vec<u64>,
    /// Place by name.
    rank: Vec<usize>,
    references: Vec<Paths>,
    users: Vec<Paths>,
    /// All that a path needs, without itself.
    below: Vec<Paths>,
    /// All that needs a path, without itself.
    above: Vec<Paths>,
    /// The length of the longest chain of references.
    height: Vec<usize>,
}

impl<'a> Graph<'a> {
    fn new(closure: &'a Closure) -> Self {
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

    fn path(&self, path: u32) -> &StorePath {
        &self.closure.info(PathIdx(path)).path
    }

    fn bytes(&self, group: &Paths) -> u64 {
        group.iter().map(|&path| self.size[path as usize]).sum()
    }

    fn key(&self, group: &Paths) -> usize {
        let ranks = group.iter().map(|&path| self.rank[path as usize]);
        ranks.min().unwrap()
    }

    /// A path and all that it needs.
    fn down(&self, path: u32) -> Paths {
        let mut down = self.below[path as usize].clone();
        down.insert(path);
        down
    }
}

/// What a catalog says.
struct RefCatalog {
    level: u32,
    set_count: u32,
    /// For each path of the collection, by its store path, the sets that hold it; paths of no set are left out.
    sets_of: BTreeMap<StorePath, BTreeSet<u32>>,
    groups: Vec<RefGroup>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RefGroup {
    head: StorePath,
    paths: BTreeSet<StorePath>,
    host: Option<StorePath>,
    sets: BTreeSet<u32>,
}

fn catalog(graph: &Graph<'_>, sets: &Sets, level: u32) -> RefCatalog {
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

/// A layer before its place is known.
struct RefLayer {
    paths: Paths,
    reason: LayerReason,
}

/// One image to plan.
struct Image<'a> {
    graph: Graph<'a>,
    catalog: Option<&'a RefCatalog>,
    available: usize,
    volatile: BTreeMap<u32, VolatileReason>,
    /// The volatile paths with a layer each, bottom first.
    alone: Vec<u32>,
    /// Who rides on whom.
    hosts: BTreeMap<u32, u32>,
}

impl Image<'_> {
    fn is_shared(&self, path: u32) -> bool {
        let path = self.graph.path(path);
        self.catalog
            .is_some_and(|catalog| catalog.sets_of.contains_key(path))
    }

    /// Not volatile, and nothing but volatile paths uses it.
    fn is_below_volatile_alone(&self, path: u32) -> bool {
        let mut users = self.graph.users[path as usize].iter();
        !self.volatile.contains_key(&path) && users.all(|user| self.volatile.contains_key(user))
    }

    fn take_given(&mut self, given: &[PathIdx]) {
        for path in given {
            for &user in &self.graph.above[path.as_usize()] {
                self.volatile.insert(user, VolatileReason::UsesVolatile);
            }
        }
        for path in given {
            self.volatile.insert(path.0, VolatileReason::Given);
        }
    }

    fn guess_volatile(&mut self) {
        let all = self.graph.all.clone();
        let roots: Vec<u32> = (all.iter().copied())
            .filter(|&path| self.graph.users[path as usize].is_empty() && !self.is_shared(path))
            .collect();
        for &root in &roots {
            if roots.len() == 1 {
                self.volatile.insert(root, VolatileReason::Root);
            } else if self.graph.size[root as usize] < 64 * KIB {
                self.volatile.insert(root, VolatileReason::SmallRoot);
            }
        }
        for _ in 0..3 {
            let mut candidates: Vec<u32> = (all.iter().copied())
                .filter(|&path| self.is_below_volatile_alone(path) && !self.is_shared(path))
                .collect();
            candidates.sort_by_key(|&path| {
                let references = self.graph.references[path as usize].len();
                (Reverse(references), self.graph.rank[path as usize])
            });
            candidates.truncate(16);
            let share = |path: u32| 100 * self.graph.down(path).len();
            let holder = candidates
                .into_iter()
                .find(|&path| share(path) > 75 * all.len());
            let Some(holder) = holder else { break };
            self.volatile.insert(holder, VolatileReason::HoldsMost);
            let size = self.graph.size[holder as usize];
            let larger = self
                .graph
                .size
                .iter()
                .filter(|&&other| other > size)
                .count();
            if size >= MIB && self.available > 8 && larger < self.available / 2 {
                self.alone.insert(0, holder);
            }
        }
        if self.catalog.is_none() {
            return;
        }
        loop {
            let own: Vec<u32> = (all.iter().copied())
                .filter(|&path| {
                    self.is_below_volatile_alone(path)
                        && !self.graph.users[path as usize].is_empty()
                        && !self.is_shared(path)
                        && self.graph.size[path as usize] < 64 * KIB
                })
                .collect();
            if own.is_empty() {
                return;
            }
            let reason = VolatileReason::InNoSet;
            self.volatile
                .extend(own.into_iter().map(|path| (path, reason)));
        }
    }

    /// Small paths on the least of their users that are not too large; gives each path's end of the way.
    fn by_hosts(&mut self, among: &Paths) -> BTreeMap<u32, Paths> {
        let graph = &self.graph;
        for &path in among {
            let size = graph.size[path as usize];
            if size >= MIB {
                continue;
            }
            let users = graph.users[path as usize].iter().copied();
            let host = users
                .filter(|user| among.contains(user) && graph.size[*user as usize] <= 8 * size)
                .min_by_key(|&user| (graph.height[user as usize], graph.rank[user as usize]));
            if let Some(host) = host {
                self.hosts.insert(path, host);
            }
        }
        let mut groups: BTreeMap<u32, Paths> = BTreeMap::new();
        for &path in among {
            let mut end = path;
            while let Some(&host) = self.hosts.get(&end) {
                end = host;
            }
            groups.entry(end).or_default().insert(path);
        }
        groups
    }

    fn by_catalog(&mut self, among: &Paths) -> BTreeMap<u32, Paths> {
        let catalog = self.catalog.unwrap();
        let graph = &self.graph;
        let find = |path: &StorePath| {
            let idx = graph.closure.find(path)?.0;
            among.contains(&idx).then_some(idx)
        };
        let group_of = |path: u32| {
            let path = graph.path(path);
            catalog
                .groups
                .iter()
                .find(|group| group.paths.contains(path))
        };
        let theta = (256 * KIB) << catalog.level;
        let mut groups: BTreeMap<u32, Paths> = BTreeMap::new();
        let mut unknown = among.clone();
        for &path in among {
            let Some(own) = group_of(path) else { continue };
            unknown.remove(&path);
            let own_head =
                find(&own.head).filter(|&head| head != path && graph.size[head as usize] >= theta);
            let own_host = own.host.as_ref().and_then(find);
            if let Some(host) = own_head.or(own_host) {
                self.hosts.insert(path, host);
            }
            let mut group = own;
            while let Some(host) = group.host.as_ref().and_then(find) {
                group = group_of(host).unwrap();
            }
            let here = group.paths.iter().filter_map(find).min().unwrap();
            let head = find(&group.head).unwrap_or(here);
            groups.entry(head).or_default().insert(path);
        }
        groups.append(&mut self.by_hosts(&unknown));
        groups
    }

    /// The largest groups in a layer each, the others in few.
    fn fill(
        &self,
        groups: BTreeMap<u32, Paths>,
        room: usize,
        rest_layers: usize,
        small_layer: bool,
        asked_for: &Paths,
    ) -> Vec<RefLayer> {
        let mut groups: Vec<(u32, Paths)> = groups.into_iter().collect();
        let alone = |(head, paths): (u32, Paths)| RefLayer {
            paths,
            reason: LayerReason::Group {
                head: PathIdx(head),
            },
        };
        if groups.len() <= room {
            return groups.into_iter().map(alone).collect();
        }
        groups.sort_by_key(|(_, group)| (Reverse(self.graph.bytes(group)), self.graph.key(group)));
        let rest_layers = rest_layers.min(room);
        let small_layer = small_layer && rest_layers + 1 < room;
        let mut alone_count = room - rest_layers - usize::from(small_layer);
        let is_asked_for = |group: &Paths| !group.is_disjoint(asked_for);
        let any_asked_for = (groups.iter().skip(alone_count.saturating_sub(1)))
            .any(|(_, group)| is_asked_for(group));
        let asked_layer = alone_count > 1 && any_asked_for;
        if asked_layer {
            alone_count -= 1;
        }
        let left = groups.split_off(alone_count);
        let mut together: BTreeMap<(usize, usize), Paths> = BTreeMap::new();
        for (_, mut group) in left {
            let bucket = if asked_layer && is_asked_for(&group) {
                (2, 0)
            } else if small_layer && self.graph.bytes(&group) < 64 * KIB {
                (1, 0)
            } else {
                (0, self.bucket(&group, rest_layers))
            };
            together.entry(bucket).or_default().append(&mut group);
        }
        let reasons = [LayerReason::Rest, LayerReason::Small, LayerReason::AskedFor];
        let mut layers: Vec<RefLayer> = groups.into_iter().map(alone).collect();
        layers.extend(together.into_iter().map(|((kind, _), paths)| RefLayer {
            paths,
            reason: reasons[kind],
        }));
        layers
    }

    fn bucket(&self, group: &Paths, buckets: usize) -> usize {
        let highest = group
            .iter()
            .map(|&path| self.graph.height[path as usize])
            .max();
        let top = (group.iter())
            .filter(|&&path| Some(self.graph.height[path as usize]) == highest)
            .min_by_key(|&&path| self.graph.rank[path as usize])
            .unwrap();
        let package = self.graph.path(*top).package_and_version().0;
        let weight = |bucket: usize| {
            let mut hasher = SipHasher24::new();
            for text in ["bucket", package] {
                hasher.write(&(text.len() as u64).to_le_bytes());
                hasher.write(text.as_bytes());
            }
            hasher.write(&(bucket as u64).to_le_bytes());
            hasher.finish()
        };
        (0..buckets).max_by_key(|&bucket| weight(bucket)).unwrap()
    }

    /// The prior layers that can stay; with more than `room` of them, or with something left over, the largest.
    fn intact(&self, prior: &[Vec<StorePath>], planned: &Paths, room: usize) -> Vec<RefLayer> {
        let mut kept: Vec<Paths> = Vec::new();
        for layer in prior {
            let found: Option<Paths> = (layer.iter())
                .map(|path| self.graph.closure.find(path).map(|idx| idx.0))
                .collect();
            let fits = |paths: &Paths| {
                let is_free = kept.iter().all(|other| other.is_disjoint(paths));
                !paths.is_empty() && is_free && paths.is_subset(planned)
            };
            kept.extend(found.filter(fits));
        }
        let kept_paths: usize = kept.iter().map(Paths::len).sum();
        kept.sort_by_key(|group| (Reverse(self.graph.bytes(group)), self.graph.key(group)));
        if kept_paths < planned.len() || kept.len() > room {
            kept.truncate(room - 1);
        }
        let layer = |paths| RefLayer {
            paths,
            reason: LayerReason::Prior,
        };
        kept.into_iter().map(layer).collect()
    }

    fn layers(&mut self, prior: &[Vec<StorePath>]) -> Vec<RefLayer> {
        let volatile = |paths: Paths| RefLayer {
            paths,
            reason: LayerReason::Volatile,
        };
        let mut on_top: Paths = self.volatile.keys().copied().collect();
        on_top.retain(|path| !self.alone.contains(path));
        let mut top: Vec<RefLayer> = self
            .alone
            .iter()
            .map(|&path| volatile([path].into()))
            .collect();
        if !on_top.is_empty() {
            top.push(volatile(on_top));
        }
        let mut planned = self.graph.all.clone();
        planned.retain(|path| !self.volatile.contains_key(path));
        if planned.is_empty() {
            return top;
        }
        if top.len() >= self.available {
            let paths = self.graph.all.clone();
            let reason = LayerReason::Rest;
            return vec![RefLayer { paths, reason }];
        }
        let room = self.available - top.len();
        let mut layers = self.intact(prior, &planned, room);
        let room = room - layers.len();
        planned.retain(|path| !layers.iter().any(|layer| layer.paths.contains(path)));

        let certain = self.volatile.values().any(|reason| {
            use VolatileReason::{Given, HoldsMost, UsesVolatile};
            [Given, HoldsMost, UsesVolatile].contains(reason)
        });
        let mut asked_for = self.graph.all.clone();
        asked_for.retain(|&path| {
            !certain && self.is_below_volatile_alone(path) && !self.is_shared(path)
        });
        let groups;
        let (rest_layers, small_layer) = if self.catalog.is_some() {
            groups = self.by_catalog(&planned);
            (1, true)
        } else if self.available > 60 {
            groups = self.by_hosts(&planned);
            ((room * 3 / 100).max(1), true)
        } else {
            groups = planned.iter().map(|&path| (path, [path].into())).collect();
            (1, false)
        };
        layers.extend(self.fill(groups, room, rest_layers, small_layer, &asked_for));
        layers.sort_by_key(|layer| {
            let users = |path: &u32| {
                let users = self.graph.users[*path as usize].iter();
                users
                    .filter(|user| !self.volatile.contains_key(user))
                    .count() as u64
            };
            let bits = |number: u64| number.checked_ilog2().map_or(0, |log| log + 1);
            let least_used = layer.paths.iter().map(users).min().unwrap();
            let weight = 2 * bits(least_used) + bits(self.graph.bytes(&layer.paths));
            let is_asked_for = !layer.paths.is_disjoint(&asked_for);
            (is_asked_for, Reverse(weight), self.graph.key(&layer.paths))
        });
        layers.extend(top);
        layers
    }
}

/// Packs by the letter.
fn packed(
    closure: &Closure,
    catalog: Option<&RefCatalog>,
    available: usize,
    given: &[PathIdx],
    prior: &[Vec<StorePath>],
) -> Packing {
    let mut image = Image {
        graph: Graph::new(closure),
        catalog,
        available,
        volatile: BTreeMap::new(),
        alone: Vec::new(),
        hosts: BTreeMap::new(),
    };
    if given.is_empty() {
        image.guess_volatile();
    } else {
        image.take_given(given);
    }
    let layers = image.layers(prior);
    let packed_layer = |layer: RefLayer| {
        let mut sets: BTreeSet<u32> = (0..catalog.map_or(0, |catalog| catalog.set_count)).collect();
        for &path in &layer.paths {
            let none = BTreeSet::new();
            let of_path = catalog.and_then(|catalog| catalog.sets_of.get(image.graph.path(path)));
            sets = &sets & of_path.unwrap_or(&none);
        }
        let rider = |&path: &u32| {
            let host = PathIdx(*image.hosts.get(&path)?);
            let path = PathIdx(path);
            Some(Rider { path, host })
        };
        PackedLayer {
            riders: layer.paths.iter().filter_map(rider).collect(),
            paths: layer.paths.into_iter().map(PathIdx).collect(),
            reason: layer.reason,
            sets: sets.into_iter().collect(),
        }
    };
    let unknown = |&&path: &&u32| {
        catalog.is_some() && !image.is_shared(path) && !image.volatile.contains_key(&path)
    };
    let packer = if catalog.is_some() {
        Packer::Fleet
    } else {
        Packer::Solo
    };
    Packing {
        packer: packer.id(),
        layers: layers.into_iter().map(packed_layer).collect(),
        volatile: (image.volatile.iter())
            .map(|(&path, &reason)| (PathIdx(path), reason))
            .collect(),
        unknown: (image.graph.all.iter().filter(unknown))
            .map(|&path| PathIdx(path))
            .collect(),
    }
}

/// The same paths with a number behind each name that occurs more than once.
fn with_unique_names(mut paths: Vec<TestPath>) -> Vec<TestPath> {
    let mut seen = BTreeSet::new();
    for (at, path) in paths.iter_mut().enumerate() {
        if !seen.insert(path.base_name[33..].to_owned()) {
            path.base_name = format!("{}.{at}", path.base_name);
            assert!(seen.insert(path.base_name[33..].to_owned()));
        }
    }
    paths
}

/// The real catalog and the one by the letter, which agree.
fn both_catalogs(collection: &Closure, sets: &Sets, level: u32) -> (Catalog, RefCatalog) {
    let real = Catalog::new(collection, sets, level).unwrap();
    let expected = catalog(&Graph::new(collection), sets, level);
    let groups = real.groups().iter().map(|group| RefGroup {
        head: group.head.clone(),
        paths: group.paths.iter().cloned().collect(),
        host: group.host.clone(),
        sets: group.sets.iter().copied().collect(),
    });
    assert_eq!(groups.collect::<Vec<_>>(), expected.groups);
    (real, expected)
}

fn check(
    image: &Closure,
    catalogs: Option<&(Catalog, RefCatalog)>,
    available: usize,
    given: &[PathIdx],
    prior: &[Vec<StorePath>],
) {
    let packer = Packer::auto(catalogs.is_some());
    let budget = Budget {
        max_layers: available + 1,
        reserved_layers: 1,
    };
    let options = PackOptions {
        catalog: catalogs.map(|(real, _)| real),
        volatile: given,
        prior,
        ..PackOptions::new(packer, budget)
    };
    let reference = catalogs.map(|(_, reference)| reference);
    assert_eq!(
        pack(image, &options).unwrap(),
        packed(image, reference, available, given, prior),
        "{packer} in {available} layers"
    );
}

fn any_image() -> impl Strategy<Value = Vec<TestPath>> {
    prop_oneof![3 => any_paths(), 1 => any_many_paths()].prop_map(with_unique_names)
}

/// Sets, and what an image of the fleet adds and leaves out: some positions.
fn any_fleet() -> impl Strategy<Value = (Vec<TestPath>, Sets, Vec<usize>)> {
    any_image().prop_flat_map(|paths| {
        let sets = any_sets(&paths);
        let roots = prop::collection::vec(0..paths.len(), 1..6);
        (Just(paths), sets, roots)
    })
}

/// Layers of an image with some of the same paths.
fn prior_of(paths: &[TestPath], share: usize, available: usize) -> Vec<Vec<StorePath>> {
    let store_path = |path: &TestPath| StorePath::new(&path.base_name).unwrap();
    let roots: Vec<StorePath> = paths.iter().step_by(share).map(store_path).collect();
    let before = closure(paths).restrict(&roots).unwrap();
    let budget = Budget {
        max_layers: available,
        reserved_layers: 0,
    };
    let packing = pack(&before, &PackOptions::new(Packer::Size, budget)).unwrap();
    let path = |path: &PathIdx| before.info(*path).path.clone();
    let layers = packing.layers.iter();
    layers
        .map(|layer| layer.paths.iter().map(path).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn solo_agrees(
        paths in any_image(),
        available in 1..130_usize,
        given in prop::option::weighted(0.2, any::<prop::sample::Index>()),
        prior in prop::option::weighted(0.3, (1..5_usize, 1..40_usize)),
    ) {
        let image = closure(&paths);
        let given: Vec<PathIdx> = given.iter().map(|given| {
            PathIdx(u32::try_from(given.index(paths.len())).unwrap())
        }).collect();
        let prior = prior.map_or_else(Vec::new, |(share, layers)| prior_of(&paths, share, layers));
        for available in [available, 1 + available % paths.len()] {
            check(&image, None, available, &given, &prior);
        }
    }

    #[test]
    fn fleet_agrees(
        (paths, sets, roots) in any_fleet(),
        level in 0..12_u32,
        available in 1..40_usize,
        prior in prop::option::weighted(0.3, (1..5_usize, 1..40_usize)),
    ) {
        prop_assume!(sets.values().any(|roots| !roots.is_empty()));
        let collection = closure(&paths);
        let catalogs = both_catalogs(&collection, &sets, level);
        let roots: Vec<StorePath> = roots.into_iter().map(|root| {
            StorePath::new(&paths[root].base_name).unwrap()
        }).collect();
        let prior = prior.map_or_else(Vec::new, |(share, layers)| prior_of(&paths, share, layers));
        for image in [&collection, &collection.restrict(&roots).unwrap()] {
            check(image, Some(&catalogs), available, &[], &prior);
        }
    }
}

#[test]
fn a_small_real_closure_agrees_in_any_number_of_layers() {
    let paths = closure_lines(include_str!("golden/closure.txt"));
    let image = closure(&paths);
    for available in (1..=paths.len() + 2).chain([50, 60, 61, 100]) {
        check(&image, None, available, &[], &[]);
    }
    let root = |at: usize| vec![StorePath::new(&paths[at].base_name).unwrap()];
    let sets = Sets::from([
        ("certificates".to_owned(), root(2)),
        ("gd".to_owned(), root(10)),
        ("nginx".to_owned(), root(28)),
        ("shell".to_owned(), [root(4), root(20)].concat()),
        ("xslt".to_owned(), root(0)),
    ]);
    for level in [0, 1, 2, 3, 4, 5, 6, 8, Catalog::MAX_LEVEL] {
        let catalogs = both_catalogs(&image, &sets, level);
        for available in (1..=paths.len() + 2).chain([60, 61]) {
            check(&image, Some(&catalogs), available, &[], &[]);
        }
    }
}

#[test]
fn large_real_closures_agree() {
    for paths in recorded_closures().into_values() {
        let n = paths.len();
        let image = closure(&with_unique_names(paths));
        for available in [1, 2, 25, 50, 60, 61, 100, n - 1, n] {
            check(&image, None, available, &[], &[]);
        }
    }
}

/// Projects of a fleet at one pin, as the laboratory composes them.
#[test]
fn the_images_of_a_fleet_agree() {
    let (mut collections, projects) = fleet("draw-7");
    let mut collection = collections.swap_remove(0);
    collection.paths = with_unique_names(collection.paths);
    let images: Vec<Closure> = (projects.iter())
        .map(|project| closure(&collection.image(project)))
        .collect();
    for level in [0, 4, 10] {
        let whole = closure(&collection.paths);
        let catalogs = both_catalogs(&whole, &collection.sets(), level);
        for (number, image) in images.iter().enumerate() {
            for available in [[25, 99], [60, 61]][number % 2] {
                check(image, Some(&catalogs), available, &[], &[]);
            }
        }
    }
    for image in &images {
        for available in [50, 99, 124] {
            check(image, None, available, &[], &[]);
        }
    }
}
