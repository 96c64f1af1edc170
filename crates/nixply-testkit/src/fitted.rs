//! Closures of any size, shaped as real ones.
//!
//! [`random_closure`](crate::closures::random_closure) is hard on packers: half of its references go anywhere, so a path
//! of a large one depends on a good part of all others. Real closures are not like that, and how a packer's cost grows
//! with them is another question. What is drawn here was fitted to the union of 71 images of the channel pin
//! nixos-19.09-2019-10-10 (782 paths, 3,702 references; `fixtures/packing/SOURCES.md` says what that recording is):
//!
//! | quantile | 0 | 10 | 25 | 50 | 75 | 90 | 95 | 99 | 100 % |
//! |---|---|---|---|---|---|---|---|---|---|
//! | references of a path | 0 | 1 | 1 | 3 | 5 | 9 | 16 | 31 | 87 |
//! | direct users of a path | 0 | 1 | 1 | 2 | 3 | 6 | 14 | 51 | 561 |
//! | dependencies, direct or not, and itself | 1 | 2 | 4 | 13 | 20 | 51 | 107 | 171 | 306 |
//! | users, direct or not, and itself | 1 | 2 | 3 | 5 | 16 | 54 | 94 | 280 | 756 |
//! | height above paths without references | 0 | 1 | 2 | 4 | 7 | 11 | 13 | 17 | 23 |
//! | NAR size in kB | 6.4 | 64 | 216 | 702 | 3,161 | 27,488 | 67,792 | 197,653 | 907,385 |
//!
//! And: 72 paths without users, 25 without references; 52 % of the references are also implied by others; the largest
//! 1, 5 and 10 % of the paths hold 27, 65 and 84 % of the bytes; a tenth of the names end in `-dev`, `-bin` or `-lib`,
//! 35 paths share their name with another. Unions of 1 to 32 of the images have the same heights and nearly the same
//! numbers of dependencies (a mean of 15 at 180 paths, 16 at 320, 20 at 560, 22 at 782): a larger closure has more
//! packages, not deeper ones. So heights and sizes are drawn alike for any number of paths. References per path grow
//! slowly (4.0 at 180 paths, 4.7 at 782) and are a parameter.
//!
//! How: paths come in order of their height. Each above the lowest refers to one path right below its height that has
//! nearly the same place there, as the packages of one language do, by preference to one that has no user yet. Of its
//! other references 55 % are copied from those of what it refers to (which is why so many are implied), the others go to
//! the paths of height 1, a few of them far more often than the rest. One path is the C library, to which 72 % of all
//! others refer.

use crate::closures::{SplitMix, TestPath, closure};
use nixply_store::{Closure, PathIdx, StorePath};
use std::collections::BTreeMap;
use std::ops::Range;

/// How many of the 782 recorded paths have each height.
const PATHS_BY_HEIGHT: [usize; 24] = [
    25, 98, 105, 74, 134, 73, 40, 64, 38, 30, 21, 20, 16, 12, 9, 7, 5, 5, 1, 1, 1, 1, 1, 1,
];
/// The mean number of references at each height, times 10; the few paths above are taken together.
const REFERENCES_BY_HEIGHT: [u64; 15] =
    [0, 13, 23, 34, 25, 44, 61, 54, 63, 78, 98, 94, 144, 210, 266];
