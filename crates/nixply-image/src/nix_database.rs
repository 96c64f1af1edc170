//! Nix's database in an image: what makes the store paths there known to a Nix that runs in it.
//!
//! It is a layer of its own, on top of all others: it changes whenever a path does, and it gives the store directory to
//! whoever owns the database, which a layer above would take back. A plan names the owner and who refers to whom; the rest
//! stands in its other layers, and the file is made from that whenever it is needed.

use crate::plan::{Plan, PlanError, PlannedLayer};
use crate::{BaseError, BaseTree, PlannedPath};
use nixply_database::{DatabaseError, RegisteredPath, SCHEMA, write_database};
use nixply_layer::{FileContent, LayerContents, RootFile, RootFileKind, check_root_files};
use nixply_store::{Closure, NarHash, StoreDir, StorePath, StorePathError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who Nix runs as in an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NixOwner {
    /// The user who owns the database and the store directory: root where a daemon runs or nobody changes the store,
    /// else the one user of a single-user installation.
    #[serde(default)]
    pub uid: u64,
    /// That user's group.
    #[serde(default)]
    pub gid: u64,
}

/// The field `nix_database` of a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum NixDatabaseSpec {
    /// Whether there is one, owned by root.
    Wanted(bool),
    /// There is one, with this owner.
    Owned(NixOwner),
}

impl NixDatabaseSpec {
    /// The owner, where there is a database.
    #[must_use]
    pub fn owner(self) -> Option<NixOwner> {
        match self {
            Self::Wanted(wanted) => wanted.then(NixOwner::default),
            Self::Owned(owner) => Some(owner),
        }
    }
}

/// The database's file.
pub(crate) const DATABASE_NAME: &str = "db.sqlite";

/// What a plan says of the database beside the paths of its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDatabase {
    /// Who owns it.
    #[serde(flatten)]
    pub owner: NixOwner,
    /// For each path, in byte order of base names, the positions of what it refers to, itself included where it does, with
    /// blanks between. The paths are those of all layers and of `base_paths`.
    pub references: Vec<String>,
    /// Paths of the image that stand in none of the plan's own layers: the base image has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base_paths: Vec<PlannedPath>,
    /// Files that SQLite had beside the base's database, by their names: they are emptied, since they would be taken for
    /// changes that are not in the new one yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emptied: Vec<String>,
}

