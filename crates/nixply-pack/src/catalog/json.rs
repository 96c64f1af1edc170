//! The catalog as a file: `nixply.catalog/1`.
//!
//! One path a line, base names under one store directory, atoms in an order that no store hash decides: the file is to
//! be committed beside a lock file, and a new pin shows in the lines of the paths that changed.

use super::{Catalog, CatalogError, CatalogGroup};
use nixply_store::{StoreDir, StorePath};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The schema that this version writes and reads.
const SCHEMA: &str = "nixply.catalog/1";

#[derive(Serialize, Deserialize)]
struct File {
    schema: String,
    level: u32,
    store_dir: String,
    sets: Vec<String>,
    atoms: Vec<Atom>,
}

/// The paths that the same sets hold.
#[derive(Serialize, Deserialize)]
struct Atom {
    sets: Vec<String>,
    groups: Vec<FileGroup>,
}

#[derive(Serialize, Deserialize)]
struct FileGroup {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rides_on: Option<String>,
    /// The head first.
    paths: Vec<String>,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    schema: String,
}

impl Catalog {
    /// True where bytes are JSON that says it is a catalog, of whatever version.
    #[must_use]
    pub fn is_catalog(bytes: &[u8]) -> bool {
        serde_json::from_slice(bytes)
            .is_ok_and(|Schema { schema }| schema.starts_with("nixply.catalog/"))
    }

    /// Writes the catalog as indented JSON with a final newline. The same catalog gives the same bytes.
    pub fn to_json(&self) -> Result<String, CatalogError> {
        let mut atoms: BTreeMap<&[u32], usize> = BTreeMap::new();
        let mut in_file: Vec<Atom> = Vec::new();
        for group in &self.groups {
            let at = *atoms.entry(&group.sets).or_insert_with(|| {
                in_file.push(Atom {
                    sets: (group.sets.iter())
                        .map(|&set| self.set_names[set as usize].clone())
                        .collect(),
                    groups: Vec::new(),
                });
                in_file.len() - 1
            });
            let others = group.paths.iter().filter(|path| **path != group.head);
            in_file[at].groups.push(FileGroup {
                rides_on: group.host.as_ref().map(ToString::to_string),
                paths: std::iter::once(&group.head)
                    .chain(others)
                    .map(ToString::to_string)
                    .collect(),
            });
        }
        let file = File {
            schema: SCHEMA.to_owned(),
            level: self.level,
            store_dir: self.store_dir.to_string(),
            sets: self.set_names.clone(),
            atoms: in_file,
        };
        let mut text = serde_json::to_string_pretty(&file).map_err(CatalogError::Json)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a catalog and checks it: the schema, each path and set, that no path stands twice, that hosts are known and
    /// lead to no circle. Unknown fields are ignored.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CatalogError> {
        let Schema { schema } = serde_json::from_slice(bytes).map_err(CatalogError::Json)?;
        if schema != SCHEMA {
            return Err(CatalogError::Schema {
                found: schema,
                expected: SCHEMA,
            });
        }
        let file: File = serde_json::from_slice(bytes).map_err(CatalogError::Json)?;
        if file.level > Self::MAX_LEVEL {
            return Err(CatalogError::Level {
                level: file.level,
                max: Self::MAX_LEVEL,
            });
        }
        let store_dir = StoreDir::new(&file.store_dir).map_err(|_| CatalogError::StorePath {
            text: file.store_dir.clone(),
        })?;
        let mut set_names = file.sets;
        set_names.sort_unstable();
        set_names.dedup();
        let mut groups = Vec::new();
        for atom in file.atoms {
            let sets = positions(&set_names, &atom.sets)?;
            for group in atom.groups {
                groups.push(read_group(group, &sets)?);
            }
        }
        let catalog = Self::assemble(store_dir, file.level, set_names, groups);
        catalog.check()?;
        Ok(catalog)
    }

    fn check(&self) -> Result<(), CatalogError> {
        for pair in self.group_of.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(CatalogError::Duplicate {
                    path: pair[0].0.clone(),
                });
            }
        }
        // Groups that are known to come to an end; each other chain of hosts is followed until it meets one of them.
        let mut ends = BTreeSet::new();
        for start in &self.groups {
            let mut on_the_way = BTreeSet::new();
            let mut group = start;
            while !ends.contains(&group.head) {
                let error = || CatalogError::Host {
                    path: group.head.clone(),
                };
                if !on_the_way.insert(&group.head) {
                    return Err(error());
                }
                match &group.host {
                    None => break,
                    Some(host) => group = self.group_of(host).ok_or_else(error)?,
                }
            }
            ends.extend(on_the_way);
        }
        Ok(())
    }
}

/// The positions of an atom's sets, ascending.
fn positions(set_names: &[String], sets: &[String]) -> Result<Vec<u32>, CatalogError> {
    let position = |set: &String| {
        let at = set_names.binary_search(set).ok()?;
        u32::try_from(at).ok()
    };
    let positions: Option<BTreeSet<u32>> = sets.iter().map(position).collect();
    match positions {
        Some(positions) if !positions.is_empty() => Ok(positions.into_iter().collect()),
        _ => Err(CatalogError::Group {
            group: sets.join(" "),
        }),
    }
}

fn read_group(group: FileGroup, sets: &[u32]) -> Result<CatalogGroup, CatalogError> {
    let read = |text: String| StorePath::new(&text).map_err(|_| CatalogError::StorePath { text });
    let mut paths: Vec<StorePath> = group
        .paths
        .into_iter()
        .map(read)
        .collect::<Result<_, _>>()?;
    let head = paths.first().cloned().ok_or_else(|| CatalogError::Group {
        group: group.rides_on.clone().unwrap_or_default(),
    })?;
    paths.sort_unstable();
    Ok(CatalogGroup {
        head,
        paths,
        host: group.rides_on.map(read).transpose()?,
        sets: sets.to_vec(),
    })
}
