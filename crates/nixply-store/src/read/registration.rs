//! `nix-store --dump-db`, and the same in `closureInfo`'s `registration`: what `nix-store --load-db` reads.
//!
//! A record is a line each of path, NAR hash, NAR size, deriver (may be empty) and number of references, and then a line
//! for each reference (Nix, `src/libstore/store-api.cc`, `decodeValidPathInfo`).

use super::error::{OtherList, Subject};
use super::record::{Record, close};
use super::{Closure, ReadError};
use crate::NarHash;
use crate::excerpt::excerpt;
use std::borrow::Cow;

pub(super) fn read(text: &str) -> Result<Closure, ReadError> {
    let mut lines = Lines {
        lines: text.lines(),
        number: 0,
    };
    let mut records = Vec::new();
    while let Some(path) = lines.next_record(text)? {
        records.push(read_record(&mut lines, path).map_err(|e| with_other_list(e, text))?);
    }
    close(None, records)
}

fn read_record<'a>(lines: &mut Lines<'a>, path: &'a str) -> Result<Record<'a>, ReadError> {
    let hash = lines.next("a NAR hash")?;
    let nar_hash = match NarHash::from_digits(hash) {
        Some(nar_hash) => nar_hash,
        None if hash.starts_with("sha256") => hash.parse().map_err(|error| ReadError::NarHash {
            entry: Subject::Path(path).to_string(),
            error,
        })?,
        None => return Err(lines.unexpected("a NAR hash", hash)),
    };
    let size = lines.next("a NAR size in bytes")?;
    let nar_size_bytes =
        number(size).ok_or_else(|| lines.unexpected("a NAR size in bytes", size))?;
    let deriver = lines.next("a deriver or an empty line")?;
    let count = lines.next("the number of references")?;
    let count = number(count).ok_or_else(|| lines.unexpected("the number of references", count))?;
    // The number is the input's word: nothing is reserved for it.
    let mut references = Vec::new();
    for _ in 0..count {
        references.push(Cow::Borrowed(lines.next("a reference")?));
    }
    Ok(Record {
        path: Cow::Borrowed(path),
        nar_hash,
        nar_size_bytes,
        references,
        ca: None,
        deriver: Some(deriver)
            .filter(|deriver| !deriver.is_empty())
            .map(Cow::Borrowed),
        signatures: Vec::new(),
        registration_time_secs: None,
    })
}

/// Digits only: Rust would take a sign as well.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

struct Lines<'a> {
    lines: std::str::Lines<'a>,
    /// The number of the line that was read last.
    number: usize,
}

impl<'a> Lines<'a> {
    /// The path that the next record begins with. White space may stand at the end of the text.
    fn next_record(&mut self, text: &str) -> Result<Option<&'a str>, ReadError> {
        match self.advance() {
            None => Ok(None),
            Some(line) if line.starts_with('/') => Ok(Some(line)),
            Some(line)
                if line.trim().is_empty() && self.lines.clone().all(|l| l.trim().is_empty()) =>
            {
                Ok(None)
            }
            Some(line) => Err(with_other_list(self.unexpected("a store path", line), text)),
        }
    }

    fn next(&mut self, expected: &'static str) -> Result<&'a str, ReadError> {
        match self.advance() {
            Some(line) => Ok(line),
            None => Err(ReadError::Registration {
                line: self.number,
                expected,
                found: "the end of the input".to_owned(),
                instead: None,
            }),
        }
    }

    fn advance(&mut self) -> Option<&'a str> {
        self.number += 1;
        self.lines.next()
    }

    fn unexpected(&self, expected: &'static str, found: &str) -> ReadError {
        ReadError::Registration {
            line: self.number,
            expected,
            found: if found.is_empty() {
                "an empty line".to_owned()
            } else {
                format!("`{}`", excerpt(found))
            },
            instead: None,
        }
    }
}

/// Adds what the text seems to be instead, judged by its second line.
fn with_other_list(error: ReadError, text: &str) -> ReadError {
    let other_list = match text.lines().nth(1) {
        Some("") => Some(OtherList::PlainReferencesGraph),
        Some(line) if line.starts_with('/') => Some(OtherList::StorePaths),
        None => Some(OtherList::StorePaths),
        Some(_) => None,
    };
    match error {
        ReadError::Registration {
            line,
            expected,
            found,
            instead: _,
        } => ReadError::Registration {
            line,
            expected,
            found,
            instead: other_list,
        },
        other => other,
    }
}
