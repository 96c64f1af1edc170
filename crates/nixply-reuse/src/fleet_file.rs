//! A fleet in one compact file, `nixply.fleet/1`: each path once, however many pins have it.
//!
//! ```json
//! { "schema": "nixply.fleet/1", "store_dir": "/nix/store",
//!   "paths": [ ["HASH-bash-4.4", 1234567, [1]], ["HASH-glibc-2.27", 30000000, []] ],
//!   "pins": [ { "name": "2019-10-10", "sets": { "shell": [0] } } ],
//!   "draws": { "a": { "project": { "sets": ["shell"], "app_nar_size_bytes": 5000000 } } } }
//! ```
//!
//! A path is its base name, its NAR size in bytes, and the positions of what it refers to. A set is the positions of its
//! roots; a pin has what its sets reach. Readers refuse another schema and ignore unknown fields.

use crate::ReuseError;
use crate::fleet::{Draws, Pin, Sets};
use crate::identity::path_info;
use crate::read::{DrawRecords, draw_records, draws_of};
use nixply_store::{Closure, PathIdx, PathInfo, StoreDir, StorePath};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const SCHEMA: &str = "nixply.fleet/1";

/// Base name, NAR size in bytes, positions of references.
type PathRecord = (String, u64, Vec<usize>);

#[derive(Debug, Deserialize)]
struct Document {
    schema: String,
    store_dir: Option<String>,
    paths: Vec<PathRecord>,
    pins: Vec<PinRecord>,
    #[serde(default)]
    draws: DrawRecords,
}

#[derive(Debug, Serialize, Deserialize)]
struct PinRecord {
    name: String,
    sets: BTreeMap<String, Vec<usize>>,
}

/// What a fleet file holds.
#[derive(Debug, Clone, Default)]
pub struct FleetFile {
    /// The pins, oldest first.
    pub pins: Vec<Pin>,
    /// The draws of projects, if any.
    pub draws: Draws,
}

impl FleetFile {
    /// Whether bytes look like a fleet file; they may still be broken.
    #[must_use]
    pub fn is_fleet_file(bytes: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        serde_json::from_slice::<Head>(bytes)
            .is_ok_and(|head| head.schema.starts_with("nixply.fleet/"))
    }

    /// Reads a fleet file.
    pub fn read(document: &str, bytes: &[u8]) -> Result<Self, ReuseError> {
        let parsed: Document =
            serde_json::from_slice(bytes).map_err(|source| ReuseError::Json {
                document: document.to_owned(),
                expected: "a fleet file",
                source,
            })?;
        if parsed.schema != SCHEMA {
            return Err(ReuseError::Schema {
                document: document.to_owned(),
                schema: parsed.schema,
                expected: SCHEMA,
            });
        }
        let store_dir = match &parsed.store_dir {
            None => StoreDir::default(),
            Some(text) => StoreDir::new(text).map_err(|source| ReuseError::StoreDir {
                document: document.to_owned(),
                source,
            })?,
        };
        let table = Table::new(document, store_dir, &parsed.paths)?;
        let pins = parsed.pins.iter().map(|pin| table.pin(pin));
        Ok(Self {
            pins: pins.collect::<Result<_, _>>()?,
            draws: draws_of(parsed.draws),
        })
    }

