//! `nixply catalog CLOSURE --check FILE`: whether a catalog fits a closure.

use crate::columns::{COLUMNS, fit};
use crate::error::{CliError, ExitStatus, output};
use crate::text;
use nixply_pack::Catalog;
use nixply_store::Closure;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// What a catalog knows of a closure, for machines.
#[derive(Debug, Serialize)]
struct Check<'a> {
    level: u32,
    sets: &'a [String],
    store_paths: usize,
    known_store_paths: usize,
    nar_size_bytes: u64,
    known_nar_size_bytes: u64,
    /// In byte order.
    unknown: Vec<String>,
}

/// Prints what the catalog knows; an error without words where it does not know all.
pub(super) fn run(catalog: &Catalog, closure: &Closure, json: bool) -> Result<(), CliError> {
    let knows_store = catalog.store_dir() == closure.store_dir();
    let unknown = closure
        .paths()
        .iter()
        .filter(|info| !knows_store || catalog.group_of(&info.path).is_none());
    let known = catalog.fit(closure);
    let check = Check {
        level: catalog.level(),
        sets: catalog.set_names(),
        store_paths: known.paths,
        known_store_paths: known.known_paths,
        nar_size_bytes: known.nar_size_bytes,
        known_nar_size_bytes: known.known_nar_size_bytes,
        unknown: unknown
            .map(|info| closure.store_dir().display(&info.path))
            .collect(),
    };
    let shown = if json {
        serde_json::to_string_pretty(&check)
            .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?
            + "\n"
    } else {
        describe(&check)
    };
    std::io::stdout()
        .lock()
        .write_all(shown.as_bytes())
        .map_err(|error| output(&error))?;
    if check.unknown.is_empty() {
        Ok(())
    } else {
        Err(CliError::silent(ExitStatus::Failed))
    }
}

fn describe(check: &Check<'_>) -> String {
    let sets = format!(
        "level {}, {}: ",
        check.level,
        text::count(check.sets.len(), "package set")
    );
    let mut shown = format!(
        "{sets}{}\nthe catalog knows {} of {}, {} of {}\n",
        fit(check.sets, COLUMNS.saturating_sub(sets.len())),
        check.known_store_paths,
        text::count(check.store_paths, "store path"),
        text::size(check.known_nar_size_bytes),
        text::size(check.nar_size_bytes),
    );
    if !check.unknown.is_empty() {
        shown.push_str("unknown:\n");
    }
    for path in &check.unknown {
        let _ = writeln!(shown, "  {path}");
    }
    shown
}
