//! `nixply catalog CLOSURE --check FILE`: whether a catalog fits a closure.

use crate::columns::{COLUMNS, fit};
use crate::error::{CliError, ExitStatus, output};
use crate::packer_input::{MAKE_AGAIN, knows_few};
use crate::text;
use nixply_pack::Catalog;
use nixply_store::Closure;
use serde::Serialize;
use std::fmt::Write as _;
use std::io::Write as _;

/// How many unknown paths are named without `--all`.
const MAX_LISTED: usize = 20;

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
pub(super) fn run(
    catalog: &Catalog,
    closure: &Closure,
    json: bool,
    all: bool,
) -> Result<(), CliError> {
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
        describe(&check, if all { usize::MAX } else { MAX_LISTED })
    };
    std::io::stdout()
        .lock()
        .write_all(shown.as_bytes())
        .map_err(|error| output(&error))?;
    if check.unknown.is_empty() {
        Ok(())
    } else {
        if !json && knows_few(&known) {
            text::message(&format!("hint: {MAKE_AGAIN}\n"));
        }
        Err(CliError::silent(ExitStatus::Failed))
    }
}

fn describe(check: &Check<'_>, most: usize) -> String {
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
    for path in check.unknown.iter().take(most) {
        let _ = writeln!(shown, "  {path}");
    }
    let more = check.unknown.len().saturating_sub(most);
    if more > 0 {
        let _ = writeln!(shown, "and {more} more; --all names them");
    }
    shown
}
