//! Programs that some tests need.

use std::io::Write;
use std::path::PathBuf;

/// Finds a program on `PATH`, or among those that the test command had Go install, in `go` in the target directory.
///
/// Where it is missing, one line on standard error says which test is skipped for it, past the test harness's capture:
/// the test command collects these lines, so that no skipped test looks like a passed one.
#[must_use]
pub fn require_program(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        say_skipped(&format!("{program} is not installed"));
    }
    found
}

/// Says, in the form that the test command collects, that the running test cannot run, and why.
pub fn say_skipped(reason: &str) {
    // The test harness names a test's thread after the test.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("SKIPPED: {test}: {reason}\n");
    // A line that cannot be written has no reader either.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(go_dir())
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Test programs are at `TARGET/PROFILE/deps`, or one deeper when a target is named.
fn go_dir() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    let dirs = this.ancestors().skip(2).take(4);
    dirs.map(|dir| dir.join("go")).find(|dir| dir.is_dir())
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
