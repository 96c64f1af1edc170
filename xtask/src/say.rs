//! The one place that prints.
#![expect(
    clippy::print_stdout,
    reason = "a developer's command talks to its developer"
)]

use std::fmt::Display;
use std::io::Write;

/// Prints a line, at once also where the output is not a terminal.
pub(crate) fn say(line: impl Display) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}
