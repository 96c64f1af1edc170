//! The arrows between the crates are those that `docs/architecture.md` lists, no more and no fewer.

use super::Problems;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;

const DOCUMENT: &str = "docs/architecture.md";

/// `(from, to)`, by crate name.
type Arrow = (String, String);

/// Compares the document with what `cargo metadata` says of the workspace.
pub(super) fn check(document: &str, metadata: &Value) -> Result<Problems> {
    let mut problems = Problems::new();
    for (fence, kind) in [("arrows", None), ("dev-arrows", Some("dev"))] {
        let listed = listed_arrows(document, fence)?;
        let actual = actual_arrows(metadata, kind)?;
        for (from, to) in actual.difference(&listed) {
            problems.push(format!(
                "{from} depends on {to}: the `{fence}` block of {DOCUMENT} has no `{from} -> {to}`"
            ));
        }
        for (from, to) in listed.difference(&actual) {
            problems.push(format!("{DOCUMENT} lists `{from} -> {to}` in its `{fence}` block: there is no such dependency"));
        }
    }
    Ok(problems)
}

/// The lines `from -> to` of the fenced block with that language.
fn listed_arrows(document: &str, fence: &str) -> Result<BTreeSet<Arrow>> {
    let start = format!("```{fence}");
    let mut lines = document.lines();
    lines
        .find(|line| line.trim() == start)
        .with_context(|| format!("{DOCUMENT} has no block that starts with {start}"))?;
    let block = lines
        .take_while(|line| line.trim() != "```")
        .filter(|line| !line.trim().is_empty());
    block
        .map(|line| {
            let (from, to) = line
                .split_once("->")
                .with_context(|| format!("{DOCUMENT}: `{line}` is no `from -> to`"))?;
            Ok((from.trim().to_owned(), to.trim().to_owned()))
        })
        .collect()
}

/// The dependencies of one kind (`null` is the normal kind) between members of the workspace.
fn actual_arrows(metadata: &Value, kind: Option<&str>) -> Result<BTreeSet<Arrow>> {
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let members: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let mut arrows = BTreeSet::new();
    for package in packages {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let (Some(from), Some(to)) = (package["name"].as_str(), dependency["name"].as_str())
            else {
                continue;
            };
            // A crate may have its own name as a dev-dependency, for features: no arrow.
            if dependency["kind"].as_str() == kind && members.contains(to) && from != to {
                arrows.insert((from.to_owned(), to.to_owned()));
            }
        }
    }
    Ok(arrows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DOCUMENT: &str = "# Map\n```arrows\npack -> store\nlayer -> store\n```\ntext\n```dev-arrows\npack -> testkit\n```\n";

    fn metadata(pack_on: &str) -> Value {
        json!({ "packages": [
            { "name": "store", "dependencies": [{ "name": "serde", "kind": null }] },
            { "name": "testkit", "dependencies": [] },
            { "name": "layer", "dependencies": [{ "name": "store", "kind": null }] },
            { "name": "pack", "dependencies": [
                { "name": pack_on, "kind": null },
                { "name": "testkit", "kind": "dev" },
            ] },
        ] })
    }

    #[test]
    fn the_listed_arrows_pass() {
        assert_eq!(
            check(DOCUMENT, &metadata("store")).unwrap(),
            Problems::new()
        );
    }

    #[test]
    fn another_arrow_is_reported_and_so_is_the_one_that_is_gone() {
        let problems = check(DOCUMENT, &metadata("layer")).unwrap();
        assert_eq!(problems.len(), 2);
        assert!(
            problems[0].starts_with("pack depends on layer: "),
            "{}",
            problems[0]
        );
        assert!(
            problems[1].contains("lists `pack -> store`"),
            "{}",
            problems[1]
        );
    }

    #[test]
    fn a_dev_dependency_is_no_normal_arrow() {
        let document = DOCUMENT.replace("```dev-arrows\npack -> testkit", "```dev-arrows");
        assert_eq!(check(&document, &metadata("store")).unwrap().len(), 1);
    }

    #[test]
    fn a_document_without_the_block_is_an_error() {
        let error = check("# Map\n", &metadata("store"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "docs/architecture.md has no block that starts with ```arrows"
        );
    }
}
