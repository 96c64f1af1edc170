//! What every form says of a path, and the step from there to a closure.

use super::ReadError;
use super::error::Subject;
use crate::closure;
use crate::{Closure, NarHash, PathInfo, StoreDir, StorePath, StorePathError};
use std::borrow::Cow;

/// A path's record with its names as the input gives them: absolute paths, or base names.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) path: Cow<'a, str>,
    pub(super) nar_hash: NarHash,
    pub(super) nar_size_bytes: u64,
    pub(super) references: Vec<Cow<'a, str>>,
    pub(super) ca: Option<String>,
    pub(super) deriver: Option<Cow<'a, str>>,
    pub(super) signatures: Vec<String>,
    pub(super) registration_time_secs: Option<u64>,
}

/// Makes a closure of records. Without a store directory the one that the first path lies in is taken.
pub(super) fn close(
    store_dir: Option<StoreDir>,
    records: Vec<Record<'_>>,
) -> Result<Closure, ReadError> {
    let store_dir = match (store_dir, records.first()) {
        (Some(store_dir), _) => store_dir,
        (None, Some(first)) => parent(&first.path)?,
        (None, None) => StoreDir::default(),
    };
    let records = records
        .into_iter()
        .map(|record| resolve(&store_dir, record))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(closure::build(store_dir, records)?)
}

fn parent(path: &str) -> Result<StoreDir, ReadError> {
    match path.rsplit_once('/') {
        Some((parent, _)) => Ok(StoreDir::new(parent)?),
        None => Err(ReadError::NoStoreDir),
    }
}

fn resolve<'a>(
    store_dir: &StoreDir,
    record: Record<'a>,
) -> Result<(PathInfo, Vec<Cow<'a, str>>), ReadError> {
    let at = |field| {
        let path = &record.path;
        move |error| ReadError::StorePath {
            entry: Subject::Path(path).to_string(),
            field,
            error,
        }
    };
    let path = base_name(store_dir, &record.path)
        .and_then(StorePath::new)
        .map_err(at("path"))?;
    let deriver = match &record.deriver {
        Some(deriver) => Some(
            base_name(store_dir, deriver)
                .and_then(StorePath::new)
                .map_err(at("deriver"))?,
        ),
        None => None,
    };
    let mut references = record.references;
    for reference in &mut references {
        match reference {
            Cow::Borrowed(text) => {
                *text = base_name(store_dir, text).map_err(at("references"))?;
            }
            Cow::Owned(text) => {
                *text = base_name(store_dir, text)
                    .map_err(at("references"))?
                    .to_owned();
            }
        }
    }
    let info = PathInfo {
        path,
        nar_hash: record.nar_hash,
        nar_size_bytes: record.nar_size_bytes,
        ca: record.ca,
        deriver,
        signatures: record.signatures,
        registration_time_secs: record.registration_time_secs,
    };
    Ok((info, references))
}

/// The last part of an absolute path in the store directory. What is not absolute is taken as a base name.
fn base_name<'t>(store_dir: &StoreDir, text: &'t str) -> Result<&'t str, StorePathError> {
    if !text.starts_with('/') {
        return Ok(text);
    }
    store_dir.base_name_of(text)
}
