//! `nix path-info --json`.

use super::ReadError;
use super::entry::{Entry, Place};
use super::error::Subject;
use super::json::{self, Key, Kind, Value, pass_over_seq, visit_scalars_as};
use super::record::{Record, close};
use crate::excerpt::excerpt;
use crate::{Closure, StoreDir};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// An array of records that name their own path: Nix 2.0 to 2.18, Lix, and a graph of `exportReferencesGraph`.
pub(super) fn read_array(text: &str) -> Result<Closure, ReadError> {
    closure_of_array(json::parse(text)?)
}

/// The closure of such an array.
pub(super) fn closure_of_array(entries: Vec<Entry<'_>>) -> Result<Closure, ReadError> {
    let mut records = Records::default();
    for (n, Entry(fields)) in (1_usize..).zip(entries) {
        let place = Place {
            subject: Subject::Entry(n),
            field: "path",
        };
        let mut fields = fields.map_err(|found| ReadError::NotARecord {
            entry: place.subject.to_string(),
            found: found.to_string(),
        })?;
        let path = place
            .required(fields.path.take())?
            .into_text()
            .map_err(|kind| place.wrong_type("a string", kind))?;
        records.add(path, Entry(Ok(fields)))?;
    }
    records.close()
}

/// An object whose keys are paths: Nix 2.19 and later, `--json-format 1`.
pub(super) fn read_by_path(text: &str) -> Result<Closure, ReadError> {
    let members: Members<'_> = json::parse(text)?;
    Records::default().add_members(members)?.close()
}

/// An object of `version`, `storeDir` and `info`: `--json-format 2` and `3`.
pub(super) fn read_versioned(text: &str) -> Result<Closure, ReadError> {
    let document: Versioned<'_> = json::parse(text)?;
    match document.version {
        None | Some(Value::Unsigned(2 | 3)) => {}
        Some(Value::Unsigned(found)) => {
            return Err(ReadError::UnknownVersion {
                found: found.to_string(),
            });
        }
        Some(other) => {
            return Err(top("version").wrong_type("a number", other.kind()));
        }
    }
    let mut records = Records::default();
    if let Some(store_dir) = document.store_dir {
        let store_dir = store_dir
            .into_text()
            .map_err(|kind| top("storeDir").wrong_type("a string", kind))?;
        records.store_dir = Some(StoreDir::new(&store_dir)?);
    }
    records.add_members(document.info)?.close()
}

/// A field of the document, for messages.
fn top(field: &'static str) -> Place<'static> {
    Place {
        subject: Subject::Document,
        field,
    }
}

/// What was read so far.
#[derive(Default)]
struct Records<'de> {
    store_dir: Option<StoreDir>,
    valid: Vec<Record<'de>>,
    /// Paths that Nix says it does not have.
    invalid: Vec<Cow<'de, str>>,
}

impl<'de> Records<'de> {
    fn add_members(mut self, members: Members<'de>) -> Result<Self, ReadError> {
        let members = members
            .0
            .map_err(|found| top("info").wrong_type("an object", found))?;
        for (Key(path), entry) in members {
            self.add(path, entry)?;
        }
        Ok(self)
    }

    fn add(&mut self, path: Cow<'de, str>, Entry(fields): Entry<'de>) -> Result<(), ReadError> {
        let subject = Subject::Path(&path);
        let fields = match fields {
            Ok(fields) => fields,
            Err(Kind::Null) => {
                self.invalid.push(path);
                return Ok(());
            }
            Err(found) => {
                return Err(ReadError::NotARecord {
                    entry: subject.to_string(),
                    found: found.to_string(),
                });
            }
        };
        match fields.valid {
            Some(Value::Boolean(false)) => {
                self.invalid.push(path);
                return Ok(());
            }
            None | Some(Value::Boolean(true)) => {}
            Some(other) => {
                let place = Place {
                    subject,
                    field: "valid",
                };
                return Err(place.wrong_type("a boolean", other.kind()));
            }
        }
        if let Some(store_dir) = &fields.store_dir {
            self.check_store_dir(subject, store_dir)?;
        }
        self.valid.push(fields.into_record(path)?);
        Ok(())
    }

    /// Each record may repeat the store directory; the first one counts where the document does not say it.
    fn check_store_dir(
        &mut self,
        subject: Subject<'_>,
        value: &Value<'_>,
    ) -> Result<(), ReadError> {
        let place = Place {
            subject,
            field: "storeDir",
        };
        let found = value
            .as_text()
            .ok_or_else(|| place.wrong_type("a string", value.kind()))?;
        match &self.store_dir {
            Some(expected) if expected.as_str() == found => Ok(()),
            Some(expected) => Err(ReadError::OtherStoreDir {
                entry: subject.to_string(),
                found: excerpt(found),
                expected: expected.to_string(),
            }),
            None => {
                self.store_dir = Some(StoreDir::new(found)?);
                Ok(())
            }
        }
    }

    fn close(self) -> Result<Closure, ReadError> {
        if self.invalid.is_empty() {
            return close(self.store_dir, self.valid);
        }
        let absolute = |path: &Cow<'_, str>| match &self.store_dir {
            Some(store_dir) if !path.starts_with('/') => format!("{store_dir}/{}", excerpt(path)),
            _ => excerpt(path),
        };
        Err(ReadError::InvalidPaths {
            paths: self.invalid.iter().map(absolute).collect(),
        })
    }
}

/// The records of an object whose keys are paths, or what stands in its place. Repeated keys are kept.
struct Members<'de>(Result<Vec<(Key<'de>, Entry<'de>)>, Kind>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of records")
            }
            visit_scalars_as!(|kind| Members(Err(kind)));
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Members<'de>, A::Error> {
                pass_over_seq(seq)?;
                Ok(Members(Err(Kind::Array)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(Ok(members)))
            }
        }
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct Versioned<'de> {
    version: Option<Value<'de>>,
    store_dir: Option<Value<'de>>,
    info: Members<'de>,
}

impl<'de> Deserialize<'de> for Versioned<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VersionedVisitor;
        impl<'de> Visitor<'de> for VersionedVisitor {
            type Value = Versioned<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of `version`, `storeDir` and `info`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut document = Versioned {
                    version: None,
                    store_dir: None,
                    info: Members(Ok(Vec::new())),
                };
                while let Some(Key(key)) = map.next_key()? {
                    match &*key {
                        "version" => document.version = Some(map.next_value()?),
                        "storeDir" => document.store_dir = Some(map.next_value()?),
                        "info" => document.info = map.next_value()?,
                        _ => {
                            map.next_value::<Kind>()?;
                        }
                    }
                }
                Ok(document)
            }
        }
        deserializer.deserialize_map(VersionedVisitor)
    }
}