const REFERENCES_ABOVE: u64 = 112;
/// -ln(1 - x) in the middle of 32 equal parts of x, times 1,000: what quantiles of an exponential distribution are.
const EXPONENTIAL: [u64; 32] = [
    16, 48, 81, 116, 152, 189, 227, 267, 309, 352, 398, 445, 495, 548, 604, 662, 725, 792, 863,
    940, 1023, 1114, 1214, 1326, 1451, 1594, 1761, 1962, 2213, 2549, 3060, 4159,
];
/// Quantiles of the recorded NAR sizes: per mille, bytes.
const SIZES: [(usize, u64); 25] = [
    (0, 6_440),
    (50, 41_320),
    (100, 64_104),
    (150, 99_680),
    (200, 151_256),
    (250, 215_920),
    (300, 287_784),
    (350, 375_112),
    (400, 471_488),
    (450, 564_112),
    (500, 701_504),
    (550, 827_856),
    (600, 1_047_688),
    (650, 1_469_168),
    (700, 2_065_904),
    (750, 3_160_832),
    (800, 5_347_928),
    (850, 9_053_832),
    (900, 27_488_232),
    (950, 67_792_048),
    (970, 99_208_456),
    (980, 140_614_368),
    (990, 197_653_200),
    (995, 269_277_096),
    (1000, 907_384_896),
];

// What is drawn with which chance, per mille, and how; found by trying until the figures of the table came out.
const TO_C_LIBRARY: usize = 717;
const COPIED: usize = 550;
const SIZE_FOLLOWS_REFERENCES: usize = 370;
const NAMED_AFTER_REFERENCE: usize = 105;
const NAMED_AS_ANOTHER: usize = 24;
/// How often another path is drawn in place of one that has a user already.
const UNUSED_TRIES: usize = 3;
/// How many paths away a path is near.
const NEAR: usize = 8;
/// After how many draws of what is there already no more are tried.
const MISSES_MAX: usize = 16;

/// A closure of `n_paths` paths with `n_references` references, shaped as real ones (see the module). The same arguments
/// give the same closure on every machine. A path of the lowest height has no reference and one above has at least one,
/// so few references may become a few more, and as many as do not fit are left out.
///
/// ```
/// let closure = nixply_testkit::fitted::fitted_closure(7, 350, 1500);
/// assert_eq!(closure.paths().len(), 350);
/// assert_eq!(closure.reference_count(), 1500);
/// ```
///
/// # Panics
///
/// If `n_paths` is 0.
#[must_use]
pub fn fitted_closure(seed: u64, n_paths: usize, n_references: usize) -> Closure {
    closure(&fitted_paths(seed, n_paths, n_references))
}

/// The list behind [`fitted_closure`], lowest first: a path refers to earlier ones only.
#[must_use]
pub fn fitted_paths(seed: u64, n_paths: usize, n_references: usize) -> Vec<TestPath> {
    let mut random = SplitMix::new(seed);
    let level_starts = level_starts(n_paths);
    let degrees = degrees(&mut random, &level_starts, n_references);
    let references = references(&mut random, &level_starts, &degrees);
    let sizes = sizes(&mut random, &degrees);
    let names = names(&mut random, &references);
    names
        .into_iter()
        .zip(sizes)
        .zip(references)
        .map(|((name, nar_size_bytes), mut references)| {
            references.sort_unstable();
            TestPath {
                base_name: format!("{}-{name}", random.hash_part()),
                nar_size_bytes,
                references,
            }
        })
        .collect()
}

/// Many images' closures together, and of which paths each image is made.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// All paths of all sets.
    pub closure: Closure,
    /// The package sets by name, each by its roots. Together they reach every path.
    pub sets: BTreeMap<String, Vec<StorePath>>,
}

