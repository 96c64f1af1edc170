//! Putting root files over a base image: through its symbolic links, and without changing its directories.

use super::error::LinkProblem;
use super::follow::{Followed, follow};
use super::{BaseError, BaseTree};
use crate::LinkedContent;
use crate::root_file::{RootFileSpec, RootFileType};
use nixply_layer::RootFileKind;
use nixply_store::StoreDir;
use std::collections::{BTreeMap, BTreeSet};

/// Checks that no link of the base stands where the store directory or one above it is to be.
pub(crate) fn check_store_dir(tree: &BaseTree, store_dir: &StoreDir) -> Result<(), BaseError> {
    let relative = &store_dir.as_str()[1..];
    let ends = relative.match_indices('/').map(|(end, _)| end);
    let mut directories = ends.chain([relative.len()]).map(|end| &relative[..end]);
    match directories.find(|directory| tree.links.contains_key(*directory)) {
        Some(link) => Err(BaseError::StoreLink {
            path: format!("/{link}"),
        }),
        None => Ok(()),
    }
}

/// Gives what stands outside the store the paths that lead to the same places without links, and names the directories
/// above it that the base has with an unusual mode or owner, so that these stay.
///
/// A file or link of ours may replace a link of the base, as any file may replace any other.
pub(crate) fn put_over(
    files: Vec<RootFileSpec>,
    contents: Vec<LinkedContent>,
    tree: &BaseTree,
    store_dir: &StoreDir,
) -> Result<(Vec<RootFileSpec>, Vec<LinkedContent>), BaseError> {
    let own_files = files
        .iter()
        .filter(|file| file.kind != RootFileType::Directory)
        .map(|file| file.path.clone());
    let linked = contents.iter().flat_map(LinkedContent::root_files);
    let own_links = linked.filter(|file| file.kind != RootFileKind::Directory);
    let ways = Ways {
        tree,
        store_dir,
        replaced: own_files.chain(own_links.map(|link| link.path)).collect(),
    };
    let mut files = ways.place_files(files)?;
    let contents = contents
        .into_iter()
        .map(|content| ways.place_content(content))
        .collect::<Result<Vec<LinkedContent>, BaseError>>()?;
    keep_unusual(&mut files, &contents, tree);
    Ok((files, contents))
}

/// The ways to files of ours through the links of a base.
struct Ways<'a> {
    tree: &'a BaseTree,
    store_dir: &'a StoreDir,
    /// What we have that is no directory.
    replaced: BTreeSet<String>,
}

