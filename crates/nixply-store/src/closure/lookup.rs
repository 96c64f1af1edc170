//! Positions by name, for the millions of references of a big closure.

use super::PathInfo;
use crate::base32;

/// The hash part's digits that pick a bucket. Of 32,768 buckets, 100,000 paths fill each with three.
const BUCKET_DIGITS: usize = 3;

const BUCKETS: usize = 1 << (5 * BUCKET_DIGITS);

/// Finds positions in a sorted list of paths.
///
/// A hash part is a hash already, so its first digits spread paths evenly over buckets, and as digits sort by their
/// values, a bucket is a piece of the sorted list. A piece is searched by halves, first by a number that stands for the
/// first eight digits: names lie all over memory, and only the right one should be fetched from there. Names that were
/// made to share a bucket cost no more than a search by halves in the whole list.
pub(super) struct Lookup<'a> {
    names: Vec<&'a str>,
    keys: Vec<u64>,
    bucket_starts: Vec<usize>,
}

impl<'a> Lookup<'a> {
    /// `paths` are in byte order of their base names.
    pub(super) fn new(paths: &'a [PathInfo]) -> Self {
        let names: Vec<&str> = paths.iter().map(|info| info.path.base_name()).collect();
        let mut bucket_starts = vec![0; BUCKETS + 1];
        for bucket in names.iter().filter_map(|name| bucket(name)) {
            bucket_starts[bucket + 1] += 1;
        }
        for n in 0..BUCKETS {
            bucket_starts[n + 1] += bucket_starts[n];
        }
        Self {
            keys: names.iter().map(|name| key(name)).collect(),
            names,
            bucket_starts,
        }
    }

    /// The position of a base name, which may be any text.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        let bucket = bucket(name)?;
        let (start, end) = (self.bucket_starts[bucket], self.bucket_starts[bucket + 1]);
        let key = key(name);
        let first = start + self.keys[start..end].partition_point(|&k| k < key);
        let same = self.keys[first..end].partition_point(|&k| k == key);
        let position = first + self.names[first..first + same].binary_search(&name).ok()?;
        u32::try_from(position).ok()
    }
}

fn bucket(name: &str) -> Option<usize> {
    let digits = name.as_bytes().get(..BUCKET_DIGITS)?;
    digits.iter().try_fold(0, |bucket, &digit| {
        Some(bucket * 32 + usize::from(base32::value(digit)?))
    })
}

/// The first eight bytes as a number that sorts as they do.
fn key(name: &str) -> u64 {
    name.as_bytes()
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NarHash, StorePath};

    #[test]
    fn every_name_is_found_and_no_other() {
        let hash_parts = [
            "0000000000000000000000000000000z",
            "00000000000000000000000000000010",
            "000000001000000000000000000000zz",
            "00100000000000000000000000000000",
            "zzz00000000000000000000000000000",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
        ];
        let names = hash_parts.map(|hash| format!("{hash}-a"));
        let paths: Vec<PathInfo> = names
            .iter()
            .map(|name| PathInfo {
                path: StorePath::new(name).unwrap(),
                nar_hash: NarHash::from_bytes([0; 32]),
                nar_size_bytes: 0,
                ca: None,
                deriver: None,
                signatures: Vec::new(),
                registration_time_secs: None,
            })
            .collect();
        let lookup = Lookup::new(&paths);
        for (position, name) in (0_u32..).zip(&names) {
            assert_eq!(lookup.find(name), Some(position), "{name}");
            assert_eq!(lookup.find(&format!("{name}a")), None);
            assert_eq!(lookup.find(&name[..name.len() - 1]), None);
        }
        for other in [
            "",
            "00",
            "000",
            "00000000",
            "zzzzzzzz",
            "eee",
            "üüüü",
            "/nix/store/x",
        ] {
            assert_eq!(lookup.find(other), None, "{other}");
        }
    }
}
