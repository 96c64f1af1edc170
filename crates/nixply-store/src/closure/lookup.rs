//! Positions by name, for the millions of references of a big closure.

use super::{PathIdx, PathInfo};
use crate::base32;

/// How many of a hash part's digits can tell a bucket: enough for two buckets for each of half a million paths.
const BUCKET_DIGITS: usize = 4;
const BUCKET_BITS_MAX: u32 = 20;

/// Finds positions in a sorted list of paths.
///
/// A hash part is a hash already, so its first bits spread paths evenly over buckets, and as digits sort by their values,
/// a bucket is a piece of the sorted list. A piece is searched by halves, first by a number that stands for the first
/// eight digits: names lie all over memory, and only the right one should be fetched from there. Names that were made
/// to share a bucket cost no more than a search by halves in the whole list.
pub(super) struct Lookup<'a> {
    names: Vec<&'a str>,
    keys: Vec<u64>,
    /// How far the number of the first digits is shifted to be that of a bucket.
    shift: u32,
    bucket_starts: Vec<u32>,
}

impl<'a> Lookup<'a> {
    /// `paths` are in byte order of their base names, and no more than 32 bits can count.
    pub(super) fn new(paths: &'a [PathInfo]) -> Self {
        let names: Vec<&str> = paths.iter().map(|info| info.path.base_name()).collect();
        let bits = (paths.len().next_power_of_two().ilog2() + 1).min(BUCKET_BITS_MAX);
        let shift = BUCKET_BITS_MAX - bits;
        let mut bucket_starts = vec![0; (1 << bits) + 1];
        for digits in names.iter().filter_map(|name| first_digits(name)) {
            bucket_starts[(digits >> shift) + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut bucket_starts {
            sum += *start;
            *start = sum;
        }
        Self {
            keys: names.iter().map(|name| key(name)).collect(),
            names,
            shift,
            bucket_starts,
        }
    }

    /// Where a base name stands if it is there and no other shares its first digits. No name is looked at, so that many
    /// guesses in a row wait for memory together.
    pub(super) fn guess(&self, name: &str) -> usize {
        let Some((start, end)) = self.bucket(name) else {
            return usize::MAX;
        };
        let key = key(name);
        let before = self.keys[start..end].iter().take_while(|&&k| k < key);
        start + before.count()
    }

    /// The position of a base name, which may be any text, with a guess at it.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<PathIdx> {
        let position = if self.names.get(guess) == Some(&name) {
            guess
        } else {
            let (start, end) = self.bucket(name)?;
            let key = key(name);
            let first = start + self.keys[start..end].partition_point(|&k| k < key);
            let same = self.keys[first..end].partition_point(|&k| k == key);
            first + self.names[first..first + same].binary_search(&name).ok()?
        };
        u32::try_from(position).ok().map(PathIdx)
    }

    /// The piece of the list that a name would stand in.
    fn bucket(&self, name: &str) -> Option<(usize, usize)> {
        let bucket = first_digits(name)? >> self.shift;
        let [start, end] = [bucket, bucket + 1].map(|n| self.bucket_starts[n] as usize);
        Some((start, end))
    }
}

/// The first digits as a number.
fn first_digits(name: &str) -> Option<usize> {
    let digits: &[u8; BUCKET_DIGITS] = name.as_bytes().first_chunk()?;
    digits.iter().try_fold(0, |number, &digit| {
        Some(number << 5 | usize::from(base32::value(digit)?))
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
        let find = |name: &str| lookup.find(name, lookup.guess(name));
        for (position, name) in (0_u32..).zip(&names) {
            assert_eq!(find(name), Some(PathIdx(position)), "{name}");
            assert_eq!(find(&format!("{name}a")), None);
            assert_eq!(find(&name[..name.len() - 1]), None);
            for guess in [0, names.len() - 1, names.len(), usize::MAX] {
                assert_eq!(lookup.find(name, guess), Some(PathIdx(position)));
            }
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
            assert_eq!(find(other), None, "{other}");
        }
    }
}
