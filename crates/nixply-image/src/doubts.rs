//! What a container of an image fails on at its start, as far as the plan alone tells.
//!
//! # Duty
//!
//! A user that the image's `/etc/passwd` has not, or a program that is nowhere, is found at the end of a deployment as a rule.
//! The plan knows the whole tree outside the store, so both can be told when an image is planned. They are warnings: whoever
//! runs the image may say other words, or bring what is missing.
//!
//! # Decisions
//!
//! * Nothing is read: what is in a store path is taken to be there, and so is what a finished tar, a base or a volume may have.
//! * Only an absolute path is looked for; what a shell or `PATH` finds is its business.

use crate::{LinkedContent, Plan, PlannedLayer, RootFileSpec, RootFileType};
use nixply_layer::RootFileKind;
use std::collections::{BTreeMap, BTreeSet};

/// More links than any program is reached by: they lead round in a circle (`ELOOP`, the limit of Linux).
const MAX_LINKS: usize = 40;

/// Where a runtime puts file systems of its own.
const OF_THE_RUNTIME: [&str; 3] = ["dev", "proc", "sys"];

/// Where Nix keeps its database.
const OF_NIX: &str = "nix/var";

/// Something that a container most likely fails on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// The image has its own accounts, and not this one.
    #[error(
        "`config.User` names the {what} `{name}`, but the image's `{file}` has none of that name"
    )]
    Account {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// The image has no accounts at all.
    #[error("`config.User` names the {what} `{name}`, but the image has no `{file}`")]
    NoAccounts {
        /// `user` or `group`.
        what: &'static str,
        /// The name.
        name: String,
        /// `/etc/passwd` or `/etc/group`.
        file: &'static str,
    },
    /// The program is nowhere.
    #[error("`config.{key}` starts `{program}`, which is not in the image")]
    Program {
        /// `Entrypoint` or `Cmd`.
        key: &'static str,
        /// The program.
        program: String,
    },
}

/// What a container of the plan's image most likely fails on.
#[must_use]
pub fn doubts(plan: &Plan) -> Vec<Doubt> {
    let user = plan.config.user.as_deref().unwrap_or_default();
    let (user, group) = user.split_once(':').unwrap_or((user, ""));
    let accounts = [
        ("user", user, "/etc/passwd"),
        ("group", group, "/etc/group"),
    ];
    let named: Vec<_> = accounts
        .into_iter()
        .filter(|(_, name, _)| !name.is_empty() && name.parse::<u32>().is_err())
        .collect();
    let program = program(plan).filter(|(_, program)| program.starts_with('/'));
    // Most images ask for nothing, and the tree may be large.
    if named.is_empty() && program.is_none() {
        return Vec::new();
    }
    let Some(tree) = Tree::of(plan) else {
        return Vec::new();
    };
    let mut doubts: Vec<Doubt> = named
        .into_iter()
        .filter_map(|(what, name, file)| tree.account(what, name, file))
        .collect();
    if let Some((key, program)) = program
        && tree.find(program) == Found::No
    {
        doubts.push(Doubt::Program {
            key,
            program: program.to_owned(),
        });
    }
    doubts
}

/// The program that a container starts, and the key that says so; what follows are its arguments.
fn program(plan: &Plan) -> Option<(&'static str, &str)> {
    let config = &plan.config;
    let entrypoint = config.entrypoint.iter().flatten().next();
    let cmd = config.cmd.iter().flatten().next();
    (entrypoint.map(|program| ("Entrypoint", program.as_str())))
        .or(cmd.map(|program| ("Cmd", program.as_str())))
}

/// Whether something is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Yes,
    No,
    /// The plan does not tell.
    Unknown,
}

enum Entry<'a> {
    Directory,
    /// With its text, where the plan has it.
    File(Option<&'a str>),
    Link(String),
}

/// All that an image consists of.
struct Tree<'a> {
    /// By path, without the first slash.
    entries: BTreeMap<String, Entry<'a>>,
    /// The store directory, without the first slash.
    store_dir: String,
    /// Where the plan does not tell what is there, without the first slash.
    opaque: Vec<&'a str>,
    /// Base names; none where the image has no layers of store paths, which somebody mounts then.
    store_paths: Option<BTreeSet<&'a str>>,
}

