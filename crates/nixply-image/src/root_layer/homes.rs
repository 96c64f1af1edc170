//! Directories in users' homes that are there only because something lies below them.
//!
//! A home that is not made for its user (`create_home`) may be a directory of the system, such as `/srv/www`, and then what
//! lies in it is not the user's.

use crate::linking::{LinkKind, LinkTree};
use crate::root::Account;
use crate::{FileOrigin, RootFileSpec, RootFileType};
use std::collections::{BTreeMap, BTreeSet};

/// Gives each such directory to its user, so that programs can write beside what is there.
pub(super) fn give_homes_to_users(
    files: &mut Vec<RootFileSpec>,
    tree: &mut LinkTree,
    users: &[Account],
) {
    let homes: Vec<(&str, &Account)> = users
        .iter()
        .filter(|user| user.uid != 0 && user.owns_home)
        .filter_map(|user| Some((user.home.strip_prefix('/')?, user)))
        .filter(|(home, _)| !home.is_empty())
        .collect();
    let listed: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let paths = files
        .iter()
        .map(|file| file.path.as_str())
        .chain(tree.entries.keys().map(String::as_str));
    let mut implied: BTreeMap<String, &Account> = BTreeMap::new();
    for path in paths {
        // The innermost home, where one lies in another.
        let home = homes
            .iter()
            .filter(|(home, _)| is_in(path, home))
            .max_by_key(|(home, _)| home.len());
        let Some((home, user)) = home else {
            continue;
        };
        let ends = path.match_indices('/').map(|(end, _)| end);
        let ends = ends.filter(|end| *end >= home.len());
        let is_directory = tree
            .entries
            .get(path)
            .is_some_and(|entry| entry.kind == LinkKind::Directory);
        for directory in ends
            .map(|end| &path[..end])
            .chain(is_directory.then_some(path))
        {
            if !listed.contains(directory) {
                implied.insert(directory.to_owned(), user);
            }
        }
    }
    for (path, user) in implied {
        tree.entries.remove(&path);
        files.push(RootFileSpec {
            mode: Some("0755".to_owned()),
            uid: user.uid,
            gid: user.gid,
            origin: FileOrigin::Implied,
            ..RootFileSpec::new(path, RootFileType::Directory)
        });
    }
}

fn is_in(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
