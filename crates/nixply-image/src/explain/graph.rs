//! The references among an image's store paths, and what hangs on what.

use crate::contents::ImageContents;
use nixply_store::{Closure, PathIdx, StorePath};
use std::collections::VecDeque;

/// A closure, seen from an image: only paths that the image holds, and its own roots.
#[derive(Debug)]
pub struct ImageGraph<'a> {
    closure: &'a Closure,
    in_image: Vec<bool>,
    /// In byte order.
    roots: Vec<PathIdx>,
    /// A path's place in the closure's topological order: references come before what refers to them.
    place: Vec<usize>,
    /// The next path on a shortest chain towards a root, and the length of that chain.
    towards_root: Vec<Option<Step>>,
}

#[derive(Debug, Clone, Copy)]
struct Step {
    next: Option<PathIdx>,
    distance: usize,
}

/// How much of an image hangs on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Users {
    /// The paths that refer to it.
    pub direct: usize,
    /// The paths that refer to it, directly or not.
    pub all: usize,
    /// The roots among those, itself included.
    pub roots: usize,
    /// The paths that it refers to.
    pub references: usize,
}

impl<'a> ImageGraph<'a> {
    /// Lays an image over a closure. The roots are those that the image records; else the paths that no other path of
    /// the image refers to. Paths that the closure does not have are left out.
    #[must_use]
    pub fn new(closure: &'a Closure, contents: &ImageContents) -> Self {
        let mut in_image = vec![false; closure.paths().len()];
        for held in contents.paths() {
            if let Some(idx) = closure.find(&held.path) {
                in_image[idx.as_usize()] = true;
            }
        }
        let recorded: Vec<PathIdx> = contents
            .roots
            .iter()
            .filter_map(|root| closure.find(root))
            .filter(|root| in_image[root.as_usize()])
            .collect();
        let mut place = vec![0; closure.paths().len()];
        for (n, idx) in closure.topological_order().into_iter().enumerate() {
            place[idx.as_usize()] = n;
        }
        let mut graph = Self {
            closure,
            in_image,
            roots: recorded,
            place,
            towards_root: Vec::new(),
        };
        if graph.roots.is_empty() {
            graph.roots = closure
                .indices()
                .filter(|&idx| graph.in_image[idx.as_usize()])
                .filter(|&idx| graph.referrers(idx).next().is_none())
                .collect();
        }
        graph.roots.sort_unstable();
        graph.towards_root = graph.walk_from_roots();
        graph
    }

    /// The roots, in byte order.
    pub fn roots(&self) -> impl Iterator<Item = &'a StorePath> + '_ {
        self.roots.iter().map(|&root| &self.closure.info(root).path)
    }

    /// True for a root.
    #[must_use]
    pub fn is_root(&self, path: &StorePath) -> bool {
        self.find(path)
            .is_some_and(|idx| self.roots.binary_search(&idx).is_ok())
    }

    /// The NAR size that the closure has for a path.
    #[must_use]
    pub fn nar_size_bytes(&self, path: &StorePath) -> Option<u64> {
        let idx = self.find(path)?;
        Some(self.closure.info(idx).nar_size_bytes)
    }

    /// The shortest chains of references from a root to a path, both included, one for each path that refers to it
    /// directly; the shortest first, at most `most`. A root's own chain is itself. None where the closure does not have
    /// the path or no root reaches it.
    #[must_use]
    pub fn chains(&self, path: &StorePath, most: usize) -> Vec<Vec<&'a StorePath>> {
        let Some(idx) = self.find(path) else {
            return Vec::new();
        };
        if self.roots.binary_search(&idx).is_ok() {
            return vec![vec![&self.closure.info(idx).path]];
        }
        let mut users: Vec<(usize, &str, PathIdx)> = self
            .referrers(idx)
            .filter_map(|user| {
                let step = self.towards_root[user.as_usize()]?;
                Some((step.distance, self.closure.info(user).path.name(), user))
            })
            .collect();
        users.sort_unstable();
        users
            .into_iter()
            .take(most)
            .map(|(_, _, user)| {
                let mut chain = vec![idx];
                let mut next = Some(user);
                while let Some(idx) = next {
                    chain.push(idx);
                    next = self.towards_root[idx.as_usize()].and_then(|step| step.next);
                }
                chain.reverse();
                chain
                    .into_iter()
                    .map(|idx| &self.closure.info(idx).path)
                    .collect()
            })
            .collect()
    }

    /// What refers to a path; none where the closure does not have it.
    #[must_use]
    pub fn users(&self, path: &StorePath) -> Option<Users> {
        let idx = self.find(path)?;
        let mut reached = vec![false; self.in_image.len()];
        reached[idx.as_usize()] = true;
        let mut open = vec![idx];
        let (mut all, mut roots) = (0, 0);
        while let Some(user) = open.pop() {
            all += 1;
            roots += usize::from(self.roots.binary_search(&user).is_ok());
            for next in self.referrers(user) {
                if !std::mem::replace(&mut reached[next.as_usize()], true) {
                    open.push(next);
                }
            }
        }
        Some(Users {
            direct: self.referrers(idx).count(),
            all: all - 1,
            roots,
            references: self.closure.references(idx).count(),
        })
    }

    /// The one of some paths that refers to all others, directly or not.
    #[must_use]
    pub fn head_of(&self, paths: &[&StorePath]) -> Option<StorePath> {
        let idxs: Vec<PathIdx> = paths
            .iter()
            .map(|path| self.find(path))
            .collect::<Option<_>>()?;
        // What refers to all of them stands behind all of them.
        let head = *idxs.iter().max_by_key(|idx| self.place[idx.as_usize()])?;
        let reached = self.closure.reachable_from(&[head]);
        idxs.iter()
            .all(|idx| reached.binary_search(idx).is_ok())
            .then(|| self.closure.info(head).path.clone())
    }

    fn find(&self, path: &StorePath) -> Option<PathIdx> {
        let found = self.closure.find(path);
        found.filter(|idx| self.in_image[idx.as_usize()])
    }

    fn referrers(&self, idx: PathIdx) -> impl Iterator<Item = PathIdx> + '_ {
        let users = self.closure.referrers(idx);
        users.filter(|user| self.in_image[user.as_usize()])
    }

    /// Breadth first from all roots; of several next paths the one with the least name.
    fn walk_from_roots(&self) -> Vec<Option<Step>> {
        let mut steps: Vec<Option<Step>> = vec![None; self.in_image.len()];
        let mut open: VecDeque<PathIdx> = VecDeque::new();
        let name = |idx: PathIdx| (self.closure.info(idx).path.name(), idx);
        for &root in &self.roots {
            steps[root.as_usize()] = Some(Step {
                next: None,
                distance: 0,
            });
            open.push_back(root);
        }
        while let Some(user) = open.pop_front() {
            let Some(Step { distance, .. }) = steps[user.as_usize()] else {
                continue;
            };
            for idx in self.closure.references(user) {
                if !self.in_image[idx.as_usize()] {
                    continue;
                }
                let step = Step {
                    next: Some(user),
                    distance: distance + 1,
                };
                match &mut steps[idx.as_usize()] {
                    slot @ None => {
                        *slot = Some(step);
                        open.push_back(idx);
                    }
                    Some(found)
                        if found.distance == step.distance
                            && found.next.is_some_and(|next| name(user) < name(next)) =>
                    {
                        *found = step;
                    }
                    Some(_) => {}
                }
            }
        }
        steps
    }
}
