//! Positions by name, for the millions of references of a big closure.

use super::{PathIdx, PathInfo};
use crate::base32;

/// How many digits of a hash part are looked at before the name itself.
const KEY_DIGITS: usize = 12;
/// Five bits each.
const KEY_BITS: u32 = 60;

/// Finds positions in a sorted list of paths.
///
/// A hash part is a hash already, so its first bits spread paths evenly over buckets, two buckets for each path or more,
/// and as digits sort by their values, a bucket is a piece of the sorted list. A piece is searched by halves, first by a
/// number that stands for the first twelve digits: names lie all over memory, and only the right one should be fetched
/// from there. Names that were made to share a bucket cost no more than a search by halves in the whole list.
pub(super) struct Lookup<'a> {
    paths: &'a [PathInfo],
    keys: Vec<u64>,
    /// How far a key is shifted to be the number of a bucket.
    shift: u32,
    bucket_starts: Vec<u32>,
}

impl<'a> Lookup<'a> {
    /// `paths` are in byte order of their base names, and no more than 32 bits can count.
    pub(super) fn new(paths: &'a [PathInfo]) -> Self {
        let keys: Vec<u64> = paths
            .iter()
            .map(|info| key(info.path.base_name()).unwrap_or(0))
            .collect();
        let bits = paths.len().next_power_of_two().ilog2() + 1;
        let shift = KEY_BITS - bits;
        let mut bucket_starts = vec![0; (1 << bits) + 1];
        for key in &keys {
            bucket_starts[bucket(key >> shift) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut bucket_starts {
            sum += *start;
            *start = sum;
        }
        Self {
            paths,
            keys,
            shift,
            bucket_starts,
        }
    }

    /// The position of a base name, which may be any text.
    pub(super) fn find(&self, name: &str) -> Option<PathIdx> {
        let key = key(name)?;
        let bucket = bucket(key >> self.shift);
        let start = self.bucket_starts[bucket] as usize;
        let end = self.bucket_starts[bucket + 1] as usize;
        let first = start + self.keys[start..end].partition_point(|&k| k < key);
        let same = self.keys[first..end].partition_point(|&k| k == key);
        let same =
            self.paths[first..first + same].binary_search_by(|info| info.path.as_ref().cmp(name));
        u32::try_from(first + same.ok()?).ok().map(PathIdx)
    }
}

fn bucket(first_bits: u64) -> usize {
    usize::try_from(first_bits).unwrap_or(usize::MAX)
}

/// The first digits as a number, which sorts as they do.
fn key(name: &str) -> Option<u64> {
    let digits: &[u8; KEY_DIGITS] = name.as_bytes().first_chunk()?;
    digits.iter().try_fold(0, |key, &digit| {
        Some(key << 5 | u64::from(base32::value(digit)?))
    })
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
            assert_eq!(lookup.find(name), Some(PathIdx(position)), "{name}");
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
