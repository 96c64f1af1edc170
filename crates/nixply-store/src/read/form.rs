//! Which form a closure has, told by its content.
//!
//! Only as much is read as the answer takes: nearly always the first few hundred bytes.

use super::ReadError;
use super::entry::Entry;
use super::json::{self, Key, Kind, pass_over_map, pass_over_seq, visit_scalars_as};
use crate::excerpt::excerpt;
use crate::{StorePath, StorePathError};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The forms in which Nix writes closures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClosureForm {
    /// `nix path-info --json` of Nix 2.0 to 2.18 and of Lix: an array of records. Also a graph taken out of a
    /// derivation's attributes.
    PathInfoArray,
    /// `nix path-info --json` since Nix 2.19, `--json-format 1`: an object whose keys are paths.
    PathInfoByPath,
    /// `nix path-info --json --json-format 2` and `3`: an object of `version`, `storeDir` and `info`.
    PathInfoVersioned,
    /// `.attrs.json` of a derivation with `exportReferencesGraph`.
    DerivationAttrs,
    /// `nix-store --dump-db`, or the file `registration` of closureInfo.
    Registration,
}

impl ClosureForm {
    /// Tells the form of a closure, or why the input is none. It may yet prove malformed when it is read.
    pub fn detect(bytes: &[u8]) -> Result<Self, ReadError> {
        detect(bytes).map(|(form, _)| form)
    }
}

impl fmt::Display for ClosureForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PathInfoArray => "`nix path-info --json` (array)",
            Self::PathInfoByPath => "`nix path-info --json` (object by path)",
            Self::PathInfoVersioned => "`nix path-info --json` (format 2 or 3)",
            Self::DerivationAttrs => "`.attrs.json` of a derivation",
            Self::Registration => "a registration (`nix-store --dump-db`)",
        })
    }
}

/// The form, and the input as text.
pub(super) fn detect(bytes: &[u8]) -> Result<(ClosureForm, &str), ReadError> {
    let start = bytes
        .iter()
        .position(|byte| !byte.is_ascii_whitespace())
        .ok_or(ReadError::EmptyInput)?;
    match bytes[start] {
        b'[' | b'{' => {
            let text = std::str::from_utf8(bytes).map_err(|e| not_utf8(bytes, e.valid_up_to()))?;
            Ok((detect_json(text)?, text))
        }
        b'/' if start == 0 => {
            let text = std::str::from_utf8(bytes).map_err(|e| not_utf8(bytes, e.valid_up_to()))?;
            if starts_with_store_path(text) {
                Ok((ClosureForm::Registration, text))
            } else {
                Err(not_a_closure(bytes))
            }
        }
        _ => Err(not_a_closure(&bytes[start..])),
    }
}

/// True if the first line is an absolute path with a hash part, whatever its name.
fn starts_with_store_path(text: &str) -> bool {
    let line = text.lines().next().unwrap_or_default();
    let base_name = line.rsplit('/').next().unwrap_or_default();
    !matches!(
        StorePath::new(base_name),
        Err(StorePathError::HashPart { .. })
    )
}

fn not_utf8(bytes: &[u8], position: usize) -> ReadError {
    let before = &bytes[..position];
    let line_start = before
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |n| n + 1);
    ReadError::NotAClosure {
        found: format!(
            "a byte that is not UTF-8 at line {} column {}",
            before.split(|&b| b == b'\n').count(),
            position - line_start + 1,
        ),
    }
}

/// Says what input is that begins like no closure.
fn not_a_closure(bytes: &[u8]) -> ReadError {
    let beginning = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let line: String = beginning
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(60)
        .collect();
    let is_text = |c: char| c == '\t' || !(c.is_control() || c == char::REPLACEMENT_CHARACTER);
    ReadError::NotAClosure {
        found: if line.chars().all(is_text) {
            format!("text that starts with `{}`", excerpt(line.trim_end()))
        } else {
            "binary data".to_owned()
        },
    }
}

fn detect_json(text: &str) -> Result<ClosureForm, ReadError> {
    let mut verdict = None;
    let mut json = serde_json::Deserializer::from_str(text);
    // With a verdict, the visitor leaves the rest of the text unread, of which the JSON reader complains.
    let outcome = json.deserialize_any(TopVisitor(&mut verdict));
    match (verdict, outcome) {
        (Some(verdict), _) => verdict,
        (None, Err(error)) => Err(json::error(&error)),
        (None, Ok(())) => Err(not_a_closure(text.as_bytes())),
    }
}

