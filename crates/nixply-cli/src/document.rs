//! What a file is that was given where something else is read, so that an error can say where it belongs.

use crate::error::CliError;
use nixply_image::{ImageSpec, Plan};
use nixply_store::ClosureForm;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The documents that are mixed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    Nothing,
    Catalog,
    PackageSets,
    Closure,
    Plan,
    Spec,
    Manifest,
    Fleet,
    ReuseReport,
    Comparison,
    Explanation,
}

impl Document {
    /// Tells a document by its schema or its form; none where it is nothing that is known.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        if bytes.trim_ascii().is_empty() {
            return Some(Self::Nothing);
        }
        // No path and no set: either, or a mistake.
        if matches!(bytes.trim_ascii(), b"{}" | b"[]") {
            return None;
        }
        // Derivation attributes are any JSON object.
        if ClosureForm::detect(bytes).is_ok_and(|form| form != ClosureForm::DerivationAttrs) {
            return Some(Self::Closure);
        }
        if Plan::is_plan(bytes) {
            return Some(Self::Plan);
        }
        if ImageSpec::is_spec(bytes) {
            return Some(Self::Spec);
        }
        if is_manifest(bytes) {
            return Some(Self::Manifest);
        }
        if let Ok(head) = serde_json::from_slice::<Head>(bytes) {
            let (schema, _) = head.schema.split_once('/')?;
            return match schema {
                "nixply.catalog" => Some(Self::Catalog),
                "nixply.fleet" => Some(Self::Fleet),
                "nixply.reuse" => Some(Self::ReuseReport),
                "nixply.diff" => Some(Self::Comparison),
                "nixply.explain" => Some(Self::Explanation),
                _ => None,
            };
        }
        let sets: BTreeMap<String, Vec<String>> = serde_json::from_slice(bytes).ok()?;
        let is_path = |path: &String| path.starts_with('/');
        let are_paths = !sets.is_empty() && sets.values().flatten().all(is_path);
        are_paths.then_some(Self::PackageSets)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "an empty file",
            Self::Catalog => "a catalog",
            Self::PackageSets => "a file of package sets",
            Self::Closure => "a closure",
            Self::Plan => "a plan",
            Self::Spec => "an image specification",
            Self::Manifest => "the manifest of an image",
            Self::Fleet => "a fleet of `nixply bench reuse`",
            Self::ReuseReport => "a report of `nixply bench reuse`",
            Self::Comparison => "a report of `nixply diff`",
            Self::Explanation => "a report of `nixply explain`",
        }
    }

    /// Where it is given, as far as it is given anywhere.
    const fn place(self) -> Option<&'static str> {
        match self {
            Self::Nothing => Some("look whether the command that wrote it failed"),
            Self::Catalog => {
                Some("a catalog is given with --catalog, or to `nixply catalog` with --check")
            }
            Self::PackageSets => {
                Some("`nixply catalog CLOSURE --sets FILE` makes a catalog of package sets")
            }
            Self::Closure => {
                Some("a closure is the argument without an option, as in `nixply plan CLOSURE`")
            }
            Self::Plan | Self::Spec => {
                Some("it is given without an option, to commands that plan or make an image")
            }
            Self::Manifest => Some(
                "give what the image is made from, or the image: `docker://REF`, an OCI layout or an archive",
            ),
            Self::Fleet => Some("`nixply bench reuse FILE` reads it"),
            Self::ReuseReport | Self::Comparison | Self::Explanation => None,
        }
    }

    /// What `error` is where a file turns out to be this: its name, and where it belongs.
    pub(crate) fn instead_of(self, expected: &str, error: CliError) -> CliError {
        error
            .because(&format!("it is {}, not {expected}", self.name()))
            .maybe_hint(self.place().map(str::to_owned))
    }
}

/// True for a manifest or an index of OCI's or Docker's.
fn is_manifest(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Telling {
        schema_version: u64,
        layers: Option<serde::de::IgnoredAny>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    bytes.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<Telling>(bytes).is_ok_and(|found| {
            found.schema_version == 2 && (found.layers.is_some() || found.manifests.is_some())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_told_apart() {
        for (text, document) in [
            ("", Some(Document::Nothing)),
            (" \n", Some(Document::Nothing)),
            (r#"{"schema": "nixply.catalog/9"}"#, Some(Document::Catalog)),
            (
                r#"{"schema": "nixply.reuse/1", "runs": []}"#,
                Some(Document::ReuseReport),
            ),
            (r#"{"schema": "nixply.plan/1"}"#, Some(Document::Plan)),
            (
                r#"{"a": ["/nix/store/x"], "b": []}"#,
                Some(Document::PackageSets),
            ),
            (
                r#"{"schemaVersion": 2, "config": {}, "layers": []}"#,
                Some(Document::Manifest),
            ),
            (r#"{"schemaVersion": 2, "title": "x"}"#, None),
            (r#"{"schema": "other/1"}"#, None),
            (r#"{"a": ["x"]}"#, None),
            ("{}", None),
            ("text", None),
        ] {
            assert_eq!(Document::of(text.as_bytes()), document, "{text}");
        }
    }
}