impl Ways<'_> {
    /// Where a path of ours leads.
    fn follow(&self, path: &str, last_too: bool) -> Result<Followed, BaseError> {
        let link = |at: &str| {
            let target = self.tree.links.get(at)?;
            (!self.replaced.contains(at)).then_some(target.as_str())
        };
        let failed = |link, problem| BaseError::Link {
            path: path.to_owned(),
            link,
            problem,
        };
        let followed =
            follow(path, last_too, &link).map_err(|link| failed(link, LinkProblem::Loop))?;
        match &followed.first_link {
            Some(link) if is_in(&followed.place, self.store_dir) => {
                Err(failed(link.clone(), LinkProblem::IntoStore))
            }
            _ => Ok(followed),
        }
    }

    fn place_files(&self, files: Vec<RootFileSpec>) -> Result<Vec<RootFileSpec>, BaseError> {
        let mut placed: Vec<RootFileSpec> = Vec::with_capacity(files.len());
        // Of each place: who is there, and the path that was asked for.
        let mut taken: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for mut file in files {
            let followed = self.follow(&file.path, file.kind == RootFileType::Directory)?;
            let asked = file.path.clone();
            if followed.first_link.is_some() {
                if followed.place.is_empty() {
                    // A directory that is the root itself.
                    continue;
                }
                file.path = followed.place;
            }
            match taken.get(&file.path) {
                Some((at, first)) if *first != asked => {
                    if placed[*at] != file {
                        return Err(BaseError::SamePlace {
                            first: first.clone(),
                            second: asked,
                            place: file.path,
                        });
                    }
                }
                // The same path twice is for the checks of root files, which come after this.
                _ => {
                    taken.insert(file.path.clone(), (placed.len(), asked));
                    placed.push(file);
                }
            }
        }
        Ok(placed)
    }

    /// A link that stands elsewhere than in its content is told with its target.
    fn place_content(&self, content: LinkedContent) -> Result<LinkedContent, BaseError> {
        let mut placed = LinkedContent {
            path: content.path,
            ..LinkedContent::default()
        };
        for (directory, names) in content.links {
            let followed = self.follow(&directory, true)?;
            if followed.first_link.is_none() {
                placed.links.insert(directory, names);
                continue;
            }
            for name in names.split('/') {
                let place = format!("{}/{name}", followed.place);
                let target = format!("{}/{directory}/{name}", placed.path);
                let place = place.trim_start_matches('/').to_owned();
                placed.symlinks.insert(place, target);
            }
        }
        for (path, target) in content.symlinks {
            let place = self.follow(&path, false)?.place;
            placed.symlinks.insert(place, target);
        }
        for directory in content.directories {
            let place = self.follow(&directory, true)?.place;
            if !place.is_empty() {
                placed.directories.push(place);
            }
        }
        Ok(placed)
    }
}

fn is_in(place: &str, store_dir: &StoreDir) -> bool {
    let inside = place.strip_prefix(&store_dir.as_str()[1..]);
    inside.is_some_and(|rest| rest.starts_with('/'))
}