/// A fitted closure, dealt out to package sets as the 71 recorded images are: three paths are in nearly all of them (a
/// shell, core utilities, certificates), each path that nothing refers to is in one set, and a set in three has a tool that
/// others have too. With 11 paths a set, as recorded, a path is in as many sets as there: in one or two, a tenth of them
/// in 18 or more.
///
/// # Panics
///
/// If `n_paths` or `n_sets` is 0.
#[must_use]
pub fn fitted_fleet(seed: u64, n_paths: usize, n_references: usize, n_sets: usize) -> Fleet {
    let paths = fitted_paths(seed, n_paths, n_references);
    let mut random = SplitMix::new(seed ^ 0x5e75);
    let mut users = vec![0_usize; paths.len()];
    for &to in paths.iter().flat_map(|path| &path.references) {
        users[to] += 1;
    }
    let mut roots_of_set: Vec<Vec<usize>> = vec![Vec::new(); n_sets];
    let roots = (0..paths.len()).filter(|&path| users[path] == 0);
    for (n, root) in roots.enumerate() {
        let set = if n < n_sets { n } else { random.below(n_sets) };
        roots_of_set[set].push(root);
    }
    // What every image has is small and stands low.
    let mut common: Vec<usize> = (1..paths.len().min(n_paths / 4 + 1)).collect();
    common.sort_by_key(|&path| (std::cmp::Reverse(users[path]), path));
    common.truncate(3);
    let n_tools = (n_sets / 4).max(1);
    for roots in &mut roots_of_set {
        if random.below(1000) < 985 || roots.is_empty() {
            roots.extend(&common);
        }
        if random.below(3) == 0 {
            // The same few paths for all sets, from the middle of the heights.
            roots.push(paths.len() / 2 + random.below(n_tools) * paths.len() / (4 * n_tools));
        }
        if roots.is_empty() {
            roots.push(0);
        }
        roots.sort_unstable();
        roots.dedup();
    }
    let closure = closure(&paths);
    let position = positions_of(&closure, &paths);
    let store_path = |&path: &usize| closure.info(position[path]).path.clone();
    let sets = roots_of_set.iter().enumerate().map(|(n, roots)| {
        (
            format!("set-{n:04}"),
            roots.iter().map(store_path).collect(),
        )
    });
    Fleet {
        sets: sets.collect(),
        closure,
    }
}

/// Where each path of a list stands in its closure: in the order of base names.
fn positions_of(closure: &Closure, paths: &[TestPath]) -> Vec<PathIdx> {
    let mut by_name: Vec<usize> = (0..paths.len()).collect();
    by_name.sort_unstable_by_key(|&path| &paths[path].base_name);
    let mut positions = vec![PathIdx(0); paths.len()];
    for (path, idx) in by_name.into_iter().zip(closure.indices()) {
        positions[path] = idx;
    }
    positions
}

/// `nix path-info --json` of a list of paths in `/nix/store`, as Nix 2.19 and later write it (an object whose keys are
/// paths), with signatures, derivers and times, so that it is as long as a real one.
#[must_use]
pub fn path_info_json(paths: &[TestPath]) -> String {
    use std::fmt::Write as _;
    let mut order: Vec<usize> = (0..paths.len()).collect();
    order.sort_unstable_by(|&a, &b| paths[a].base_name.cmp(&paths[b].base_name));
    let mut random = SplitMix::new(0);
    let mut text = String::from("{");
    for path in order.into_iter().map(|n| &paths[n]) {
        if text.len() > 1 {
            text.push(',');
        }
        let nar_hash = crate::closures::nar_hash(&path.base_name);
        let (name, size) = (&path.base_name, path.nar_size_bytes);
        let deriver = random.hash_part();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            r#""/nix/store/{name}":{{"ca":null,"deriver":"/nix/store/{deriver}-{}.drv","narHash":"{nar_hash}","narSize":{size},"references":["#,
            &name[33..],
        );
        let mut references: Vec<&str> = path
            .references
            .iter()
            .map(|&to| paths[to].base_name.as_str())
            .collect();
        references.sort_unstable();
        for (n, reference) in references.into_iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(text, r#"{comma}"/nix/store/{reference}""#);
        }
        let signature = format!("{}{}", random.hash_part(), random.hash_part());
        let _ = write!(
            text,
            r#"],"registrationTime":{},"signatures":["cache.nixos.org-1:{signature}{}=="],"ultimate":false}}"#,
            1_600_000_000 + random.below(100_000_000),
            &signature[..22],
        );
    }
    text.push('}');
    text
}

