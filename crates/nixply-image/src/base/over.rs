//! Putting root files over a base image: through its symbolic links, and without changing its directories.

use super::error::LinkProblem;
use super::follow::{Followed, follow, target_elsewhere};
use super::over_contents::place_contents;
use super::{BaseError, BaseTree};
use crate::root_file::{FileOrigin, RootFileSpec, RootFileType};
use crate::{LinkedContent, OnCollision};
use nixply_layer::{RootFileKind, StoreRoot};
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

/// What an image's own files are put over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Below<'a> {
    /// What the base has.
    pub(crate) tree: &'a BaseTree,
    /// Where the store is, which directories are listed from that links of contents lead to.
    pub(crate) store: &'a StoreRoot,
    /// What happens where two contents come to have different things at one place.
    pub(crate) on_collision: OnCollision,
}

/// Gives what stands outside the store the paths that lead to the same places without links, lets links of contents give
/// way to directories of the base, and names the directories above all this that the base has with an unusual mode or
/// owner, so that these stay.
///
/// A file or link that is listed may replace a link of the base, as any file may replace any other.
pub(crate) fn put_over(
    files: Vec<RootFileSpec>,
    contents: Vec<LinkedContent>,
    below: Below<'_>,
) -> Result<(Vec<RootFileSpec>, Vec<LinkedContent>), BaseError> {
    let tree = below.tree;
    let own_files = files
        .iter()
        .filter(|file| file.kind != RootFileType::Directory)
        .map(|file| file.path.clone());
    let linked = contents.iter().flat_map(LinkedContent::root_files);
    let own_links = linked
        .filter(|file| file.kind != RootFileKind::Directory)
        .map(|link| link.path)
        .filter(|path| tree.directory_at(path).is_none());
    let ways = Ways {
        tree,
        store_dir: below.store.store_dir(),
        replaced: own_files.chain(own_links).collect(),
    };
    let mut files = ways.place_files(files)?;
    let contents = place_contents(contents, &files, &ways, below)?;
    keep_unusual(&mut files, &contents, tree);
    Ok((files, contents))
}

/// The ways to files of ours through the links of a base.
pub(super) struct Ways<'a> {
    pub(super) tree: &'a BaseTree,
    pub(super) store_dir: &'a StoreDir,
    /// What we have that is no directory and does not give way to one.
    replaced: BTreeSet<String>,
}

