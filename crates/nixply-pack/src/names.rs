//! Orders by name in which the hash part comes last, so that ties do not move when hashes do.
//!
//! nixpkgs has two of them, and they differ: one compares a name that is the beginning of another as if a `-` and the
//! store directory followed it, the other compares the names alone. Both split the whole path at its first `-`, which
//! is the one behind the hash part unless the store directory has one.

use nixply_store::Closure;

/// A path's place in an order; index with the position of the path.
pub(crate) type Ranks = Vec<u32>;

/// How many bytes of a text are compared before the text itself is fetched.
const FIRST_BYTES: usize = 16;

/// By the text with its first part moved to the end: `/nix/store/HASH-foo-1.0` counts as `foo-1.0-/nix/store/HASH`
/// (nixpkgs, `references-by-popularity/closure-graph.py`, `package_name`).
pub(crate) fn moved_hash_ranks(closure: &Closure) -> Ranks {
    let store_dir = closure.store_dir().as_str();
    let dash = store_dir.split_once('-');
    let moved = |path: u32| {
        let path = &closure.paths()[path as usize].path;
        // What lies between the first `-` and the base name is the same in all paths and decides nothing.
        let (rest, first, hash_part) = match dash {
            None => (path.name(), store_dir, path.hash_part()),
            Some((first, _)) => (path.base_name(), first, ""),
        };
        let slash = if dash.is_none() { "/" } else { "" };
        let parts = [rest, "-", first, slash, hash_part];
        parts.into_iter().flat_map(str::bytes)
    };
    let mut order: Vec<([u8; FIRST_BYTES], u32)> = closure
        .indices()
        .map(|path| {
            let mut first = [0; FIRST_BYTES];
            for (to, byte) in first.iter_mut().zip(moved(path.0)) {
                *to = byte;
            }
            (first, path.0)
        })
        .collect();
    order.sort_unstable_by(|(first_a, a), (first_b, b)| {
        first_a.cmp(first_b).then_with(|| moved(*a).cmp(moved(*b)))
    });
    ranks(order.into_iter().map(|(_, path)| path))
}

/// By name, then hash (nixpkgs, `docker/auto-layer.py`, `path_key`).
pub(crate) fn name_ranks(closure: &Closure) -> Ranks {
    if closure.store_dir().as_str().contains('-') {
        // Split in the store directory, what counts as the name ends in the base name, and paths stand in that order.
        return ranks(closure.indices().map(|path| path.0));
    }
    ranks(closure.by_name().into_iter().map(|path| path.0))
}

/// Each path's place in a list of all.
fn ranks(order: impl ExactSizeIterator<Item = u32>) -> Ranks {
    let mut ranks = vec![0; order.len()];
    for (rank, path) in (0..).zip(order) {
        ranks[path as usize] = rank;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_store::{NarHash, PathInfo, StoreDir, StorePath};

    /// The orders as the two scripts have them.
    fn by_the_letter<K: Ord>(closure: &Closure, key: impl Fn(&str, &str) -> K) -> Ranks {
        let text = |path: u32| {
            let path = &closure.paths()[path as usize].path;
            closure.store_dir().display(path)
        };
        let mut order: Vec<u32> = closure.indices().map(|path| path.0).collect();
        order.sort_by_key(|&path| {
            let text = text(path);
            let (first, rest) = text.split_once('-').unwrap();
            key(first, rest)
        });
        ranks(order.into_iter())
    }

    #[test]
    fn orders_are_those_of_the_scripts_in_any_store_directory() {
        let names = [
            "a",
            "a+b",
            "a-",
            "a-1",
            "a.b",
            "aa",
            "A",
            "_",
            "a-long-name-that-goes-on",
            "a-long-name-that-goes-on+",
            "a-long-name-that-goes-on-and-on",
            "a-long-name-that-",
            "-",
            "-nix",
        ];
        for store_dir in ["/nix/store", "/gnu-like/store", "/s-"] {
            let mut records = Vec::new();
            for (n, name) in names.iter().enumerate() {
                for hash in ['0', '5', 'z'] {
                    let digit = char::from(b"0123456789abcd"[n]);
                    let hash_part = format!("{hash}{digit}{}", "1".repeat(30));
                    let info = PathInfo {
                        path: StorePath::new(&format!("{hash_part}-{name}")).unwrap(),
                        nar_hash: NarHash::from_bytes([0; 32]),
                        nar_size_bytes: 1,
                        ca: None,
                        deriver: None,
                        signatures: Vec::new(),
                        registration_time_secs: None,
                    };
                    records.push((info, Vec::new()));
                }
            }
            let closure = Closure::new(StoreDir::new(store_dir).unwrap(), records).unwrap();
            let moved = by_the_letter(&closure, |first, rest| format!("{rest}-{first}"));
            assert_eq!(moved_hash_ranks(&closure), moved, "{}", closure.store_dir());
            let plain = by_the_letter(&closure, |first, rest| (rest.to_owned(), first.to_owned()));
            assert_eq!(name_ranks(&closure), plain, "{}", closure.store_dir());
        }
    }
}
