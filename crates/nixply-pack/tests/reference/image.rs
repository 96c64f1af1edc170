//! One image by the letter: what is volatile, groups, layers and their order.

use nixply_pack::{LayerReason, VolatileReason};
use nixply_store::{PathIdx, StorePath};
use siphasher::sip::SipHasher24;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::Hasher as _;

use crate::catalog::*;

/// A layer before its place is known.
pub(crate) struct RefLayer {
    pub(crate) paths: Paths,
    pub(crate) reason: LayerReason,
}

/// One image to plan.
pub(crate) struct Image<'a> {
    pub(crate) graph: Graph<'a>,
    pub(crate) catalog: Option<&'a RefCatalog>,
    pub(crate) available: usize,
    pub(crate) volatile: BTreeMap<u32, VolatileReason>,
    /// The volatile paths with a layer each, bottom first.
    pub(crate) alone: Vec<u32>,
    /// Who rides on whom.
    pub(crate) hosts: BTreeMap<u32, u32>,
}

impl Image<'_> {
    pub(crate) fn is_shared(&self, path: u32) -> bool {
        let path = self.graph.path(path);
        self.catalog
            .is_some_and(|catalog| catalog.sets_of.contains_key(path))
    }

    /// Not volatile, and nothing but volatile paths uses it.
    pub(crate) fn is_below_volatile_alone(&self, path: u32) -> bool {
        let mut users = self.graph.users[path as usize].iter();
        !self.volatile.contains_key(&path) && users.all(|user| self.volatile.contains_key(user))
    }

    pub(crate) fn take_given(&mut self, given: &[PathIdx]) {
        for path in given {
            for &user in &self.graph.above[path.as_usize()] {
                self.volatile.insert(user, VolatileReason::UsesVolatile);
            }
        }
        for path in given {
            self.volatile.insert(path.0, VolatileReason::Given);
        }
    }

    pub(crate) fn guess_volatile(&mut self) {
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
    pub(crate) fn by_hosts(&mut self, among: &Paths) -> BTreeMap<u32, Paths> {
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

    pub(crate) fn by_catalog(&mut self, among: &Paths) -> BTreeMap<u32, Paths> {
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
    pub(crate) fn fill(
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

    pub(crate) fn bucket(&self, group: &Paths, buckets: usize) -> usize {
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
    pub(crate) fn intact(
        &self,
        prior: &[Vec<StorePath>],
        planned: &Paths,
        room: usize,
    ) -> Vec<RefLayer> {
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

    pub(crate) fn layers(&mut self, prior: &[Vec<StorePath>]) -> Vec<RefLayer> {
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