impl Ways<'_> {
    /// What a link of the base says, where none of ours replaces it.
    pub(super) fn link(&self, at: &str) -> Option<&str> {
        let target = self.tree.links.get(at)?;
        (!self.replaced.contains(at)).then_some(target.as_str())
    }

    /// Where a path of ours leads.
    pub(super) fn follow(&self, path: &str, last_too: bool) -> Result<Followed, BaseError> {
        let failed = |link, problem| BaseError::Link {
            path: path.to_owned(),
            link,
            problem,
        };
        let followed = follow(path, last_too, &|at| self.link(at))
            .map_err(|nowhere| failed(nowhere.link, nowhere.problem))?;
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
            let is_directory = file.kind == RootFileType::Directory;
            let followed = self.follow(&file.path, is_directory)?;
            let asked = file.path.clone();
            if followed.first_link.is_some() {
                if followed.place.is_empty() {
                    // A directory that is the root itself.
                    continue;
                }
                file.path = followed.place;
                self.keep_target(&asked, &mut file);
            }
            if self.tree.is_directory(&file.path) {
                if !is_directory {
                    return Err(BaseError::HidesDirectory {
                        what: format!("root file `{asked}`"),
                        path: file.path,
                    });
                }
                if file.origin == FileOrigin::Implied {
                    continue;
                }
                self.keep_mode(&mut file);
            }
            match taken.get(&file.path) {
                Some((at, first)) if *first != asked => {
                    let there = &mut placed[*at];
                    match (there.origin, file.origin) {
                        (FileOrigin::Listed, FileOrigin::Derived) => {}
                        (FileOrigin::Derived, FileOrigin::Listed) => *there = file,
                        _ if there.is_same(&file) => {}
                        _ => {
                            return Err(BaseError::SamePlace {
                                first: first.clone(),
                                second: asked,
                                place: file.path,
                            });
                        }
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

    /// Lets a link that stands elsewhere than it was asked for lead to the same all the same.
    fn keep_target(&self, asked: &str, link: &mut RootFileSpec) {
        let lead = |path: &str| Some(follow(path, true, &|at| self.link(at)).ok()?.place);
        let asked = asked.trim_matches('/');
        let target = link.target.as_deref();
        if let Some(target) =
            target.and_then(|target| target_elsewhere(asked, &link.path, target, &lead))
        {
            link.target = Some(target);
        }
    }

    /// Gives a directory that says nothing of its mode the one that the base gives it.
    fn keep_mode(&self, file: &mut RootFileSpec) {
        if file.mode.is_some() {
            return;
        }
        if let Some(owner) = self.tree.directories.get(&file.path) {
            file.mode = Some(owner.mode.clone());
            if (file.uid, file.gid) == (0, 0) {
                (file.uid, file.gid) = (owner.uid, owner.gid);
            }
        }
    }
}

pub(super) fn is_in(place: &str, store_dir: &StoreDir) -> bool {
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
        put_files_over(files, &tree())
            .map(|files| files.into_iter().map(|file| file.path).collect())
    }

    fn put_files_over(
        files: Vec<RootFileSpec>,
        tree: &BaseTree,
    ) -> Result<Vec<RootFileSpec>, String> {
        let below = Below {
            tree,
            store: &StoreRoot::default(),
            on_collision: OnCollision::Error,
        };
        put_over(files, Vec::new(), below)
            .map(|(files, _)| files)
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
    fn links_that_move_lead_to_what_they_led_to() {
        let target = |path: &str, target: &str| {
            let link = RootFileSpec::symlink(path.to_owned(), target.to_owned());
            let mut files = put_files_over(vec![link], &tree()).unwrap();
            files.remove(0).target.unwrap()
        };
        assert_eq!(target("bin/x", "../share/y"), "/share/y");
        assert_eq!(target("bin/x", "../lib/y"), "../lib/y");
        assert_eq!(target("bin/x", "sh"), "sh");
        assert_eq!(target("bin/x", "/share/y"), "/share/y");
        assert_eq!(target("usr/bin/x", "../share/y"), "../share/y");
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
        let files = put_files_over(profile, &tree()).unwrap();
        assert_eq!(files[1].path, "root");
        assert_eq!((files[1].mode.as_deref(), files[1].gid), (Some("0700"), 5));
        assert_eq!(
            over(vec![directory("root"), file("root/x")]).unwrap().len(),
            2
        );
    }

    #[test]
    fn a_file_is_no_substitute_for_a_directory() {
        assert_eq!(
            over(vec![file("root")]).unwrap_err(),
            "root file `root` would replace the directory `root` of the base image"
        );
        let mut tree = tree();
        tree.usual_directories = Some(["usr/bin".to_owned()].into_iter().collect());
        assert_eq!(
            put_files_over(vec![file("bin/")], &tree).unwrap_err(),
            "root file `bin/` would replace the directory `usr/bin` of the base image"
        );
        // By its own name, a link may be replaced: somebody asked for that.
        let link = RootFileSpec::symlink("bin".to_owned(), "/x".to_owned());
        assert_eq!(put_files_over(vec![link], &tree).unwrap()[0].path, "bin");
    }

    #[test]
    fn directories_that_say_nothing_stay_as_the_base_has_them() {
        let said = |directory: RootFileSpec| {
            let files = put_files_over(vec![directory], &tree()).unwrap();
            let files = files.iter();
            files
                .map(|file| (file.mode.clone().unwrap_or_default(), file.uid, file.gid))
                .collect::<Vec<_>>()
        };
        let directory = RootFileSpec::new("root".to_owned(), RootFileType::Directory);
        let said_of = |mode: &str, uid, gid| vec![(mode.to_owned(), uid, gid)];
        assert_eq!(said(directory.clone()), said_of("0700", 0, 5));
        let owned = RootFileSpec {
            uid: 7,
            ..directory.clone()
        };
        assert_eq!(said(owned), said_of("0700", 7, 0));
        let mode = Some("0750".to_owned());
        assert_eq!(
            said(RootFileSpec {
                mode,
                ..directory.clone()
            }),
            said_of("0750", 0, 0)
        );
        let implied = RootFileSpec {
            mode: Some("0755".to_owned()),
            uid: 1000,
            origin: FileOrigin::Implied,
            ..directory
        };
        assert_eq!(said(implied.clone()), []);
        // It is kept for what stands in it.
        let files = put_files_over(vec![implied, file("root/x")], &tree()).unwrap();
        assert_eq!(files[1].mode.as_deref(), Some("0700"));
    }

    #[test]
    fn what_follows_from_something_else_gives_way_to_what_was_asked_for() {
        let derived = |path: &str| RootFileSpec {
            origin: FileOrigin::Derived,
            ..file(path)
        };
        for files in [
            vec![file("usr/bin/sh"), derived("bin/sh")],
            vec![derived("bin/sh"), file("usr/bin/sh")],
        ] {
            let files = put_files_over(files, &tree()).unwrap();
            assert_eq!(files.len(), 1);
            assert_eq!(files[0].content.as_deref(), Some("usr/bin/sh"));
        }
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
