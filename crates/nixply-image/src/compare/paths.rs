//! Which store path of the old image became which of the new one.

use crate::contents::HeldPath;
use crate::package::{Package, compare_versions, version_parts};
use nixply_store::StorePath;
use std::collections::BTreeMap;

/// The store paths of two images side by side.
#[derive(Debug, Default)]
pub(super) struct Pairing<'a> {
    /// Paths of the new image by their old counterparts: another path of the same package, or the same path.
    pub(super) old_of: BTreeMap<&'a StorePath, &'a HeldPath>,
    /// Paths of the old image that have no counterpart.
    pub(super) removed: Vec<&'a HeldPath>,
}

/// A path that the other image does not have, and its package.
type Candidate<'a> = (Package, &'a HeldPath);

/// Pairs paths that both images have with themselves, and the others by package: first those of the same version, then
/// those whose versions have most of their first parts in common.
pub(super) fn pair_paths<'a>(
    old: &BTreeMap<&'a StorePath, &'a HeldPath>,
    new: &BTreeMap<&'a StorePath, &'a HeldPath>,
) -> Pairing<'a> {
    let mut pairing = Pairing::default();
    let mut groups: BTreeMap<String, [Vec<Candidate<'a>>; 2]> = BTreeMap::new();
    let mut add = |side: usize, held: &'a HeldPath| {
        let package = Package::of_name(held.path.name());
        groups.entry(package.name.clone()).or_default()[side].push((package, held));
    };
    for (path, held) in old {
        if !new.contains_key(path) {
            add(0, held);
        }
    }
    for (path, held) in new {
        match old.get(path) {
            Some(same) => {
                pairing.old_of.insert(path, same);
            }
            None => add(1, held),
        }
    }
    for [mut old, mut new] in groups.into_values() {
        pair_same_version(&mut old, &mut new, &mut pairing);
        pair_near_versions(&mut old, &mut new, &mut pairing);
        pairing
            .removed
            .extend(old.into_iter().map(|(_, held)| held));
    }
    pairing
}

/// Of several paths with one name and version, those of like size belong together.
fn pair_same_version<'a>(
    old: &mut Vec<Candidate<'a>>,
    new: &mut Vec<Candidate<'a>>,
    pairing: &mut Pairing<'a>,
) {
    let key = |(package, held): &Candidate<'a>| {
        (
            package.version.clone(),
            held.nar_size_bytes,
            held.path.clone(),
        )
    };
    old.sort_by_cached_key(key);
    new.sort_by_cached_key(key);
    pair_by(old, new, pairing, |(package, _)| package.version.clone());
}

