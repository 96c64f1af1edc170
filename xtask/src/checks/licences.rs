//! Every crate in the lock file has a licence that `deny.toml` allows and comes from the public registry.
//!
//! cargo-deny reads the same file and does more; why it is not used stands in `docs/development.md`.

use super::Problems;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks what `cargo metadata` says of all packages against the text of `deny.toml`.
pub(super) fn check(deny: &str, metadata: &Value) -> Result<Problems> {
    let allowed = allowed_licences(deny)?;
    let mut problems = Problems::new();
    for package in metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?
    {
        let name = format!("{} {}", text(&package["name"]), text(&package["version"]));
        let licence = text(&package["license"]);
        if !is_allowed(licence, &allowed) {
            problems.push(format!(
                "{name}: deny.toml does not allow its licence `{licence}`"
            ));
        }
        // Members of the workspace have no source.
        if let Some(source) = package["source"]
            .as_str()
            .filter(|source| *source != REGISTRY)
        {
            problems.push(format!("{name} comes from {source}, not from crates.io"));
        }
    }
    Ok(problems)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The texts of `allow = ["…", …]` below `[licenses]`.
fn allowed_licences(deny: &str) -> Result<BTreeSet<&str>> {
    let section = deny
        .split("[licenses]")
        .nth(1)
        .context("deny.toml has no [licenses]")?;
    let list = section
        .split("allow = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next());
    Ok(list
        .context("deny.toml allows no licences")?
        .split('"')
        .skip(1)
        .step_by(2)
        .collect())
}

/// Evaluates an SPDX expression, or the older form with `/` for `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let result = disjunction(&mut words, allowed);
    result == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// `AND` binds more tightly than `OR` (SPDX 2.3, annex D.4.5). `None` is a malformed expression.
fn disjunction(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> Option<bool> {
    let mut result = conjunction(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        result |= conjunction(words, allowed)?;
    }
    Some(result)
}

fn conjunction(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> Option<bool> {
    let mut result = licence(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        result &= licence(words, allowed)?;
    }
    Some(result)
}

fn licence(words: &mut Words<'_>, allowed: &BTreeSet<&str>) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let result = disjunction(words, allowed)?;
        return words.next_if_eq(&")").map(|_| result);
    }
    if words.next_if_eq(&"WITH").is_some() {
        // An exception only adds permissions.
        words.next()?;
    }
    Some(allowed.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DENY: &str = "[licenses]\nallow = [\n  \"MIT\", # short\n  \"Apache-2.0\",\n]\n[bans]\n";

    #[test]
    fn expressions_are_evaluated() {
        let allowed = allowed_licences(DENY).unwrap();
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT MIT",
            "(MIT OR GPL-3.0) AND BSL-1.0",
        ] {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn a_foreign_licence_and_a_foreign_source_are_found() {
        let package = |name: &str, licence: &str, source: Option<&str>| json!({ "name": name, "version": "1.0.0", "license": licence, "source": source });
        let metadata = json!({ "packages": [
            package("ours", "Apache-2.0", None),
            package("good", "MIT", Some(REGISTRY)),
            package("viral", "GPL-3.0", Some(REGISTRY)),
            package("forked", "MIT", Some("git+https://example.org/x")),
        ] });
        assert_eq!(
            check(DENY, &metadata).unwrap(),
            [
                "viral 1.0.0: deny.toml does not allow its licence `GPL-3.0`",
                "forked 1.0.0 comes from git+https://example.org/x, not from crates.io",
            ]
        );
    }
}