impl<'a> Tree<'a> {
    /// Nothing where a layer holds what the plan does not say.
    fn of(plan: &'a Plan) -> Option<Self> {
        if plan.base.is_some() {
            return None;
        }
        let mut entries = BTreeMap::new();
        let mut store_paths = BTreeSet::new();
        let volumes = plan
            .config
            .volumes
            .iter()
            .flat_map(|volumes| volumes.keys());
        let mut opaque: Vec<&str> = volumes.map(|volume| volume.trim_matches('/')).collect();
        opaque.extend(OF_THE_RUNTIME);
        for layer in &plan.layers {
            match layer {
                PlannedLayer::Store { paths, .. } => store_paths.extend(
                    paths
                        .iter()
                        .filter_map(|planned| planned.path.rsplit('/').next()),
                ),
                PlannedLayer::Root {
                    files, contents, ..
                } => {
                    let linked = contents.iter().flat_map(LinkedContent::root_files);
                    entries.extend(linked.map(|file| {
                        let entry = match file.kind {
                            RootFileKind::Directory => Entry::Directory,
                            RootFileKind::File(_) => Entry::File(None),
                            RootFileKind::Symlink { target } => Entry::Link(target),
                        };
                        (file.path, entry)
                    }));
                    entries.extend(files.iter().map(|file| (file.path.clone(), entry_of(file))));
                }
                PlannedLayer::Database { .. } => opaque.push(OF_NIX),
                PlannedLayer::Tar { .. }
                | PlannedLayer::Nix2container { .. }
                | PlannedLayer::Base(_) => return None,
            }
        }
        let store_dir = plan.store_dir().unwrap_or_default();
        Some(Self {
            entries,
            opaque,
            store_dir: store_dir.as_str().trim_start_matches('/').to_owned(),
            store_paths: (!store_paths.is_empty()).then_some(store_paths),
        })
    }

    /// What is wrong with a name that `/etc/passwd` or `/etc/group` should have.
    fn account(&self, what: &'static str, name: &str, file: &'static str) -> Option<Doubt> {
        let name = name.to_owned();
        match self.entries.get(&file[1..]) {
            Some(Entry::File(Some(text))) => {
                let names = text.lines().filter_map(|line| line.split(':').next());
                let is_there = names.into_iter().any(|found| found == name);
                (!is_there).then_some(Doubt::Account { what, name, file })
            }
            None if self.find(file) == Found::No => Some(Doubt::NoAccounts { what, name, file }),
            _ => None,
        }
    }

    /// Looks for an absolute path as the kernel does.
    fn find(&self, path: &str) -> Found {
        let mut todo: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
        let mut place = String::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    place.truncate(place.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let directory_len = place.len();
            if !place.is_empty() {
                place.push('/');
            }
            place.push_str(&name);
            if self.opaque.contains(&place.as_str()) {
                return Found::Unknown;
            }
            if let Some(base_name) = self.in_store(&place) {
                return match &self.store_paths {
                    Some(paths) if !paths.contains(base_name) => Found::No,
                    _ => Found::Unknown,
                };
            }
            match self.entries.get(&place) {
                Some(Entry::Directory) => {}
                Some(Entry::File(_)) if todo.iter().all(String::is_empty) => return Found::Yes,
                Some(Entry::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Found::No;
                    }
                    let is_absolute = target.starts_with('/');
                    place.truncate(if is_absolute { 0 } else { directory_len });
                    todo.extend(target.rsplit('/').map(str::to_owned));
                }
                None if self.is_directory(&place) => {}
                Some(Entry::File(_)) | None => return Found::No,
            }
        }
        Found::Yes
    }

    /// The base name of a store path, where a place is one.
    fn in_store<'p>(&self, place: &'p str) -> Option<&'p str> {
        place.strip_prefix(&self.store_dir)?.strip_prefix('/')
    }

    /// Whether something lies below a place.
    fn is_directory(&self, place: &str) -> bool {
        let below = format!("{place}/");
        let next = self.entries.range(below.clone()..).next();
        next.is_some_and(|(path, _)| path.starts_with(&below))
            || format!("{}/", self.store_dir).starts_with(&below)
    }
}