fn pair_near_versions<'a>(
    old: &mut Vec<Candidate<'a>>,
    new: &mut Vec<Candidate<'a>>,
    pairing: &mut Pairing<'a>,
) {
    let by_version = |a: &Candidate<'a>, b: &Candidate<'a>| {
        compare_versions(&b.0.version, &a.0.version).then_with(|| a.1.path.cmp(&b.1.path))
    };
    // The newest first: where one of several is gone, it is the oldest.
    old.sort_by(by_version);
    new.sort_by(by_version);
    // No version that tells packages apart has more parts; whatever is left is paired in order.
    for n_parts in (0..=4).rev() {
        if old.is_empty() || new.is_empty() {
            return;
        }
        pair_by(old, new, pairing, |(package, _)| {
            version_parts(&package.version)
                .take(n_parts)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
    }
}

/// Pairs candidates of equal keys in their order and leaves the others.
fn pair_by<'a, K: Ord>(
    old: &mut Vec<Candidate<'a>>,
    new: &mut Vec<Candidate<'a>>,
    pairing: &mut Pairing<'a>,
    key: impl Fn(&Candidate<'a>) -> K,
) {
    let mut by_key: BTreeMap<K, std::vec::IntoIter<Candidate<'a>>> = BTreeMap::new();
    let mut grouped: BTreeMap<K, Vec<Candidate<'a>>> = BTreeMap::new();
    for candidate in old.drain(..) {
        grouped.entry(key(&candidate)).or_default().push(candidate);
    }
    by_key.extend(
        grouped
            .into_iter()
            .map(|(key, candidates)| (key, candidates.into_iter())),
    );
    new.retain(|candidate| {
        let counterpart = by_key.get_mut(&key(candidate)).and_then(Iterator::next);
        match counterpart {
            Some((_, held)) => {
                pairing.old_of.insert(&candidate.1.path, held);
                false
            }
            None => true,
        }
    });
    old.extend(by_key.into_values().flatten());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(digit: char, name: &str, nar_size_bytes: u64) -> HeldPath {
        let hash = String::from(digit).repeat(32);
        HeldPath {
            path: StorePath::new(&format!("{hash}-{name}")).unwrap(),
            nar_hash: None,
            nar_size_bytes: Some(nar_size_bytes),
        }
    }

    /// `old -> new` by name, and what is removed.
    fn paired(old: &[HeldPath], new: &[HeldPath]) -> Vec<String> {
        let index =
            |paths: &'static [HeldPath]| -> BTreeMap<&'static StorePath, &'static HeldPath> {
                paths.iter().map(|held| (&held.path, held)).collect()
            };
        let (old, new) = (old.to_vec().leak(), new.to_vec().leak());
        let pairing = pair_paths(&index(old), &index(new));
        let mut lines: Vec<String> = new
            .iter()
            .map(|held| match pairing.old_of.get(&held.path) {
                Some(old) => format!("{} -> {}", old.path.name(), held.path.name()),
                None => format!("+ {}", held.path.name()),
            })
            .collect();
        lines.extend(
            pairing
                .removed
                .iter()
                .map(|held| format!("- {}", held.path.name())),
        );
        lines
    }

    #[test]
    fn packages_are_matched_by_name() {
        assert_eq!(
            paired(
                &[
                    held('0', "glibc-2.39", 1),
                    held('1', "gone-1", 1),
                    held('2', "same", 1)
                ],
                &[
                    held('3', "glibc-2.40", 1),
                    held('4', "come-1", 1),
                    held('2', "same", 1)
                ],
            ),
            [
                "glibc-2.39 -> glibc-2.40",
                "+ come-1",
                "same -> same",
                "- gone-1"
            ]
        );
    }

    #[test]
    fn of_several_versions_the_near_ones_belong_together() {
        assert_eq!(
            paired(
                &[
                    held('0', "nodejs-8.16.1", 1),
                    held('1', "nodejs-10.16.3", 1)
                ],
                &[
                    held('2', "nodejs-10.17.0", 1),
                    held('3', "nodejs-12.1.0", 1),
                    held('4', "nodejs-8.16.1", 1),
                ],
            ),
            [
                "nodejs-10.16.3 -> nodejs-10.17.0",
                "+ nodejs-12.1.0",
                "nodejs-8.16.1 -> nodejs-8.16.1",
            ]
        );
        assert_eq!(
            paired(
                &[held('0', "jdk-8", 1), held('1', "jdk-11", 1)],
                &[held('2', "jdk-17", 1)],
            ),
            ["jdk-11 -> jdk-17", "- jdk-8"]
        );
    }

    #[test]
    fn of_equal_names_those_of_like_size_belong_together() {
        let sizes = |old: &[u64], new: &[u64]| {
            let old: Vec<HeldPath> = "0123"
                .chars()
                .zip(old)
                .map(|(c, n)| held(c, "source", *n))
                .collect();
            let new: Vec<HeldPath> = "4567"
                .chars()
                .zip(new)
                .map(|(c, n)| held(c, "source", *n))
                .collect();
            let (old, new) = (old.leak(), new.leak());
            let index =
                |paths: &'static [HeldPath]| -> BTreeMap<&'static StorePath, &'static HeldPath> {
                    paths.iter().map(|held| (&held.path, held)).collect()
                };
            let pairing = pair_paths(&index(old), &index(new));
            let mut pairs: Vec<_> = new
                .iter()
                .filter_map(|held| {
                    Some((
                        pairing.old_of.get(&held.path)?.nar_size_bytes,
                        held.nar_size_bytes,
                    ))
                })
                .collect();
            pairs.sort_unstable();
            pairs
        };
        assert_eq!(
            sizes(&[10, 2000], &[2001, 11]),
            [(Some(10), Some(11)), (Some(2000), Some(2001))]
        );
    }
}
