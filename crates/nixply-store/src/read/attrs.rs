//! `.attrs.json`: the attributes of a derivation with `__structuredAttrs` and `exportReferencesGraph`.
//!
//! Nix puts one array for each name in `exportReferencesGraph` beside all other attributes, which may be anything. The
//! shape of the array's records is frozen (Nix, `src/libstore/parsed-derivations.cc`), so an attribute is taken for a
//! graph if its first item has that shape.

use super::entry::Entry;
use super::json::{self, Key, Kind, pass_over_map, pass_over_seq, visit_scalars_as};
use super::path_info::closure_of_array;
use super::{ClosureForm, ReadError, form};
use crate::Closure;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Reads every closure of a derivation's `.attrs.json`, by the names that `exportReferencesGraph` gives them.
pub fn read_attrs_graphs(bytes: &[u8]) -> Result<BTreeMap<String, Closure>, ReadError> {
    match form::detect(bytes)? {
        (ClosureForm::DerivationAttrs, text) => json::parse::<Graphs<'_>>(text)?
            .0
            .into_iter()
            .map(|(name, entries)| Ok((name, closure_of_array(entries)?)))
            .collect(),
        (form, _) => Err(ReadError::NotAClosure {
            found: form.to_string(),
        }),
    }
}

/// Reads the only closure.
pub(super) fn read_only_graph(text: &str) -> Result<Closure, ReadError> {
    let mut graphs = json::parse::<Graphs<'_>>(text)?.0;
    match graphs.pop_first() {
        None => Err(ReadError::NoGraph),
        Some((_, entries)) if graphs.is_empty() => closure_of_array(entries),
        Some((first, _)) => Err(ReadError::SeveralGraphs {
            names: std::iter::once(first).chain(graphs.into_keys()).collect(),
        }),
    }
}

/// The graphs among the attributes.
struct Graphs<'de>(BTreeMap<String, Vec<Entry<'de>>>);

impl<'de> Deserialize<'de> for Graphs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct GraphsVisitor;
        impl<'de> Visitor<'de> for GraphsVisitor {
            type Value = Graphs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the attributes of a derivation")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut graphs = BTreeMap::new();
                while let Some((Key(name), Attribute(graph))) = map.next_entry()? {
                    if let Some(entries) = graph {
                        graphs.insert(name.into_owned(), entries);
                    }
                }
                Ok(Graphs(graphs))
            }
        }
        deserializer.deserialize_map(GraphsVisitor)
    }
}

/// An attribute: the records of a graph, or nothing.
struct Attribute<'de>(Option<Vec<Entry<'de>>>);

impl<'de> Deserialize<'de> for Attribute<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AttributeVisitor;
        impl<'de> Visitor<'de> for AttributeVisitor {
            type Value = Attribute<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            visit_scalars_as!(|_: Kind| Attribute(None));
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut entries: Vec<Entry<'de>> = Vec::new();
                while let Some(entry) = seq.next_element::<Entry<'de>>()? {
                    if entries.is_empty() && !entry.is_of_references_graph() {
                        pass_over_seq(seq)?;
                        return Ok(Attribute(None));
                    }
                    entries.push(entry);
                }
                Ok(Attribute(
                    Some(entries).filter(|entries| !entries.is_empty()),
                ))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                pass_over_map(map)?;
                Ok(Attribute(None))
            }
        }
        deserializer.deserialize_any(AttributeVisitor)
    }
}
