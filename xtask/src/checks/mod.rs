//! What neither the compiler nor clippy can hold: the shape of the workspace.

mod arrows;
mod hygiene;
mod licences;
mod purity;

use crate::command::{cargo, json};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// What is wrong, one sentence each.
type Problems = Vec<String>;

/// One check, by name.
pub(crate) type Check = (&'static str, fn(&Path) -> Result<()>);

/// All checks; each takes the root of the work tree.
pub(crate) const CHECKS: &[Check] = &[
    ("arrows between crates", |root| {
        let metadata = json(&mut cargo(
            root,
            &["metadata", "--format-version=1", "--no-deps"],
        ))?;
        none(&arrows::check(
            &read(root, "docs/architecture.md")?,
            &metadata,
        )?)
    }),
    ("pure crates", |root| none(&purity::check(root)?)),
    ("repository hygiene", |root| none(&hygiene::check(root)?)),
    ("licences and sources", |root| {
        let metadata = json(&mut cargo(
            root,
            &["metadata", "--format-version=1", "--locked"],
        ))?;
        none(&licences::check(&read(root, "deny.toml")?, &metadata)?)
    }),
];

fn read(root: &Path, name: &str) -> Result<String> {
    fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))
}

fn none(problems: &Problems) -> Result<()> {
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}
