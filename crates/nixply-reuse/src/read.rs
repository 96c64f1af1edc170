//! Reads pins and projects from bytes that somebody else read.

use crate::ReuseError;
use crate::fleet::{Pin, Project, Sets};
use crate::identity::path_info;
use nixply_store::{Closure, StoreDir, StorePath, read_closure};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What the laboratory needs of a record; `nix path-info --json` has more.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    path: String,
    nar_size: u64,
    references: Vec<String>,
    nar_hash: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ProjectRecord {
    sets: Vec<String>,
    app_nar_size_bytes: u64,
}

impl Pin {
    /// Reads a closure and its package sets.
    ///
    /// The closure is an array of records with `path`, `narSize` and `references`, or any form that
    /// [`read_closure`] takes; the sets are an object of arrays of store paths. Records without a NAR hash get one
    /// that is derived from their path: the laboratory tells layers apart by their paths alone.
    pub fn read(name: &str, closure: &[u8], sets: &[u8]) -> Result<Self, ReuseError> {
        let closure = read_records(name, closure)?;
        let texts: BTreeMap<String, Vec<String>> =
            serde_json::from_slice(sets).map_err(|source| ReuseError::Json {
                document: name.to_owned(),
                expected: "an object of package sets, each an array of store paths",
                source,
            })?;
        let mut sets = Sets::new();
        for (set, texts) in texts {
            let roots = parse_all(name, closure.store_dir(), &texts)?;
            sets.insert(set, roots);
        }
        Ok(Self {
            name: name.to_owned(),
            closure,
            sets,
        })
    }
}

fn read_records(name: &str, bytes: &[u8]) -> Result<Closure, ReuseError> {
    let records = match serde_json::from_slice::<Vec<Record>>(bytes) {
        Ok(records) if records.iter().any(|record| record.nar_hash.is_none()) => records,
        _ => {
            return read_closure(bytes).map_err(|source| ReuseError::ReadClosure {
                document: name.to_owned(),
                source,
            });
        }
    };
    let store_dir = StoreDir::default();
    let mut infos = Vec::with_capacity(records.len());
    for record in records {
        let path = parse(name, &store_dir, &record.path)?;
        let references = parse_all(name, &store_dir, &record.references)?;
        infos.push((path_info(path, record.nar_size), references));
    }
    Closure::new(store_dir, infos).map_err(|source| ReuseError::Closure {
        document: name.to_owned(),
        source,
    })
}

/// Reads one draw of projects: an object of draws, each an object of projects with `sets` and `app_nar_size_bytes`.
pub fn read_projects(document: &str, bytes: &[u8], draw: &str) -> Result<Vec<Project>, ReuseError> {
    let mut draws: BTreeMap<String, BTreeMap<String, ProjectRecord>> =
        serde_json::from_slice(bytes).map_err(|source| ReuseError::Json {
            document: document.to_owned(),
            expected: "an object of draws, each an object of projects",
            source,
        })?;
    let Some(projects) = draws.remove(draw) else {
        let known: Vec<String> = draws.keys().map(|name| format!("`{name}`")).collect();
        return Err(ReuseError::UnknownDraw {
            document: document.to_owned(),
            draw: draw.to_owned(),
            known: known.join(", "),
        });
    };
    let project = |(name, record): (String, ProjectRecord)| Project {
        name,
        sets: record.sets,
        app_nar_size_bytes: record.app_nar_size_bytes,
    };
    Ok(projects.into_iter().map(project).collect())
}

fn parse_all(
    document: &str,
    store_dir: &StoreDir,
    texts: &[String],
) -> Result<Vec<StorePath>, ReuseError> {
    texts
        .iter()
        .map(|text| parse(document, store_dir, text))
        .collect()
}

fn parse(document: &str, store_dir: &StoreDir, text: &str) -> Result<StorePath, ReuseError> {
    store_dir
        .parse(text)
        .map_err(|source| ReuseError::StorePath {
            document: document.to_owned(),
            source,
        })
}
