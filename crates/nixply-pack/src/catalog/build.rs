//! From package sets to groups.

use super::{Catalog, CatalogError, CatalogGroup};
use crate::dag::Dag;
use crate::facts::Facts;
use crate::fill::Group;
use nixply_store::{Closure, PathIdx, StorePath};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// The group size below which a group looks for a host, at level 0; it doubles with each level.
const HOSTED_BELOW_BYTES: u64 = 64 << 10;

/// A path stands in a group of its own from so many times the size below which groups are hosted.
const ALONE_FACTOR: u64 = 4;

/// A host is in at least one of so many sets that hold its rider: a rarer one would leave the rider alone too often.
const HOST_SHARE: usize = 2;

impl Catalog {
    /// Makes the catalog of package sets: each a name and the roots whose closures it holds. Sets may overlap; paths of
    /// the closure that no set holds are left out.
    pub fn new(
        closure: &Closure,
        sets: &BTreeMap<String, Vec<StorePath>>,
        level: u32,
    ) -> Result<Self, CatalogError> {
        if level > Self::MAX_LEVEL {
            return Err(CatalogError::Level {
                level,
                max: Self::MAX_LEVEL,
            });
        }
        Ok(Collection::new(closure, sets)?.catalog(level))
    }
}

/// Package sets over a closure: all that catalogs of every level have in common.
pub(super) struct Collection<'a> {
    closure: &'a Closure,
    pub(super) dag: Dag,
    pub(super) facts: Facts,
    set_names: Vec<String>,
    /// The sets that hold a path, as a number that stands for them; paths of no set have the empty mask.
    mask_of: Vec<u32>,
    /// Each mask: the sets, ascending.
    masks: Vec<Vec<u32>>,
}

/// A group before its place in the catalog is known.
struct Atomic {
    group: Group,
    mask: u32,
    host: Option<u32>,
}

impl<'a> Collection<'a> {
    pub(super) fn new(
        closure: &'a Closure,
        sets: &BTreeMap<String, Vec<StorePath>>,
    ) -> Result<Self, CatalogError> {
        let dag = Dag::new(closure);
        let words = sets.len().div_ceil(64);
        let mut bits = vec![0_u64; words * dag.len()];
        for (number, (set, roots)) in sets.iter().enumerate() {
            for root in roots {
                let idx = closure
                    .find(root)
                    .ok_or_else(|| CatalogError::UnknownRoot {
                        set: set.clone(),
                        root: root.clone(),
                    })?;
                bits[idx.as_usize() * words + number / 64] |= 1 << (number % 64);
            }
        }
        for &path in &dag.users_first {
            for &user in dag.users.of(path) {
                for word in 0..words {
                    bits[path as usize * words + word] |= bits[user as usize * words + word];
                }
            }
        }
        let mut numbers: BTreeMap<&[u64], u32> = BTreeMap::new();
        let mut masks = Vec::new();
        let mut mask_of = Vec::with_capacity(dag.len());
        for path in dag.nodes() {
            let bits = &bits[path as usize * words..][..words];
            let number = *numbers.entry(bits).or_insert_with(|| {
                masks.push(members(bits));
                u32::try_from(masks.len() - 1).unwrap_or(u32::MAX)
            });
            mask_of.push(number);
        }
        if masks.iter().all(Vec::is_empty) {
            return Err(CatalogError::NoSets);
        }
        Ok(Self {
            closure,
            facts: Facts::new(closure, &dag),
            dag,
            set_names: sets.keys().cloned().collect(),
            mask_of,
            masks,
        })
    }

    /// How many sets hold a path.
    fn breadth(&self, path: u32) -> usize {
        self.masks[self.mask_of[path as usize] as usize].len()
    }

    pub(super) fn catalog(&self, level: u32) -> Catalog {
        let hosted_below_bytes = HOSTED_BELOW_BYTES << level;
        let mut groups = self.atoms_in_groups(alone_from_bytes(level));
        let mut group_of = vec![u32::MAX; self.dag.len()];
        for (number, atomic) in (0..).zip(&groups) {
            for &path in &atomic.group.members {
                group_of[path as usize] = number;
            }
        }
        let mut walk = UpWalk::new(self.dag.len());
        for number in 0..groups.len() {
            if groups[number].group.bytes < hosted_below_bytes {
                groups[number].host = self.host(&groups, number, &group_of, &mut walk);
            }
        }
        // As the file has them: atom by atom.
        groups.sort_unstable_by_key(|atomic| atomic.group.key);
        let mut atoms = BTreeMap::new();
        for atomic in &groups {
            let next = atoms.len();
            atoms.entry(atomic.mask).or_insert(next);
        }
        groups.sort_by_key(|atomic| atoms[&atomic.mask]);
        let path = |path: u32| self.closure.info(PathIdx(path)).path.clone();
        let groups = groups.iter().map(|atomic| {
            let mut members = atomic.group.members.clone();
            members.sort_unstable();
            CatalogGroup {
                head: path(atomic.group.head),
                paths: members.into_iter().map(path).collect(),
                host: atomic.host.map(path),
                sets: self.masks[atomic.mask as usize].clone(),
            }
        });
        Catalog::assemble(
            self.closure.store_dir().clone(),
            level,
            self.set_names.clone(),
            groups.collect(),
        )
    }

