//! One path's record in JSON, in all the shapes that Nix gave it.

use super::ReadError;
use super::error::Subject;
use super::json::{Key, Kind, Text, Value, pass_over_map, pass_over_seq, visit_scalars_as};
use super::record::Record;
use crate::NarHash;
use crate::base32;
use crate::excerpt::excerpt;
use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// The fields of a record that are needed, not yet looked at.
#[derive(Debug, Default)]
pub(super) struct Fields<'de> {
    pub(super) path: Option<Value<'de>>,
    pub(super) valid: Option<Value<'de>>,
    pub(super) store_dir: Option<Value<'de>>,
    nar_hash: Option<Value<'de>>,
    nar_size: Option<Value<'de>>,
    references: Option<References<'de>>,
    ca: Option<Value<'de>>,
    deriver: Option<Value<'de>>,
    signatures: Option<Value<'de>>,
    registration_time: Option<Value<'de>>,
}

/// A record, or what stands in its place.
#[derive(Debug)]
pub(super) struct Entry<'de>(pub(super) Result<Fields<'de>, Kind>);

impl Entry<'_> {
    /// True for what `exportReferencesGraph` writes of a path: these fields are there in every version of Nix.
    pub(super) fn is_of_references_graph(&self) -> bool {
        self.0.as_ref().is_ok_and(|fields| {
            fields.path.is_some()
                && fields.nar_hash.is_some()
                && fields.nar_size.is_some()
                && fields.references.is_some()
        })
    }
}

impl<'de> Deserialize<'de> for Entry<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the record of a path")
            }
            visit_scalars_as!(|kind| Entry(Err(kind)));
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Entry<'de>, A::Error> {
                pass_over_seq(seq)?;
                Ok(Entry(Err(Kind::Array)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(Key(key)) = map.next_key()? {
                    let field = match &*key {
                        "path" => &mut fields.path,
                        "valid" => &mut fields.valid,
                        "storeDir" => &mut fields.store_dir,
                        "narHash" => &mut fields.nar_hash,
                        "narSize" => &mut fields.nar_size,
                        "references" => {
                            fields.references = Some(map.next_value()?);
                            continue;
                        }
                        "ca" => &mut fields.ca,
                        "deriver" => &mut fields.deriver,
                        "signatures" => &mut fields.signatures,
                        "registrationTime" => &mut fields.registration_time,
                        _ => {
                            map.next_value::<Kind>()?;
                            continue;
                        }
                    };
                    *field = Some(map.next_value()?);
                }
                Ok(Entry(Ok(fields)))
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}

/// The references of a path. There are far more of them than of anything else, so they are read as what they ought to
/// be, and what they are instead is told from the first that is something else.
#[derive(Debug)]
enum References<'de> {
    Texts(Vec<Cow<'de, str>>),
    /// An array with something in it that is no string.
    ArrayWith(Kind),
    NoArray(Kind),
}

impl<'de> Deserialize<'de> for References<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReferencesVisitor;
        impl<'de> Visitor<'de> for ReferencesVisitor {
            type Value = References<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            visit_scalars_as!(References::NoArray);
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(Text(text)) = seq.next_element()? {
                    match text {
                        Ok(text) => texts.push(text),
                        Err(kind) => {
                            pass_over_seq(seq)?;
                            return Ok(References::ArrayWith(kind));
                        }
                    }
                }
                Ok(References::Texts(texts))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                pass_over_map(map)?;
                Ok(References::NoArray(Kind::Object))
            }
        }
        deserializer.deserialize_any(ReferencesVisitor)
    }
}

/// Where a value stands, for messages.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) field: &'static str,
}

impl Place<'_> {
    pub(super) fn wrong_type(self, expected: &'static str, found: Kind) -> ReadError {
        self.wrong(expected, found.to_string())
    }

    fn wrong(self, expected: &'static str, found: String) -> ReadError {
        ReadError::FieldType {
            entry: self.subject.to_string(),
            field: self.field,
            expected,
            found,
        }
    }

    pub(super) fn required<T>(self, value: Option<T>) -> Result<T, ReadError> {
        value.ok_or_else(|| ReadError::MissingField {
            entry: self.subject.to_string(),
            field: self.field,
        })
    }
}

