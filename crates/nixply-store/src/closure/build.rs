//! From records to a checked closure.

use super::edges::Edges;
use super::error::{ClosureError, MISSING_KEPT_MAX, MissingReference};
use super::lookup::Lookup;
use super::order::find_cycle;
use super::{Closure, PathIdx, PathInfo};
use crate::{StoreDir, StorePath};

/// Positions and counts have 32 bits; the greatest number marks what is not there.
const COUNT_MAX: usize = u32::MAX as usize - 1;

/// Makes a closure of records whose references are base names in any text form: a reader hands over slices of its
/// input, of which only those that are not in the closure need to be looked at as names.
pub(crate) fn build<R: AsRef<str>>(
    store_dir: StoreDir,
    mut records: Vec<(PathInfo, Vec<R>)>,
) -> Result<Closure, ClosureError> {
    if records.is_empty() {
        return Err(ClosureError::Empty);
    }
    records.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
    if records
        .windows(2)
        .any(|pair| pair[0].0.path == pair[1].0.path)
    {
        records = merge_duplicates(records)?;
    }
    let (paths, references): (Vec<PathInfo>, Vec<Vec<R>>) = records.into_iter().unzip();
    check_count("store paths", paths.len())?;
    check_total_size(&paths)?;
    let self_references = (paths.iter().zip(&references))
        .map(|(info, names)| refers_to(names, &info.path))
        .collect();
    let references = resolve(&paths, references)?;
    check_count("references", references.count())?;
    if let Some(cycle) = find_cycle(&references) {
        let cycle = cycle.into_iter().map(|idx| &paths[idx.as_usize()].path);
        return Err(ClosureError::Cycle {
            cycle: cycle.cloned().collect(),
        });
    }
    Ok(Closure {
        store_dir,
        paths,
        referrers: references.reversed(),
        references,
        self_references,
    })
}

fn refers_to<R: AsRef<str>>(names: &[R], path: &StorePath) -> bool {
    names.iter().any(|name| name.as_ref() == path.base_name())
}

fn check_count(what: &'static str, count: usize) -> Result<(), ClosureError> {
    if count > COUNT_MAX {
        return Err(ClosureError::TooMany { what, count });
    }
    Ok(())
}

fn check_total_size(paths: &[PathInfo]) -> Result<(), ClosureError> {
    paths
        .iter()
        .try_fold(0_u64, |sum, info| sum.checked_add(info.nar_size_bytes))
        .map(|_| ())
        .ok_or(ClosureError::TooLarge)
}

/// Merges records of the same path, which stand side by side. They must agree in what planning uses.
fn merge_duplicates<R: AsRef<str>>(
    records: Vec<(PathInfo, Vec<R>)>,
) -> Result<Vec<(PathInfo, Vec<R>)>, ClosureError> {
    let mut merged: Vec<(PathInfo, Vec<R>)> = Vec::with_capacity(records.len());
    for (info, references) in records {
        match merged.last_mut() {
            Some((kept, kept_references)) if kept.path == info.path => {
                let field = if kept.nar_hash != info.nar_hash {
                    Some("narHash")
                } else if kept.nar_size_bytes != info.nar_size_bytes {
                    Some("narSize")
                } else if other_paths(&info.path, &references)
                    != other_paths(&info.path, kept_references)
                {
                    Some("references")
                } else {
                    None
                };
                if let Some(field) = field {
                    let path = info.path;
                    return Err(ClosureError::Disagree { path, field });
                }
                merge_metadata(kept, info);
            }
            _ => merged.push((info, references)),
        }
    }
    Ok(merged)
}

/// References as a set, without the path itself.
fn other_paths<'a, R: AsRef<str>>(path: &StorePath, references: &'a [R]) -> Vec<&'a str> {
    let mut names: Vec<&str> = references.iter().map(AsRef::as_ref).collect();
    names.retain(|name| *name != path.base_name());
    names.sort_unstable();
    names.dedup();
    names
}

/// Keeps what either record knows; of two values the lesser, so that the order of records does not matter.
fn merge_metadata(kept: &mut PathInfo, other: PathInfo) {
    fn lesser<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
    kept.ca = lesser(kept.ca.take(), other.ca);
    kept.deriver = lesser(kept.deriver.take(), other.deriver);
    kept.registration_time_secs = lesser(kept.registration_time_secs, other.registration_time_secs);
    kept.signatures.extend(other.signatures);
    kept.signatures.sort_unstable();
    kept.signatures.dedup();
}

/// The positions that each path refers to.
fn resolve<R: AsRef<str>>(
    paths: &[PathInfo],
    references: Vec<Vec<R>>,
) -> Result<Edges, ClosureError> {
    let positions = Lookup::new(paths);
    let mut missing = Missing::default();
    let mut edges = Edges::with_capacity(paths.len(), references.iter().map(Vec::len).sum());
    let mut guesses = Vec::new();
    for ((own, info), references) in (0..).map(PathIdx).zip(paths).zip(references) {
        let mut not_found = Vec::new();
        guesses.clear();
        guesses.extend(references.iter().map(|name| positions.guess(name.as_ref())));
        let names = references.iter().map(AsRef::as_ref).zip(&guesses);
        let targets = names.filter_map(|(name, &guess)| {
            let position = positions.find(name, guess);
            if position.is_none() {
                not_found.push(name);
            }
            position
        });
        edges.push(own, targets);
        missing.add(&info.path, not_found)?;
    }
    if missing.count > 0 {
        return Err(ClosureError::MissingReferences {
            references: missing.first,
            count: missing.count,
        });
    }
    Ok(edges)
}

/// Missing references, counted, of which the first few are kept.
#[derive(Default)]
struct Missing {
    first: Vec<MissingReference>,
    count: usize,
}

impl Missing {
    fn add(&mut self, referrer: &StorePath, mut names: Vec<&str>) -> Result<(), ClosureError> {
        names.sort_unstable();
        names.dedup();
        for name in names {
            let missing = StorePath::new(name).map_err(|error| ClosureError::ReferenceName {
                referrer: referrer.clone(),
                error,
            })?;
            self.count += 1;
            if self.first.len() < MISSING_KEPT_MAX {
                self.first.push(MissingReference {
                    referrer: referrer.clone(),
                    missing,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_positions_are_refused() {
        assert_eq!(check_count("references", COUNT_MAX), Ok(()));
        let count = u32::MAX as usize;
        let error = check_count("store paths", count).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the closure has 4294967295 store paths, which is more than nixply can count"
        );
    }
}
