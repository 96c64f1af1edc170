//! What was measured, as a table: on the terminal and in `docs/benchmarks.md`.

use crate::say::say;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The section of the document stands between these.
const BEGIN: &str = "<!-- written by cargo xtask bench push: begin -->\n";
const END: &str = "<!-- written by cargo xtask bench push: end -->\n";

/// Whether a figure is what it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Reached,
    Missed,
    /// Nothing is asked of it; it explains others.
    Told,
    Skipped(String),
}

/// A figure.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) case: String,
    pub(super) measured: String,
    pub(super) target: String,
    pub(super) verdict: Verdict,
}

impl Row {
    pub(super) fn new(
        case: impl Into<String>,
        measured: impl Into<String>,
        target: &str,
        is_reached: bool,
    ) -> Row {
        Row {
            case: case.into(),
            measured: measured.into(),
            target: target.to_owned(),
            verdict: if is_reached {
                Verdict::Reached
            } else {
                Verdict::Missed
            },
        }
    }

    pub(super) fn told(case: impl Into<String>, measured: impl Into<String>) -> Row {
        Row {
            case: case.into(),
            measured: measured.into(),
            target: String::new(),
            verdict: Verdict::Told,
        }
    }

    pub(super) fn skipped(case: impl Into<String>, target: &str, why: &str) -> Row {
        Row {
            case: case.into(),
            measured: String::new(),
            target: target.to_owned(),
            verdict: Verdict::Skipped(why.to_owned()),
        }
    }

    fn verdict_text(&self) -> String {
        match &self.verdict {
            Verdict::Reached => "reached".to_owned(),
            Verdict::Missed => "MISSED".to_owned(),
            Verdict::Told => String::new(),
            Verdict::Skipped(why) => format!("SKIPPED: {why}"),
        }
    }

    /// Prints the figure.
    pub(super) fn say(&self) {
        let target = if self.target.is_empty() {
            String::new()
        } else {
            format!(" (to reach: {})", self.target)
        };
        say(format!(
            "{}: {}{target} {}",
            self.case,
            self.measured,
            self.verdict_text()
        )
        .trim_end());
    }
}

/// Puts the section into the document, in the place of an earlier one or at the end.
pub(super) fn write(document: &Path, preface: &str, rows: &[Row]) -> Result<()> {
    let text = fs::read_to_string(document)
        .with_context(|| format!("cannot read {}", document.display()))?;
    let section = format!("{BEGIN}{}{END}", section(preface, rows));
    fs::write(document, with_section(&text, &section))?;
    Ok(())
}

fn section(preface: &str, rows: &[Row]) -> String {
    let mut text = format!("{preface}\n| case | measured | to reach | |\n|---|---|---|---|\n");
    for row in rows {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            row.case,
            row.measured,
            row.target,
            row.verdict_text()
        );
    }
    text
}

fn with_section(text: &str, section: &str) -> String {
    match (text.find(BEGIN), text.find(END)) {
        (Some(begin), Some(end)) if begin < end => {
            format!("{}{section}{}", &text[..begin], &text[end + END.len()..])
        }
        _ => format!("{}\n\n{section}", text.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_the_earlier_one() {
        let old = format!("before\n{BEGIN}old\n{END}after\n");
        let new = format!("{BEGIN}new\n{END}");
        assert_eq!(with_section(&old, &new), format!("before\n{new}after\n"));
        assert_eq!(with_section("before\n", &new), format!("before\n\n{new}"));
    }

    #[test]
    fn a_row_tells_whether_its_figure_is_reached() {
        let rows = [
            Row::new("a", "2.0x", "3x", false),
            Row::skipped("b", "4x", "skopeo is missing"),
        ];
        let text = section("", &rows);
        assert!(text.contains("| a | 2.0x | 3x | MISSED |\n"), "{text}");
        assert!(
            text.contains("| b |  | 4x | SKIPPED: skopeo is missing |\n"),
            "{text}"
        );
    }
}