impl<'de> Fields<'de> {
    /// Checks the types of a record's fields.
    pub(super) fn into_record(self, path: Cow<'de, str>) -> Result<Record<'de>, ReadError> {
        let at = |field| Place {
            subject: Subject::Path(&path),
            field,
        };
        let given = |value: Option<Value<'de>>| value.filter(|value| value.kind() != Kind::Null);
        Ok(Record {
            nar_hash: nar_hash(at("narHash"), self.nar_hash)?,
            nar_size_bytes: unsigned(
                at("narSize"),
                &at("narSize").required(self.nar_size)?,
                "a whole number of bytes",
            )?,
            references: references(at("references"), self.references)?,
            ca: given(self.ca)
                .map(|ca| content_address(at("ca"), ca))
                .transpose()?,
            deriver: given(self.deriver)
                .map(Value::into_text)
                .transpose()
                .map_err(|kind| at("deriver").wrong_type("a string", kind))?,
            signatures: given(self.signatures)
                .map(|value| signatures(at("signatures"), value))
                .transpose()?
                .unwrap_or_default(),
            registration_time_secs: given(self.registration_time)
                .map(|value| unsigned(at("registrationTime"), &value, "a whole number of seconds"))
                .transpose()?,
            path,
        })
    }
}

fn unsigned(place: Place<'_>, value: &Value<'_>, expected: &'static str) -> Result<u64, ReadError> {
    match value {
        Value::Unsigned(number) => Ok(*number),
        Value::Other(Kind::Number) => {
            Err(place.wrong(expected, "a number outside 0 to 2^64-1".to_owned()))
        }
        other => Err(place.wrong_type(expected, other.kind())),
    }
}

fn references<'de>(
    place: Place<'_>,
    value: Option<References<'de>>,
) -> Result<Vec<Cow<'de, str>>, ReadError> {
    let expected = "an array of strings";
    match place.required(value)? {
        References::Texts(texts) => Ok(texts),
        References::ArrayWith(kind) => {
            Err(place.wrong(expected, format!("an array with {kind} in it")))
        }
        References::NoArray(kind) => Err(place.wrong_type(expected, kind)),
    }
}

/// A string, or in development versions of late 2025 an object of algorithm, format and digits.
fn nar_hash(place: Place<'_>, value: Option<Value<'_>>) -> Result<NarHash, ReadError> {
    let value = place.required(value)?;
    let text = match &value {
        Value::Text(text) => Cow::Borrowed(&**text),
        Value::Object(_) => {
            let (algorithm, digits) = structured_hash(&value)
                .ok_or_else(|| place.wrong_type(STRUCTURED, Kind::Object))?;
            Cow::Owned(format!("{algorithm}:{digits}"))
        }
        other => return Err(place.wrong_type("a string", other.kind())),
    };
    text.strip_prefix("sha256:")
        .and_then(NarHash::from_digits)
        .map_or_else(|| text.parse(), Ok)
        .map_err(|error| ReadError::NarHash {
            entry: place.subject.to_string(),
            error,
        })
}

const STRUCTURED: &str = "a string, or an object of the strings `algorithm`, `format` and `hash`";

/// Algorithm and digits. The format is told by the number of digits.
fn structured_hash<'a>(value: &'a Value<'_>) -> Option<(&'a str, &'a str)> {
    Some((
        value.get("algorithm")?.as_text()?,
        value.get("hash")?.as_text()?,
    ))
}

/// A content address in its text form (Nix, `src/libstore/content-address.cc`): `text:HASH`, `fixed:HASH` for a plain
/// file, `fixed:r:HASH` for a NAR. Formats 2 and 3 give method and hash apart.
fn content_address(place: Place<'_>, value: Value<'_>) -> Result<String, ReadError> {
    let expected = "a string, or an object of the strings `method` and `hash`";
    let kind = value.kind();
    if let Value::Text(text) = value {
        return Ok(text.into_owned());
    }
    let method = value.get("method").and_then(Value::as_text);
    let hash = value.get("hash").and_then(hash_in_base32);
    let (Some(method), Some(hash)) = (method, hash) else {
        return Err(place.wrong_type(expected, kind));
    };
    Ok(match method {
        "text" => format!("text:{hash}"),
        "flat" => format!("fixed:{hash}"),
        "nar" => format!("fixed:r:{hash}"),
        other => format!("fixed:{}:{hash}", excerpt(other)),
    })
}

/// A hash of any algorithm as `ALGORITHM:BASE32`.
fn hash_in_base32(value: &Value<'_>) -> Option<String> {
    let (algorithm, bytes) = match value {
        Value::Text(sri) => {
            let (algorithm, digits) = sri.split_once('-')?;
            (algorithm, BASE64.decode(digits.as_bytes()).ok()?)
        }
        structured => {
            let (algorithm, digits) = structured_hash(structured)?;
            let bytes = match structured.get("format")?.as_text()? {
                "base16" => HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()?,
                "base64" => BASE64.decode(digits.as_bytes()).ok()?,
                _ => return None,
            };
            (algorithm, bytes)
        }
    };
    Some(format!("{}:{}", excerpt(algorithm), base32::encode(&bytes)))
}

/// `KEY:BASE64` strings, or in format 3 objects of the two.
fn signatures(place: Place<'_>, value: Value<'_>) -> Result<Vec<String>, ReadError> {
    let expected = "an array of strings, or of objects of the strings `keyName` and `sig`";
    let Value::Array(items) = value else {
        return Err(place.wrong_type(expected, value.kind()));
    };
    items
        .into_iter()
        .map(|item| {
            let kind = item.kind();
            if let Value::Text(text) = item {
                return Ok(text.into_owned());
            }
            let part = |name| item.get(name).and_then(Value::as_text);
            match (part("keyName"), part("sig")) {
                (Some(key), Some(signature)) => Ok(format!("{key}:{signature}")),
                _ => Err(place.wrong(expected, format!("an array with {kind} in it"))),
            }
        })
        .collect()
}