/// The position of the first path of each height, and at last the number of paths. No height in between is empty.
fn level_starts(n_paths: usize) -> Vec<usize> {
    assert!(n_paths > 0, "a closure has at least one path");
    let recorded: usize = PATHS_BY_HEIGHT.iter().sum();
    let mut starts = vec![0];
    let mut below = 0;
    for paths in PATHS_BY_HEIGHT {
        below += paths;
        let end = (n_paths * below).div_ceil(recorded);
        if Some(&end) != starts.last() {
            starts.push(end);
        }
    }
    starts
}

/// How many references each path has.
fn degrees(random: &mut SplitMix, level_starts: &[usize], n_references: usize) -> Vec<usize> {
    let mut weights: Vec<u64> = Vec::new();
    for (height, bounds) in level_starts.windows(2).enumerate() {
        let mean = REFERENCES_BY_HEIGHT
            .get(height)
            .copied()
            .unwrap_or(REFERENCES_ABOVE);
        for _ in bounds[0]..bounds[1] {
            // The first reference is there anyway.
            let more = mean.saturating_sub(10) * EXPONENTIAL[random.below(32)];
            weights.push(more);
        }
    }
    let n_paths = weights.len();
    let n_lowest = level_starts[1];
    let mut left = n_references.saturating_sub(n_paths - n_lowest);
    let mut weight_left: u64 = weights.iter().sum();
    let mut degrees = vec![0; n_paths];
    for height in 1..level_starts.len() - 1 {
        let start = level_starts[height];
        for path in start..level_starts[height + 1] {
            let share = (left as u128 * u128::from(weights[path]) + u128::from(weight_left) / 2)
                .checked_div(u128::from(weight_left))
                .map_or(0, |share| usize::try_from(share).unwrap_or(0));
            // Only what is lower can be referred to.
            let more = share.min(start - 1).min(left);
            degrees[path] = 1 + more;
            left -= more;
            weight_left -= weights[path];
        }
    }
    degrees
}

/// What each path refers to, in no order.
fn references(random: &mut SplitMix, level_starts: &[usize], degrees: &[usize]) -> Vec<Vec<usize>> {
    let n_paths = degrees.len();
    let mut references: Vec<Vec<usize>> = vec![Vec::new(); level_starts[1]];
    references.reserve(n_paths);
    let mut is_used = vec![false; n_paths];
    for height in 1..level_starts.len() - 1 {
        let level = level_starts[height]..level_starts[height + 1];
        let below = level_starts[height - 1]..level_starts[height];
        // The lowest with references, or below them the lowest of all.
        let core = if height == 1 {
            below.clone()
        } else {
            level_starts[1]..level_starts[2]
        };
        for path in level.clone() {
            let mut own: Vec<usize> = Vec::with_capacity(degrees[path]);
            let place = (path - level.start, level.len());
            let first = near_unused(random, place, &below, &is_used);
            own.push(first);
            if degrees[path] > 1 && first != 0 && random.below(1000) < TO_C_LIBRARY {
                own.push(0);
            }
            let mut misses = 0;
            while own.len() < degrees[path] {
                let via = &references[own[random.below(own.len())]];
                let mut to = if random.below(1000) >= COPIED {
                    few(random, &core)
                } else if via.is_empty() {
                    let height = random.below(height);
                    let lower = level_starts[height]..level_starts[height + 1];
                    near_unused(random, place, &lower, &is_used)
                } else {
                    via[random.below(via.len())]
                };
                // A path with many references has few left to draw: then the next free one will do.
                while misses > MISSES_MAX && own.contains(&to) {
                    to = (to + 1) % level.start;
                }
                if own.contains(&to) {
                    misses += 1;
                } else {
                    own.push(to);
                }
            }
            for &to in &own {
                is_used[to] = true;
            }
            references.push(own);
        }
    }
    references
}

/// A path of another level that has nearly the same place in it, rather one without users.
fn near_unused(
    random: &mut SplitMix,
    place: (usize, usize),
    level: &Range<usize>,
    is_used: &[bool],
) -> usize {
    let mut found = near(random, place, level, is_used.len());
    for _ in 0..UNUSED_TRIES {
        if is_used[found] {
            found = near(random, place, level, is_used.len());
        }
    }
    found
}