/// Why a plan's database cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlannedDatabaseError {
    /// The list of references has another length than the list of paths.
    #[error("Nix's database: there are {paths} store paths and {references} lists of references")]
    Count {
        /// How many paths there are.
        paths: usize,
        /// How many lists there are.
        references: usize,
    },
    /// A list of references is none.
    #[error("Nix's database: `{text}` is not a list of positions")]
    References {
        /// The text that was read.
        text: String,
    },
    /// A path is no store path.
    #[error("Nix's database: not a store path")]
    StorePath(#[source] StorePathError),
    /// The database cannot be written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Decides the layer with the database of a closure, above the other layers of a plan.
pub(crate) fn database_layer(
    plan: &Plan,
    closure: &Closure,
    owner: NixOwner,
) -> Result<PlannedLayer, PlanError> {
    let planned: std::collections::BTreeSet<&str> = store_paths(plan)
        .map(|planned| planned.path.as_str())
        .collect();
    let references = closure.indices().map(|idx| {
        let own = closure.refers_to_itself(idx).then_some(idx);
        let mut positions: Vec<u32> = closure.references(idx).chain(own).map(|to| to.0).collect();
        positions.sort_unstable();
        let positions: Vec<String> = positions.iter().map(u32::to_string).collect();
        positions.join(" ")
    });
    let base_paths = closure.indices().filter_map(|idx| {
        let info = closure.info(idx);
        let path = closure.store_dir().display(&info.path);
        (!planned.contains(path.as_str())).then_some(PlannedPath {
            path,
            nar_hash: info.nar_hash,
            nar_size_bytes: info.nar_size_bytes,
            rides_on: None,
            permissions: Vec::new(),
        })
    });
    let database = PlannedDatabase {
        owner,
        references: references.collect(),
        base_paths: base_paths.collect(),
        emptied: logs_of_base(plan),
    };
    let contents = database_contents(plan, &database)?;
    Ok(PlannedLayer::Database {
        key: plan.layer_spec(contents).key(),
        database,
    })
}

/// All that the layer holds.
pub(crate) fn database_contents(
    plan: &Plan,
    database: &PlannedDatabase,
) -> Result<LayerContents, PlanError> {
    let store_dir = store_dir(plan, database);
    let bytes = write(plan, database, &store_dir)?;
    let mut files = directories(&store_dir, database.owner);
    let owner = database.owner;
    let state_dir = state_dir(&store_dir);
    let mut add = |path: String, kind: RootFileKind| {
        files.push(RootFile {
            path,
            kind,
            mode: 0o644,
            uid: owner.uid,
            gid: owner.gid,
            capabilities: None,
        });
    };
    let file = |bytes: Vec<u8>| RootFileKind::File(FileContent::Inline(bytes));
    add(database_file(&store_dir), file(bytes));
    add(format!("{state_dir}/db/schema"), file(SCHEMA.into()));
    for name in &database.emptied {
        add(format!("{state_dir}/db/{name}"), file(Vec::new()));
    }
    for root in &plan.roots {
        let name = root.rsplit('/').next().unwrap_or(root);
        add(
            format!("{state_dir}/gcroots/docker/{name}"),
            RootFileKind::Symlink {
                target: root.clone(),
            },
        );
    }
    check_root_files(&files, &store_dir).map_err(crate::RootFileError::from)?;
    Ok(LayerContents::Root { files })
}

/// The files of the layer that tell what it is, for people.
pub(crate) fn database_files(plan: &Plan, database: &PlannedDatabase) -> Vec<String> {
    let store_dir = store_dir(plan, database);
    vec![
        database_file(&store_dir),
        format!("{}/db/schema", state_dir(&store_dir)),
    ]
}

fn store_paths(plan: &Plan) -> impl Iterator<Item = &PlannedPath> {
    plan.layers.iter().flat_map(|layer| match layer {
        PlannedLayer::Store { paths, .. } => paths.as_slice(),
        _ => &[],
    })
}

fn store_dir(plan: &Plan, database: &PlannedDatabase) -> StoreDir {
    let of_base = || {
        let first = database.base_paths.first()?;
        StoreDir::new(first.path.rsplit_once('/')?.0).ok()
    };
    plan.store_dir().or_else(of_base).unwrap_or_default()
}

/// `nix/var/nix` beside `/nix/store`, as Nix has it where nobody says otherwise.
fn state_dir(store_dir: &StoreDir) -> String {
    let prefix = store_dir
        .as_str()
        .rsplit_once('/')
        .map_or("", |(dir, _)| dir);
    format!("{}/var/nix", prefix.trim_start_matches('/'))
        .trim_start_matches('/')
        .to_owned()
}

/// The directory that the database is in, as a name.
pub(crate) fn database_dir(store_dir: &StoreDir) -> String {
    format!("{}/db", state_dir(store_dir))
}

/// Where the database is, as a name.
pub(crate) fn database_file(store_dir: &StoreDir) -> String {
    format!("{}/{DATABASE_NAME}", database_dir(store_dir))
}

/// The files beside the base's database that SQLite reads changes from: its write-ahead log, and its rollback journal.
fn logs_of_base(plan: &Plan) -> Vec<String> {
    let tree = plan.base.as_ref().and_then(|base| base.tree.as_ref());
    let files = tree.map_or(&[][..], |tree| &tree.nix_database);
    let is_log = |name: &&String| name.ends_with("-wal") || name.ends_with("-journal");
    files.iter().filter(is_log).cloned().collect()
}

/// Checks that no link of a base stands where a directory of the database's layer is to be.
pub(crate) fn check_database_dirs(tree: &BaseTree, store_dir: &StoreDir) -> Result<(), BaseError> {
    let directories = directories(store_dir, NixOwner::default());
    match directories
        .iter()
        .find(|dir| tree.links.contains_key(&dir.path))
    {
        Some(link) => Err(BaseError::DatabaseLink {
            path: format!("/{}", link.path),
        }),
        None => Ok(()),
    }
}

/// What Nix writes into. Root's own Nix makes the rest by itself, and so does the owner of `/nix/var`.
fn directories(store_dir: &StoreDir, owner: NixOwner) -> Vec<RootFile> {
    let directory = |path: &str, mode| RootFile {
        path: path.to_owned(),
        kind: RootFileKind::Directory,
        mode,
        uid: owner.uid,
        gid: owner.gid,
        capabilities: None,
    };
    let state_dir = state_dir(store_dir);
    let var_dir = state_dir.rsplit_once('/').map_or("", |(var, _)| var);
    let mut all: Vec<RootFile> = [
        var_dir.to_owned(),
        state_dir.clone(),
        format!("{state_dir}/db"),
        format!("{state_dir}/gcroots"),
        format!("{state_dir}/gcroots/docker"),
        format!("{state_dir}/profiles"),
        format!("{state_dir}/temproots"),
    ]
    .iter()
    .map(|path| directory(path, 0o755))
    .collect();
    if owner.uid != 0 {
        // Store paths stay root's, so that their layers are those of every other image. The sticky bit keeps others from
        // them, such as the group's users, but not the directory's owner, who may rename them and put something else there.
        all.push(directory(
            store_dir.as_str().trim_start_matches('/'),
            0o1775,
        ));
    }
    all
}

fn write(
    plan: &Plan,
    database: &PlannedDatabase,
    store_dir: &StoreDir,
) -> Result<Vec<u8>, PlannedDatabaseError> {
    let mut sorted: BTreeMap<StorePath, (NarHash, u64)> = BTreeMap::new();
    for planned in store_paths(plan).chain(&database.base_paths) {
        let path = store_dir
            .parse(&planned.path)
            .map_err(PlannedDatabaseError::StorePath)?;
        sorted.insert(path, (planned.nar_hash, planned.nar_size_bytes));
    }
    if sorted.len() != database.references.len() {
        return Err(PlannedDatabaseError::Count {
            paths: sorted.len(),
            references: database.references.len(),
        });
    }
    let registered = sorted
        .iter()
        .zip(&database.references)
        .map(|((path, (nar_hash, nar_size_bytes)), text)| {
            let references = text
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(|word| word.parse().ok())
                .collect::<Option<Vec<usize>>>()
                .ok_or_else(|| PlannedDatabaseError::References { text: text.clone() })?;
            Ok(RegisteredPath {
                path,
                nar_hash: *nar_hash,
                nar_size_bytes: *nar_size_bytes,
                references,
            })
        })
        .collect::<Result<Vec<_>, PlannedDatabaseError>>()?;
    Ok(write_database(store_dir, &registered)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_stands_beside_the_store() {
        for (store, state) in [
            ("/nix/store", "nix/var/nix"),
            ("/opt/x/store", "opt/x/var/nix"),
            ("/store", "var/nix"),
        ] {
            assert_eq!(state_dir(&StoreDir::new(store).unwrap()), state);
        }
    }

    #[test]
    fn the_field_is_a_switch_or_an_owner() {
        let owner = |json| {
            let spec: NixDatabaseSpec = serde_json::from_str(json).ok()?;
            Some(spec.owner().map(|owner| (owner.uid, owner.gid)))
        };
        assert_eq!(owner("true"), Some(Some((0, 0))));
        assert_eq!(owner("false"), Some(None));
        assert_eq!(owner(r#"{"uid":1000,"gid":7}"#), Some(Some((1000, 7))));
        assert_eq!(owner(r#"{"user":"vscode"}"#), None);
    }
}
