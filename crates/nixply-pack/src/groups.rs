//! Cutting a closure into groups of paths that stay together.

use crate::dag::Dag;
use crate::facts::Facts;
use crate::fill::Group;
use crate::layered::Known;
use nixply_store::Closure;

/// Larger paths do not ride (`docs/packing.md`, "Groups of `solo`").
const RIDER_LIMIT_BYTES: u64 = 1 << 20;

/// A host is at most so many times as large as its rider: riders change their host's layer, and a larger one would be
/// stored again too often.
const HOST_RATIO: u64 = 8;

/// The paths that are to be grouped, and who rides on whom.
#[derive(Debug)]
pub(crate) struct Grouping<'a> {
    closure: &'a Closure,
    dag: &'a Dag,
    facts: &'a Facts,
    among: Vec<bool>,
    hosts: Vec<Option<u32>>,
}

impl<'a> Grouping<'a> {
    /// Groups the paths for which `among` is true.
    pub(crate) fn new(
        closure: &'a Closure,
        dag: &'a Dag,
        facts: &'a Facts,
        among: Vec<bool>,
    ) -> Self {
        Self {
            closure,
            dag,
            facts,
            hosts: vec![None; among.len()],
            among,
        }
    }

    pub(crate) fn leave_out<'p>(&mut self, paths: impl Iterator<Item = &'p u32>) {
        for &path in paths {
            self.among[path as usize] = false;
        }
    }

    /// The paths that are to be grouped, ascending.
    pub(crate) fn planned(&self) -> impl Iterator<Item = u32> {
        self.dag.nodes().filter(|&path| self.among[path as usize])
    }

    /// The path that another one rides on.
    pub(crate) fn host_of(&self, path: u32) -> Option<u32> {
        self.hosts[path as usize]
    }

    /// Each path by itself.
    pub(crate) fn by_path(&self) -> Vec<Group> {
        self.planned()
            .map(|path| Group::new(path, vec![path], self.facts))
            .collect()
    }

    /// Small paths with the user that they ride on.
    ///
    /// A dependency is always there when its user is, so a small path may stand in the layer of a user: that layer never
    /// splits because of it, and only the small path is stored twice, in images without that user.
    pub(crate) fn by_hosts(&mut self) -> Vec<Group> {
        let mut heads: Vec<u32> = self.dag.nodes().collect();
        self.ride(&self.among.clone(), &mut heads);
        self.gathered(&heads)
    }

    /// Each path with the others of its catalog group, or in the group of the first host that the image has; what the
    /// catalog does not know as [`Grouping::by_hosts`] has it.
    pub(crate) fn by_catalog(&mut self, known: &Known<'_>) -> Vec<Group> {
        let groups = known.catalog.groups();
        let mut heads: Vec<u32> = self.dag.nodes().collect();
        let mut unknown = self.among.clone();
        // The path of the image that stands for a group: its head, or where that is not planned, the first that is.
        let mut stands_for: Vec<Option<u32>> = vec![None; groups.len()];
        for path in self.planned() {
            if let Some(group) = known.group_of[path as usize] {
                unknown[path as usize] = false;
                let is_head =
                    groups[group as usize].head == self.closure.paths()[path as usize].path;
                let stands_for = &mut stands_for[group as usize];
                if stands_for.is_none() || is_head {
                    *stands_for = Some(path);
                }
            }
        }
        // The host of a group in this image.
        let host_of = |group: u32| {
            let host = self.closure.find(groups[group as usize].host.as_ref()?)?.0;
            self.among[host as usize].then_some(host)
        };
        let mut hosts = Vec::new();
        for path in self.planned() {
            let Some(own_group) = known.group_of[path as usize] else {
                continue;
            };
            let own_head = stands_for[own_group as usize].filter(|&head| {
                // A group without a large path has no member that uses the others.
                head != path && known.catalog.is_alone(self.facts.sizes[head as usize])
            });
            hosts.push((path, own_head.or(host_of(own_group))));
            let mut group = own_group;
            while let Some(next) = host_of(group).and_then(|host| known.group_of[host as usize]) {
                group = next;
            }
            heads[path as usize] = stands_for[group as usize].unwrap_or(path);
        }
        for (path, host) in hosts {
            self.hosts[path as usize] = host;
        }
        self.ride(&unknown, &mut heads);
        self.gathered(&heads)
    }

    /// Lets the small ones of some paths ride on each other, and says for each where it ends up.
    fn ride(&mut self, some: &[bool], heads: &mut [u32]) {
        // Users come first, so where a host ends up is known before its rider asks.
        for &path in &self.dag.users_first {
            let size = self.facts.sizes[path as usize];
            if !some[path as usize] || size >= RIDER_LIMIT_BYTES {
                continue;
            }
            let users = self.dag.users.of(path).iter().copied();
            let host = users
                .filter(|&user| {
                    some[user as usize] && self.facts.sizes[user as usize] <= HOST_RATIO * size
                })
                .min_by_key(|&user| {
                    (
                        self.facts.heights[user as usize],
                        self.facts.ranks[user as usize],
                    )
                });
            if let Some(host) = host {
                self.hosts[path as usize] = Some(host);
                heads[path as usize] = heads[host as usize];
            }
        }
    }

    fn gathered(&self, heads: &[u32]) -> Vec<Group> {
        let mut members = vec![Vec::new(); self.dag.len()];
        for path in self.planned() {
            members[heads[path as usize] as usize].push(path);
        }
        (0..)
            .zip(members)
            .filter(|(_, members)| !members.is_empty())
            .map(|(head, members)| Group::new(head, members, self.facts))
            .collect()
    }
}