    /// The file, a path a line.
    pub fn to_json(&self) -> Result<String, ReuseError> {
        let mut paths = BTreeMap::new();
        for pin in &self.pins {
            let all = pin.closure.indices().map(|idx| (idx, &pin.closure));
            for (idx, closure) in all {
                let info = closure.info(idx);
                let record = (info.nar_size_bytes, references(closure, idx));
                // By name, so that versions of a package stand together.
                let key = (info.path.name(), info.path.hash_part());
                if *paths.entry(key).or_insert_with(|| record.clone()) != record {
                    return Err(ReuseError::Disagree {
                        path: info.path.clone(),
                        pin: pin.name.clone(),
                    });
                }
            }
        }
        let positions: BTreeMap<_, _> = paths.keys().copied().zip(0_usize..).collect();
        let position = |path: &StorePath| positions.get(&(path.name(), path.hash_part())).copied();
        let record =
            |((name, hash_part), (size, references)): (&(&str, &str), &(u64, Vec<StorePath>))| {
                let references = references.iter().filter_map(position).collect();
                (format!("{hash_part}-{name}"), *size, references)
            };
        let paths: Vec<PathRecord> = paths.iter().map(record).collect();
        let pin = |pin: &Pin| PinRecord {
            name: pin.name.clone(),
            sets: pin
                .sets
                .iter()
                .map(|(set, roots)| (set.clone(), roots.iter().filter_map(position).collect()))
                .collect(),
        };
        let pins: Vec<PinRecord> = self.pins.iter().map(pin).collect();
        let store_dir = self
            .pins
            .first()
            .map(|pin| pin.closure.store_dir().as_str());
        let draws = draw_records(&self.draws);
        Ok(format!(
            "{{\"schema\":\"{SCHEMA}\",\n\"store_dir\":{},\n\"paths\":[\n{}\n],\n\"pins\":[\n{}\n],\n\"draws\":{}}}\n",
            line(&store_dir.unwrap_or("/nix/store")),
            lines(&paths),
            lines(&pins),
            line(&draws),
        ))
    }
}

fn lines<T: Serialize>(items: &[T]) -> String {
    items.iter().map(line).collect::<Vec<_>>().join(",\n")
}

/// Strings, numbers, arrays and objects with text keys: nothing that JSON cannot hold.
fn line<T: Serialize>(item: &T) -> String {
    serde_json::to_string(item).unwrap_or_default()
}

fn references(closure: &Closure, idx: PathIdx) -> Vec<StorePath> {
    let references = closure.references(idx);
    references.map(|to| closure.info(to).path.clone()).collect()
}

/// The paths of a document.
struct Table<'a> {
    document: &'a str,
    store_dir: StoreDir,
    paths: Vec<PathInfo>,
    references: Vec<&'a [usize]>,
}

impl<'a> Table<'a> {
    fn new(
        document: &'a str,
        store_dir: StoreDir,
        records: &'a [PathRecord],
    ) -> Result<Self, ReuseError> {
        let mut paths = Vec::with_capacity(records.len());
        let mut all_references = Vec::with_capacity(records.len());
        for (base_name, nar_size_bytes, references) in records {
            let path = StorePath::new(base_name).map_err(|source| ReuseError::StorePath {
                document: document.to_owned(),
                source,
            })?;
            for &position in references {
                check_position(document, position, records.len())?;
            }
            paths.push(path_info(path, *nar_size_bytes));
            all_references.push(references.as_slice());
        }
        Ok(Self {
            document,
            store_dir,
            paths,
            references: all_references,
        })
    }

    fn pin(&self, record: &PinRecord) -> Result<Pin, ReuseError> {
        let mut sets = Sets::new();
        let mut reached = vec![false; self.paths.len()];
        let mut to_visit: Vec<usize> = Vec::new();
        for (set, roots) in &record.sets {
            for &position in roots {
                check_position(self.document, position, self.paths.len())?;
            }
            let paths = roots
                .iter()
                .map(|&position| self.paths[position].path.clone());
            sets.insert(set.clone(), paths.collect());
            to_visit.extend(roots);
        }
        let mut records = Vec::new();
        while let Some(position) = to_visit.pop() {
            if std::mem::replace(&mut reached[position], true) {
                continue;
            }
            let references = self.references[position];
            to_visit.extend(references);
            let references = references.iter().map(|&to| self.paths[to].path.clone());
            records.push((self.paths[position].clone(), references.collect()));
        }
        let closure = Closure::new(self.store_dir.clone(), records).map_err(|source| {
            ReuseError::Closure {
                document: format!("{} of {}", record.name, self.document),
                source: Box::new(source),
            }
        })?;
        Ok(Pin {
            name: record.name.clone(),
            closure,
            sets,
        })
    }
}

fn check_position(document: &str, position: usize, paths: usize) -> Result<(), ReuseError> {
    if position < paths {
        return Ok(());
    }
    Err(ReuseError::Position {
        document: document.to_owned(),
        position,
        paths,
    })
}