fn entry_of(file: &RootFileSpec) -> Entry<'_> {
    match file.kind {
        RootFileType::Directory => Entry::Directory,
        RootFileType::File => Entry::File(file.content.as_deref()),
        RootFileType::Symlink => Entry::Link(file.target.clone().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PackerRecord, PlannedPath};
    use nixply_layer::{Compression, FinishedTar, LayerContents, TarPlacement};
    use nixply_oci::{DiffId, EmptyObject, Platform};
    use nixply_store::NarHash;

    const BASH: &str = "/nix/store/2222222222222222222222222222222b-bash";
    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";

    /// An image of bash with links to it, a file, and accounts.
    fn plan() -> Plan {
        let record = PackerRecord {
            name: "x".to_owned(),
            version: 1,
            max_layers: 9,
            catalog: None,
            level: None,
            unknown_paths: None,
            pipeline: None,
        };
        let mut plan = Plan::empty(Platform::linux("amd64"), record, Compression::None);
        let key = plan
            .layer_spec(LayerContents::Root { files: Vec::new() })
            .key();
        let path = PlannedPath {
            path: BASH.to_owned(),
            nar_hash: NarHash::from_bytes([0; 32]),
            nar_size_bytes: 1,
            rides_on: None,
            permissions: Vec::new(),
        };
        plan.layers.push(PlannedLayer::Store {
            key,
            nar_size_bytes: 1,
            reason: None,
            head: None,
            sets: Vec::new(),
            set_count: None,
            paths: vec![path],
        });
        let file = |path: &str, text: &str| RootFileSpec {
            content: Some(text.to_owned()),
            ..RootFileSpec::new(path.to_owned(), RootFileType::File)
        };
        let link =
            |path: &str, target: &str| RootFileSpec::symlink(path.to_owned(), target.to_owned());
        plan.layers.push(PlannedLayer::Root {
            key,
            files: vec![
                file("etc/group", "wheel:x:10:app\n"),
                file("etc/passwd", PASSWD),
                link("bin", "usr/bin"),
                link("sbin/init", "../bin/entry"),
                link("loop", "/loop"),
                link(
                    "gone",
                    "/nix/store/3333333333333333333333333333333c-gone/bin/x",
                ),
                file("usr/bin/entry", "#!/bin/bash"),
            ],
            contents: vec![LinkedContent {
                path: BASH.to_owned(),
                links: [("usr/bin".to_owned(), "bash/sh".to_owned())].into(),
                ..LinkedContent::default()
            }],
        });
        plan
    }

    fn doubts_of(change: impl FnOnce(&mut Plan)) -> Vec<String> {
        let mut plan = plan();
        change(&mut plan);
        doubts(&plan).iter().map(ToString::to_string).collect()
    }

    fn starting(program: &str) -> Vec<String> {
        doubts_of(|plan| plan.config.cmd = Some(vec![program.to_owned(), "/none".to_owned()]))
    }

    #[test]
    fn a_program_is_found_as_the_kernel_finds_it() {
        for program in [
            "/bin/bash",
            "/usr/bin/sh",
            "/bin/entry",
            "/sbin/init",
            "/bin/../bin/./bash",
            "//bin/bash",
            "/nix/store/2222222222222222222222222222222b-bash/bin/whatever",
            "/proc/self/exe",
            "bash",
        ] {
            assert_eq!(starting(program), [""; 0], "{program}");
        }
        for program in [
            "/bin/bsh",
            "/usr/local/bin/bash",
            "/loop",
            "/gone",
            "/bin/entry/x",
            "/nix/store/3333333333333333333333333333333c-gone/bin/x",
        ] {
            let expected = format!("`config.Cmd` starts `{program}`, which is not in the image");
            assert_eq!(starting(program), [expected]);
        }
    }

    #[test]
    fn an_entrypoint_is_what_is_started() {
        let told = doubts_of(|plan| {
            plan.config.entrypoint = Some(vec!["/bin/none".to_owned()]);
            plan.config.cmd = Some(vec!["/an/argument".to_owned()]);
        });
        assert_eq!(
            told,
            ["`config.Entrypoint` starts `/bin/none`, which is not in the image"]
        );
    }

    #[test]
    fn names_stand_in_the_accounts() {
        let of = |user: &str| doubts_of(|plan| plan.config.user = Some(user.to_owned()));
        for user in ["", "app", "1000", "app:wheel", "1000:10", "2000:wheel"] {
            assert_eq!(of(user), [""; 0], "{user}");
        }
        assert_eq!(
            of("ap:users"),
            [
                "`config.User` names the user `ap`, but the image's `/etc/passwd` has none of that name",
                "`config.User` names the group `users`, but the image's `/etc/group` has none of that name",
            ]
        );
        let bare = doubts_of(|plan| {
            plan.layers.pop();
            plan.config.user = Some("app".to_owned());
        });
        assert_eq!(
            bare,
            ["`config.User` names the user `app`, but the image has no `/etc/passwd`"]
        );
    }

    #[test]
    fn what_the_plan_does_not_tell_is_taken_to_be_there() {
        let wrong = |plan: &mut Plan| {
            plan.config.user = Some("nobody".to_owned());
            plan.config.cmd = Some(vec!["/data/app".to_owned()]);
        };
        assert_eq!(doubts_of(wrong).len(), 2);
        let mounted = doubts_of(|plan| {
            wrong(plan);
            plan.config.volumes = Some([("/data".to_owned(), EmptyObject {})].into());
        });
        assert_eq!(mounted.len(), 1, "{mounted:?}");
        // A store that somebody mounts.
        let without_store = doubts_of(|plan| {
            plan.layers.remove(0);
            plan.config.cmd = Some(vec!["/bin/bash".to_owned()]);
        });
        assert_eq!(without_store, [""; 0]);
        let with_tar = doubts_of(|plan| {
            wrong(plan);
            let tar = plan.tar_layer(FinishedTar {
                path: "/layer.tar".into(),
                diff_id: DiffId::of(b""),
                size_bytes: 0,
                placement: TarPlacement::default(),
            });
            plan.layers.push(tar);
        });
        assert_eq!(with_tar, [""; 0]);
    }
}
