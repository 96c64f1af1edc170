//! Programs that some tests need.

use std::io::Write;
use std::path::PathBuf;

/// Finds a program on `PATH`.
///
/// Where it is missing, one line on standard error says which test is skipped for it, past the test harness's capture:
/// the test command collects these lines, so that no skipped test looks like a passed one.
#[must_use]
pub fn require_program(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        // The test harness names a test's thread after the test.
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test").to_owned();
        let line = format!("SKIPPED: {test}: {program} is not installed\n");
        // A line that cannot be written has no reader either.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    found
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(require_program("sh").unwrap().is_absolute());
        assert_eq!(find("no-such-program-for-nixply"), None);
    }
}
