//! Reads pins and draws from bytes that somebody else read.

use crate::ReuseError;
use crate::fleet::{Draws, Pin, Project, Sets};
use crate::identity::path_info;
use nixply_store::{Closure, PathIdx, StoreDir, StorePath, read_closure};
use serde::{Deserialize, Serialize};
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

/// A project as documents have it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProjectRecord {
    sets: Vec<String>,
    app_nar_size_bytes: u64,
}

/// Draws as documents have them.
pub(crate) type DrawRecords = BTreeMap<String, BTreeMap<String, ProjectRecord>>;

impl Pin {
    /// Reads a closure and its package sets.
    ///
    /// The closure is an array of records with `path`, `narSize` and `references`, or any form that
    /// [`read_closure`] takes. The sets are an object of arrays of store paths. Records without a NAR hash get one from
    /// their path: the laboratory tells paths apart by name.
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

impl Pin {
    /// A pin of images by name, each a closure; the roots of an image are the paths that nothing in it refers to.
    pub fn of_images(name: &str, images: &BTreeMap<String, Closure>) -> Result<Self, ReuseError> {
        let mut sets = Sets::new();
        let mut records = Vec::new();
        let mut store_dir = None;
        for (image, closure) in images {
            let store_dir = store_dir.get_or_insert_with(|| closure.store_dir().clone());
            if store_dir != closure.store_dir() {
                return Err(ReuseError::StoreDirs {
                    image: image.clone(),
                    store_dir: closure.store_dir().clone(),
                    expected: store_dir.clone(),
                });
            }
            let is_root = |idx: &PathIdx| closure.referrers(*idx).next().is_none();
            let roots = closure.indices().filter(is_root);
            sets.insert(
                image.clone(),
                roots.map(|idx| closure.info(idx).path.clone()).collect(),
            );
            records.extend(closure.indices().map(|idx| {
                let references = closure.references(idx);
                let references = references.map(|to| closure.info(to).path.clone());
                (closure.info(idx).clone(), references.collect())
            }));
        }
        let closure = Closure::new(store_dir.unwrap_or_default(), records);
        Ok(Self {
            name: name.to_owned(),
            closure: closure.map_err(|source| ReuseError::Closure {
                document: name.to_owned(),
                source: Box::new(source),
            })?,
            sets,
        })
    }
}

/// Reads draws: an object of draws, each an object of projects with `sets` and `app_nar_size_bytes`.
pub fn read_draws(document: &str, bytes: &[u8]) -> Result<Draws, ReuseError> {
    let records = serde_json::from_slice(bytes).map_err(|source| ReuseError::Json {
        document: document.to_owned(),
        expected: "an object of draws, each an object of projects",
        source,
    })?;
    Ok(draws_of(records))
}

pub(crate) fn draws_of(records: DrawRecords) -> Draws {
    let project = |(name, record): (String, ProjectRecord)| Project {
        name,
        sets: record.sets,
        app_nar_size_bytes: record.app_nar_size_bytes,
    };
    records
        .into_iter()
        .map(|(draw, projects)| (draw, projects.into_iter().map(project).collect()))
        .collect()
}

pub(crate) fn draw_records(draws: &Draws) -> DrawRecords {
    let record = |project: &Project| {
        let record = ProjectRecord {
            sets: project.sets.clone(),
            app_nar_size_bytes: project.app_nar_size_bytes,
        };
        (project.name.clone(), record)
    };
    draws
        .iter()
        .map(|(draw, projects)| (draw.clone(), projects.iter().map(record).collect()))
        .collect()
}

fn read_records(name: &str, bytes: &[u8]) -> Result<Closure, ReuseError> {
    let records = match serde_json::from_slice::<Vec<Record>>(bytes) {
        Ok(records) if records.iter().any(|record| record.nar_hash.is_none()) => records,
        _ => {
            return read_closure(bytes).map_err(|source| ReuseError::ReadClosure {
                document: name.to_owned(),
                source: Box::new(source),
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
        source: Box::new(source),
    })
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
