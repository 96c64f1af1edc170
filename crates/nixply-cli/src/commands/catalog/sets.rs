//! Package sets as a JSON file: an object of names, each with an array of store paths.

use crate::document::Document;
use crate::error::{CliError, ExitStatus};
use crate::input::read_file;
use nixply_store::{StoreDir, StorePath};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Package sets in the order of the file. A map would let the later of two sets of one name win in silence.
#[derive(Debug)]
pub(super) struct NamedSets(Vec<(String, Vec<String>)>);

impl<'de> Deserialize<'de> for NamedSets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = NamedSets;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of package sets, each an array of store paths")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NamedSets, A::Error> {
                let mut sets = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    sets.push(entry);
                }
                Ok(NamedSets(sets))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Reads package sets whose store directory is not known yet.
pub(super) fn read(file: &Path) -> Result<NamedSets, CliError> {
    let bytes = read_file(file)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let message = format!("cannot use `{}` as package sets", file.display());
        let failed = CliError::context(ExitStatus::Input, message, &error).hint(
            "expected an object such as {\"python\": [\"/nix/store/…-python3\"], \"jdk\": [\"/nix/store/…-jdk\"]}",
        );
        match Document::of(&bytes) {
            None | Some(Document::PackageSets) => failed,
            Some(other) => other.instead_of("a file of package sets", failed),
        }
    })
}

/// The sets with their store paths. Each has a name of its own and at least one path.
pub(super) fn resolve(
    named: NamedSets,
    file: &Path,
    store_dir: &StoreDir,
) -> Result<BTreeMap<String, Vec<StorePath>>, CliError> {
    let wrong = |problem: String| {
        CliError::new(
            ExitStatus::Input,
            format!("cannot use `{}` as package sets: {problem}", file.display()),
        )
    };
    let mut sets = BTreeMap::new();
    for (name, texts) in named.0 {
        if texts.is_empty() {
            return Err(wrong(format!("`{name}` has no store path")));
        }
        let paths = texts
            .iter()
            .map(|text| store_dir.parse(text))
            .collect::<Result<Vec<StorePath>, _>>()
            .map_err(|error| wrong(format!("`{name}`: {error}")))?;
        if sets.contains_key(&name) {
            return Err(wrong(format!("there are two package sets `{name}`")));
        }
        sets.insert(name, paths);
    }
    Ok(sets)
}