    /// Each atom in groups: every path from `alone_from_bytes` on is a group with the smaller ones that it needs and no
    /// lesser one does; what no large path needs is one group.
    fn atoms_in_groups(&self, alone_from_bytes: u64) -> Vec<Atomic> {
        let is_shared = |path: u32| self.breadth(path) > 0;
        let is_large = |path: u32| self.facts.sizes[path as usize] >= alone_from_bytes;
        // What a lesser large path needs is taken already, and so is all that is below it, so each path is met once.
        let mut large: Vec<u32> = self.dag.nodes().collect();
        large.retain(|&path| is_shared(path) && is_large(path));
        large.sort_unstable_by_key(|&path| {
            (
                self.facts.heights[path as usize],
                self.facts.ranks[path as usize],
            )
        });
        let mut taken = vec![false; self.dag.len()];
        for &path in &large {
            taken[path as usize] = true;
        }
        let mut groups = Vec::new();
        for head in large {
            let mut members = vec![head];
            let mut next = 0;
            while let Some(&path) = members.get(next) {
                next += 1;
                for &reference in self.dag.references.of(path) {
                    let same_atom = self.mask_of[reference as usize] == self.mask_of[head as usize];
                    if same_atom && !std::mem::replace(&mut taken[reference as usize], true) {
                        members.push(reference);
                    }
                }
            }
            groups.push(self.atomic(head, members));
        }
        let mut left: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for path in self.dag.nodes() {
            if is_shared(path) && !taken[path as usize] {
                left.entry(self.mask_of[path as usize])
                    .or_default()
                    .push(path);
            }
        }
        for members in left.into_values() {
            let least = members
                .iter()
                .min_by_key(|&&path| self.facts.ranks[path as usize]);
            let head = least.copied().unwrap_or(members[0]);
            groups.push(self.atomic(head, members));
        }
        groups
    }

    fn atomic(&self, head: u32, members: Vec<u32>) -> Atomic {
        Atomic {
            mask: self.mask_of[head as usize],
            group: Group::new(head, members, &self.facts),
            host: None,
        }
    }

    /// The path that a small group rides on: it uses every path of the group, lies outside of it, and is in at least
    /// half of its sets; of these the one in most sets, then that of the smallest group.
    fn host(
        &self,
        groups: &[Atomic],
        number: usize,
        group_of: &[u32],
        walk: &mut UpWalk,
    ) -> Option<u32> {
        let members = &groups[number].group.members;
        let own = |path: u32| group_of[path as usize] as usize == number;
        let breadth = self.masks[groups[number].mask as usize].len();
        // Whoever uses the tops uses every member.
        let tops: Vec<u32> = (members.iter().copied())
            .filter(|&path| !self.dag.users.of(path).iter().any(|&user| own(user)))
            .collect();
        // Sets grow on the way down, so nothing in enough sets is hidden behind something in too few.
        let wide_enough = |path: u32| HOST_SHARE * self.breadth(path) >= breadth;
        walk.common_users(&self.dag, &tops, wide_enough)
            .into_iter()
            .filter(|&path| !own(path))
            .min_by_key(|&path| {
                let host_group = &groups[group_of[path as usize] as usize].group;
                (
                    Reverse(self.breadth(path)),
                    host_group.bytes,
                    self.facts.ranks[path as usize],
                )
            })
    }
}

/// The size from which a path is a group of its own.
pub(super) fn alone_from_bytes(level: u32) -> u64 {
    ALONE_FACTOR * (HOSTED_BELOW_BYTES << level)
}

/// The set bits' positions.
fn members(bits: &[u64]) -> Vec<u32> {
    let bit = |n: u32| bits[n as usize / 64] >> (n % 64) & 1 == 1;
    (0..).take(bits.len() * 64).filter(|&n| bit(n)).collect()
}

/// Walks from paths to their users, again and again.
struct UpWalk {
    /// The walk that last met a path.
    met_in: Vec<u32>,
    walks: u32,
}

impl UpWalk {
    fn new(len: usize) -> Self {
        Self {
            met_in: vec![0; len],
            walks: 0,
        }
    }

    /// What uses every one of `starts`, directly or not, by way of `allowed` paths alone.
    fn common_users(
        &mut self,
        dag: &Dag,
        starts: &[u32],
        allowed: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        let mut common: Option<Vec<u32>> = None;
        for &start in starts {
            self.walks += 1;
            let mut met = Vec::new();
            let mut next = Some(start);
            let mut at = 0;
            while let Some(path) = next {
                for &user in dag.users.of(path) {
                    if self.met_in[user as usize] != self.walks && allowed(user) {
                        self.met_in[user as usize] = self.walks;
                        met.push(user);
                    }
                }
                next = met.get(at).copied();
                at += 1;
            }
            let still_common = match common {
                None => met,
                Some(mut common) => {
                    common.retain(|&path| self.met_in[path as usize] == self.walks);
                    common
                }
            };
            let none_left = still_common.is_empty();
            common = Some(still_common);
            if none_left {
                break;
            }
        }
        common.unwrap_or_default()
    }
}
