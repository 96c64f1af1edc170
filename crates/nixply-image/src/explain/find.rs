//! What people call a store path: itself, its base name, its package.

use crate::contents::ImageContents;
use crate::package::Package;
use nixply_store::StorePath;

/// How many names are suggested for one that nothing has.
const MAX_SUGGESTIONS: usize = 5;

/// The fewest digits that stand for a hash. No word of five letters is likely to be the beginning of one by chance: of a
/// thousand paths, with one in 30 000.
pub const MIN_HASH_DIGITS: usize = 5;

/// What a name stands for in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathQuery {
    /// One path.
    Found(StorePath),
    /// Several, in the order of their names.
    Ambiguous(Vec<StorePath>),
    /// None; names that look alike, the nearest first.
    Unknown(Vec<String>),
}

/// Finds the path that a text means: an absolute path in or below the store directory, a base name, the beginning of a
/// hash part (at least [`MIN_HASH_DIGITS`]), a name with its version, a package's name, or that with the beginning of a
/// version.
#[must_use]
pub fn find_path(contents: &ImageContents, text: &str) -> PathQuery {
    let mut paths: Vec<&StorePath> = contents.paths().map(|held| &held.path).collect();
    paths.sort_unstable_by_key(|path| (path.name(), path.hash_part()));
    paths.dedup();
    let base_name = text
        .strip_prefix(contents.store_dir.as_str())
        .and_then(|rest| rest.strip_prefix('/'))
        .map(|rest| rest.split('/').next().unwrap_or(rest));
    let text = base_name.unwrap_or(text).trim_end_matches('/');
    let wanted = Package::of_name(text);
    let ways: [&dyn Fn(&StorePath) -> bool; 5] = [
        &|path| path.base_name() == text,
        &|path| path.name() == text,
        &|path| Package::of_name(path.name()).name == text,
        &|path| text.len() >= MIN_HASH_DIGITS && path.base_name().starts_with(text),
        &|path| {
            let package = Package::of_name(path.name());
            !wanted.version.is_empty()
                && package.name == wanted.name
                && package.version.starts_with(&wanted.version)
        },
    ];
    for is_meant in ways {
        let found: Vec<&StorePath> = paths
            .iter()
            .copied()
            .filter(|path| is_meant(path))
            .collect();
        match found.as_slice() {
            [] => {}
            [only] => return PathQuery::Found((*only).clone()),
            several => return PathQuery::Ambiguous(several.iter().copied().cloned().collect()),
        }
    }
    PathQuery::Unknown(suggestions(&paths, text))
}

/// Package names that hold the text, or are few edits away from it.
fn suggestions(paths: &[&StorePath], text: &str) -> Vec<String> {
    // A store path of another image is most likely meant as its package.
    let name = StorePath::new(text).map_or_else(|_| text.to_owned(), |path| path.name().to_owned());
    let wanted = Package::of_name(&name).name.to_lowercase();
    let most = (wanted.chars().count() / 3).max(1);
    let mut near: Vec<(usize, String)> = paths
        .iter()
        .map(|path| Package::of_name(path.name()).name)
        .filter_map(|package| {
            let distance = edit_distance(&package.to_lowercase(), &wanted);
            let holds = !wanted.is_empty() && package.to_lowercase().contains(&wanted);
            (holds || distance <= most).then_some((distance, package))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter()
        .map(|(_, package)| package)
        .take(MAX_SUGGESTIONS)
        .collect()
}

/// The least number of characters to add, take away or replace (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (n, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = n + 1;
        for (m, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, distance) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("", "ab", 2),
            ("glibc", "libc", 1),
        ] {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
            assert_eq!(edit_distance(b, a), distance, "{b} {a}");
        }
    }
}