type Verdict = Option<Result<ClosureForm, ReadError>>;

struct TopVisitor<'v>(&'v mut Verdict);

impl<'de> Visitor<'de> for TopVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let found = match seq.next_element()? {
            None => Ok(ClosureForm::PathInfoArray),
            Some(Entry(Ok(fields))) if fields.path.is_some() => Ok(ClosureForm::PathInfoArray),
            Some(Entry(Ok(_))) => Err("a JSON array of objects without `path`".to_owned()),
            Some(Entry(Err(kind))) => Err(format!("a JSON array with {kind} in it")),
        };
        *self.0 = Some(found.map_err(|found| ReadError::NotAClosure { found }));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        while let Some(Key(key)) = map.next_key()? {
            if keys.count == 0 && (key.starts_with('/') || StorePath::new(&key).is_ok()) {
                *self.0 = Some(Ok(ClosureForm::PathInfoByPath));
                return Ok(());
            }
            let probe = MemberProbe {
                in_info: key == "info",
                verdict: &mut *self.0,
            };
            let kind = map.next_value_seed(probe)?;
            if self.0.is_some() {
                return Ok(());
            }
            keys.add(&key, kind);
        }
        *self.0 = Some(keys.conclude());
        Ok(())
    }
}

/// How many keys a message names.
const KEYS_NAMED_MAX: usize = 5;

/// The keys of an object of which no value told what it is.
#[derive(Default)]
struct Keys {
    /// The first few, for a message.
    names: Vec<String>,
    count: usize,
    /// Those that a closure or a derivation without a graph would have.
    telling: Vec<&'static str>,
}

impl Keys {
    fn add(&mut self, key: &str, kind: Kind) {
        self.count += 1;
        match (key, kind) {
            ("info", _) => self.telling.push("info"),
            ("version", Kind::Number) => self.telling.push("version"),
            ("builder", Kind::String) => self.telling.push("builder"),
            ("outputs", Kind::Object) => self.telling.push("outputs"),
            _ => {}
        }
        if self.names.len() < KEYS_NAMED_MAX {
            self.names.push(format!("`{}`", excerpt(key)));
        }
    }

    fn conclude(self) -> Result<ClosureForm, ReadError> {
        let has = |keys: [&str; 2]| keys.iter().all(|key| self.telling.contains(key));
        if self.count == 0 {
            Ok(ClosureForm::PathInfoByPath)
        } else if has(["info", "version"]) {
            Ok(ClosureForm::PathInfoVersioned)
        } else if has(["builder", "outputs"]) {
            Err(ReadError::NoGraph)
        } else {
            let more = if self.count > self.names.len() {
                ", …"
            } else {
                ""
            };
            Err(ReadError::NotAClosure {
                found: format!("a JSON object with {}{more}", self.names.join(", ")),
            })
        }
    }
}

/// Looks at a value of the outermost object. With a verdict, the rest of the value is left unread.
struct MemberProbe<'v> {
    in_info: bool,
    verdict: &'v mut Verdict,
}

impl<'de> DeserializeSeed<'de> for MemberProbe<'_> {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MemberProbe<'_> {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    visit_scalars_as!(|kind| kind);
    /// An array of what `exportReferencesGraph` writes makes the object the attributes of a derivation.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        match seq.next_element::<Entry<'de>>()? {
            Some(entry) if entry.is_of_references_graph() => {
                *self.verdict = Some(Ok(ClosureForm::DerivationAttrs));
            }
            _ => pass_over_seq(seq)?,
        }
        Ok(Kind::Array)
    }
    /// An object `info` with store paths as keys makes the object a versioned one.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        if self.in_info
            && let Some(Key(key)) = map.next_key()?
        {
            if key.starts_with('/') || StorePath::new(&key).is_ok() {
                *self.verdict = Some(Ok(ClosureForm::PathInfoVersioned));
                return Ok(Kind::Object);
            }
            map.next_value::<Kind>()?;
        }
        pass_over_map(map)?;
        Ok(Kind::Object)
    }
}