/// A path of another level that has nearly the same place in it.
fn near(
    random: &mut SplitMix,
    (place, len): (usize, usize),
    level: &Range<usize>,
    n_paths: usize,
) -> usize {
    // In parts of the level's length, moved by up to as much as eight paths are of all.
    const PARTS: usize = 1 << 32;
    let part = |n: usize, of: usize| n * PARTS / of;
    let middle = part(place, len) + part(1, 2 * len);
    let moved = part(2 * NEAR * random.below(1 << 16) / (1 << 16), n_paths);
    let at = (middle + moved).saturating_sub(part(NEAR, n_paths));
    level.start + at.min(PARTS - 1) * level.len() / PARTS
}

/// One of many paths, the first ones most often: each twice as long piece has the same chance.
fn few(random: &mut SplitMix, paths: &Range<usize>) -> usize {
    let pieces = usize::try_from(usize::BITS - paths.len().leading_zeros()).unwrap_or(1);
    loop {
        let piece = 1 << random.below(pieces);
        let rank = piece - 1 + random.below(piece);
        if rank < paths.len() {
            return paths.start + rank;
        }
    }
}

/// NAR sizes by their quantiles; some of them larger where there are more references.
fn sizes(random: &mut SplitMix, degrees: &[usize]) -> Vec<u64> {
    let n_paths = degrees.len();
    let mut by_degree: Vec<(usize, u64, usize)> = (0..n_paths)
        .map(|path| (degrees[path], random.next(), path))
        .collect();
    by_degree.sort_unstable();
    let mut sizes = vec![0; n_paths];
    for (rank, (_, _, path)) in by_degree.into_iter().enumerate() {
        let at = if random.below(1000) < SIZE_FOLLOWS_REFERENCES {
            rank * 1_000_000 / n_paths
        } else {
            random.below(1_000_000)
        };
        // The last point is never drawn, so there is one above.
        let above = SIZES.partition_point(|&(mark, _)| mark * 1000 <= at);
        let ((low_at, low), (high_at, high)) = (SIZES[above - 1], SIZES[above]);
        let part = (at - low_at * 1000) as u64;
        let whole = ((high_at - low_at) * 1000) as u64;
        // NAR sizes are multiples of 8.
        sizes[path] = (low + (high - low) * part / whole) / 8 * 8;
    }
    sizes
}

const SYLLABLES: [&str; 24] = [
    "ba", "co", "di", "fu", "ge", "ka", "li", "mo", "nu", "pe", "qua", "ri", "sta", "to", "u",
    "ve", "wi", "xor", "ya", "zen", "lib", "net", "core", "py",
];
/// As often as recorded: 30 to 29 to 21.
const OUTPUTS: [&str; 8] = ["dev", "dev", "dev", "bin", "bin", "bin", "lib", "lib"];

/// Names: of syllables and a version; of a reference with the name of an output; of another path.
fn names(random: &mut SplitMix, references: &[Vec<usize>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(references.len());
    for own in references {
        let chance = random.below(1000);
        let name = if chance < NAMED_AFTER_REFERENCE && !own.is_empty() {
            let of = &names[own[random.below(own.len())]];
            let package = OUTPUTS
                .iter()
                .find_map(|output| of.strip_suffix(&format!("-{output}")))
                .unwrap_or(of);
            format!("{package}-{}", OUTPUTS[random.below(OUTPUTS.len())])
        } else if chance < NAMED_AFTER_REFERENCE + NAMED_AS_ANOTHER && !names.is_empty() {
            names[random.below(names.len())].clone()
        } else {
            let syllables = 2 + random.below(4);
            let mut name = String::new();
            for _ in 0..syllables {
                name.push_str(SYLLABLES[random.below(SYLLABLES.len())]);
            }
            let version = (random.below(10), random.below(30), random.below(10));
            format!("{name}-{}.{}.{}", version.0, version.1, version.2)
        };
        names.push(name);
    }
    names
}
