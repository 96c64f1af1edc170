//! What passed, failed and was skipped, over all sections of a run.

use std::collections::BTreeMap;
use std::fmt;

/// How a test that cannot run says so, on a line of its own: `SKIPPED: name: reason`.
pub(crate) const SKIP_MARK: &str = "SKIPPED: ";

/// Counts and names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    /// What failed, and why.
    failed: Vec<String>,
    /// Why each skipped test did not run, by its name.
    skipped: BTreeMap<String, String>,
}

impl Tally {
    /// Counts one thing that passed.
    pub(crate) fn pass(&mut self) {
        self.passed += 1;
    }

    /// Counts one thing that failed.
    pub(crate) fn fail(&mut self, name: &str) {
        self.failed.push(name.to_owned());
    }

    /// Counts one thing that could not be tried.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.insert(name.to_owned(), reason.to_owned());
    }

    /// How many things failed so far.
    pub(crate) fn failures(&self) -> usize {
        self.failed.len()
    }

    /// Whether nothing failed and something passed: a run that tried nothing proves nothing.
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty() && self.passed > 0
    }

    /// The lines about what failed and what was skipped.
    pub(crate) fn details(&self) -> Vec<String> {
        let failed = self.failed.iter().map(|name| format!("FAILED: {name}"));
        let skipped = self
            .skipped
            .iter()
            .map(|(name, reason)| format!("{SKIP_MARK}{name}: {reason}"));
        failed.chain(skipped).collect()
    }

    /// Counts one line of what `cargo test -- --show-output` prints.
    ///
    /// libtest counts a test that found its part missing and returned as passed, so each mark moves one test over.
    pub(crate) fn read_test_output(&mut self, line: &str) {
        if let Some((name, reason)) = line
            .strip_prefix(SKIP_MARK)
            .and_then(|rest| rest.split_once(": "))
        {
            if self
                .skipped
                .insert(name.to_owned(), reason.to_owned())
                .is_none()
            {
                self.passed = self.passed.saturating_sub(1);
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.fail(name);
        } else if let Some((test, reason)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... ignored"))
        {
            let reason = reason.trim_start_matches(", ");
            self.skip(test, if reason.is_empty() { "ignored" } else { reason });
        } else if line.starts_with("test ") && line.ends_with(" ... ok") {
            self.passed += 1;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.read_test_output(line);
        }
        tally
    }

    #[test]
    fn tests_are_counted_by_their_result() {
        let tally = read(&[
            "running 4 tests",
            "test a::one ... ok",
            "test src/lib.rs - two (line 3) ... ok",
            "test three ... FAILED",
            "test four ... ignored, needs the moon",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ]);
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 1 skipped");
        assert_eq!(
            tally.details(),
            ["FAILED: three", "SKIPPED: four: needs the moon"]
        );
        assert!(!tally.is_good());
    }

    #[test]
    fn a_test_that_says_it_was_skipped_has_not_passed() {
        let tally = read(&[
            "test a ... ok",
            "test b ... ok",
            "SKIPPED: b: there is no registry",
            "SKIPPED: b: there is no registry",
        ]);
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
        assert!(tally.is_good());
        assert!(!read(&[]).is_good());
    }
}
