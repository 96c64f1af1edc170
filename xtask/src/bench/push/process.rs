//! Running a program to its end, and what that took.

use crate::command::shown;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wait4::Wait4 as _;

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// By the clock, from its start to its end.
    pub(super) wall: Duration,
    /// User and system time of all its threads.
    pub(super) cpu: Duration,
    /// The most memory that it held at once (`ru_maxrss`, getrusage(2)).
    pub(super) peak_bytes: u64,
}

/// Runs a program that has to succeed; what it prints goes to `stdout`.
pub(super) fn run(command: &mut Command, stdout: &Path) -> Result<Usage> {
    let said = stdout.with_extension("stderr");
    command
        .stdin(Stdio::null())
        .stdout(File::create(stdout)?)
        .stderr(File::create(&said)?);
    let start = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let ended = child.wait4()?;
    let wall = start.elapsed();
    if !ended.status.success() {
        let said = fs::read_to_string(&said).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(10).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!(
            "{} ended with {}\n{}",
            shown(command),
            ended.status,
            last.join("\n")
        );
    }
    Ok(Usage {
        wall,
        cpu: ended.rusage.utime + ended.rusage.stime,
        peak_bytes: ended.rusage.maxrss,
    })
}