/// Lists the directories that a layer has of its own accord where the base has them with another mode or owner than such
/// directories get.
fn keep_unusual(files: &mut Vec<RootFileSpec>, contents: &[LinkedContent], tree: &BaseTree) {
    let listed: BTreeSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let mut kept = BTreeMap::new();
    let mut keep = |directory: &str| {
        if let Some(owner) = tree.directories.get(directory)
            && !listed.contains(directory)
        {
            kept.insert(directory.to_owned(), owner);
        }
    };
    let mut keep_above = |path: &str| {
        for (end, _) in path.match_indices('/') {
            keep(&path[..end]);
        }
    };
    for file in files.iter() {
        keep_above(&file.path);
    }
    for linked in contents.iter().flat_map(LinkedContent::root_files) {
        keep_above(&linked.path);
    }
    let kept: Vec<RootFileSpec> = kept
        .into_iter()
        .map(|(path, owner)| RootFileSpec::directory(path, &owner.mode, owner.uid, owner.gid))
        .collect();
    files.extend(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> BaseTree {
        let links = [
            ("bin", "usr/bin"),
            ("lib", "/usr/lib"),
            ("usr/lib64", "../lib"),
            ("a", "b"),
            ("b", "./a"),
            ("sw", "/nix/store/x/bin"),
            ("var/run", "../../../run"),
        ];
        let links = links.map(|(path, target)| (path.to_owned(), target.to_owned()));
        let mut tree = BaseTree {
            links: links.into(),
            ..BaseTree::default()
        };
        let json = r#"{"mode":"0700","uid":0,"gid":5}"#;
        let owner = serde_json::from_str(json).unwrap();
        tree.directories.insert("root".to_owned(), owner);
        tree
    }

    fn file(path: &str) -> RootFileSpec {
        let json = format!(r#"{{"path":"{path}","type":"file","content":"{path}"}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn over(files: Vec<RootFileSpec>) -> Result<Vec<String>, String> {
        put_over(files, Vec::new(), &tree(), &StoreDir::default())
            .map(|(files, _)| files.into_iter().map(|file| file.path).collect())
            .map_err(|error| error.to_string())
    }

    fn place(path: &str) -> String {
        over(vec![file(path)]).unwrap().remove(0)
    }

    #[test]
    fn links_on_the_way_are_followed_and_the_file_itself_is_not() {
        assert_eq!(place("bin/sh"), "usr/bin/sh");
        assert_eq!(place("usr/lib64/ld.so"), "usr/lib/ld.so");
        assert_eq!(place("var/run/x/pid"), "run/x/pid");
        assert_eq!(place("bin"), "bin");
        assert_eq!(place("etc/passwd"), "etc/passwd");
        let directory = RootFileSpec::directory("bin".to_owned(), "0755", 0, 0);
        assert_eq!(over(vec![directory]).unwrap(), ["usr/bin"]);
    }

    #[test]
    fn a_link_of_ours_replaces_one_of_the_base() {
        let link = r#"{"path":"bin","type":"symlink","target":"/x"}"#;
        let link: RootFileSpec = serde_json::from_str(link).unwrap();
        assert_eq!(over(vec![link, file("bin/x")]).unwrap(), ["bin", "bin/x"]);
    }

    #[test]
    fn what_leads_nowhere_is_refused_by_name() {
        assert_eq!(
            over(vec![file("a/x")]).unwrap_err(),
            "root file `a/x` cannot stand there: `a` of the base image is a symbolic link that leads back to itself"
        );
        assert_eq!(
            over(vec![file("sw/x")]).unwrap_err(),
            "root file `sw/x` cannot stand there: `sw` of the base image is a symbolic link into the store, whose paths \
             must not change"
        );
        assert_eq!(
            over(vec![file("bin/x"), file("usr/bin/x")]).unwrap_err(),
            "root files `bin/x` and `usr/bin/x` are both `usr/bin/x`, since the base image has symbolic links"
        );
    }

    #[test]
    fn twins_become_one_and_unusual_parents_stay_as_they_are() {
        let directory = |path: &str| RootFileSpec::directory(path.to_owned(), "0755", 0, 0);
        assert_eq!(
            over(vec![directory("bin"), directory("usr/bin")]).unwrap(),
            ["usr/bin"]
        );
        let profile = vec![file("root/.profile")];
        let (files, _) = put_over(profile, Vec::new(), &tree(), &StoreDir::default()).unwrap();
        assert_eq!(files[1].path, "root");
        assert_eq!((files[1].mode.as_deref(), files[1].gid), (Some("0700"), 5));
        assert_eq!(
            over(vec![directory("root"), file("root/x")]).unwrap().len(),
            2
        );
    }

    #[test]
    fn links_into_contents_stand_where_the_links_of_the_base_lead() {
        let content = r#"{"path":"/nix/store/x","links":{"":"y","bin":"a/b","etc":"c"},
            "symlinks":{"lib/d.so":"d.so.1"},"directories":["root","bin"]}"#;
        let content = vec![serde_json::from_str(content).unwrap()];
        let (files, contents) =
            put_over(Vec::new(), content, &tree(), &StoreDir::default()).unwrap();
        let expected = r#"{"path":"/nix/store/x","links":{"":"y","etc":"c"},
            "symlinks":{
              "usr/bin/a":"/nix/store/x/bin/a",
              "usr/bin/b":"/nix/store/x/bin/b",
              "usr/lib/d.so":"d.so.1"
            },"directories":["root","usr/bin"]}"#;
        let expected: Vec<LinkedContent> = vec![serde_json::from_str(expected).unwrap()];
        assert_eq!(contents, expected);
        assert!(files.is_empty());
    }

    #[test]
    fn the_store_directory_is_no_link() {
        let mut tree = tree();
        check_store_dir(&tree, &StoreDir::default()).unwrap();
        tree.links.insert("nix".to_owned(), "/data/nix".to_owned());
        let error = check_store_dir(&tree, &StoreDir::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/nix` is a symbolic link in the base image, and the store would replace it"
        );
    }
}
