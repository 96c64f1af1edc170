//! Progress on a terminal of its own, and elsewhere.

use crate::support::{APP, DATA, LIBC, Sandbox};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::Read;
use std::process::{Command, Output, Stdio};

/// Takes long enough to be drawn several times.
const LARGE_BYTES: u64 = 200 << 20;

const EXPORT: [&str; 8] = [
    "export",
    "closure.json",
    "-o",
    "out",
    "--physical-store",
    "store",
    "--platform",
    "linux/amd64",
];

/// Runs a command whose standard error is a terminal. What it wrote there, and its standard output.
pub(crate) fn run_on_terminal(command: &mut Command, n_columns: u16) -> (String, Output) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let size = Winsize {
        ws_row: 24,
        ws_col: n_columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let other_end = rustix::fs::open(&*name, flags, Mode::empty()).unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(other_end)
        .spawn()
        .unwrap();
    // The command holds the terminal's other end until it is dropped.
    command.stderr(Stdio::null());
    let mut seen = Vec::new();
    // A terminal whose other end is closed gives an error at the end.
    let _ = File::from(terminal).read_to_end(&mut seen);
    let output = child.wait_with_output().unwrap();
    (String::from_utf8_lossy(&seen).into_owned(), output)
}

/// The rows that were drawn, without what moves the cursor and clears lines. indicatif fills a row with blanks up to the
/// terminal's width instead of ending it.
fn rows(seen: &str, n_columns: usize) -> Vec<String> {
    let mut plain = String::new();
    let mut chars = seen.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [`, numbers, and a letter.
            let last = chars.find(char::is_ascii_alphabetic).unwrap();
            assert_ne!(last, 'm', "a colour");
            plain.push('\n');
        } else {
            plain.push(c);
        }
    }
    let mut rows = Vec::new();
    for line in plain.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        let cells: Vec<char> = line.chars().collect();
        for row in cells.chunks(n_columns) {
            rows.push(row.iter().collect::<String>().trim_end().to_owned());
        }
    }
    rows
}

#[test]
fn a_terminal_shows_active_layers_and_the_total() {
    let sandbox = Sandbox::new();
    sandbox.grow(LARGE_BYTES);
    let mut command = sandbox.command(&EXPORT);
    let (seen, output) = run_on_terminal(command.env("TERM", "xterm"), 100);
    assert!(output.status.success(), "{seen}");
    let rows = rows(&seen, 100);
    let has = |start: &str, end: &str| {
        rows.iter()
            .any(|row| row.starts_with(start) && row.ends_with(end))
    };
    assert!(has("  making  ", "  libc-2.36 and 1 more"), "{seen}");
    assert!(has("writing 0 of 3 layers, ", "/s"), "{seen}");
    assert!(!has("layer ", ""), "a line a layer: {seen}");
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn a_narrow_terminal_cuts_lines_off() {
    const N_COLUMNS: u16 = 24;
    let sandbox = Sandbox::new();
    sandbox.grow(LARGE_BYTES);
    let mut command = sandbox.command(&EXPORT);
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let (seen, output) = run_on_terminal(&mut command, N_COLUMNS);
    assert!(output.status.success(), "{seen}");
    let rows = rows(&seen, N_COLUMNS.into());
    assert!(
        rows.iter()
            .any(|row| row.starts_with("writing 0 of 3 layers, ")
                && row.len() == usize::from(N_COLUMNS)),
        "{rows:?}"
    );
    let is_row = |row: &String| {
        ["  making  ", "writing "]
            .iter()
            .any(|start| row.starts_with(start))
    };
    assert!(
        rows.iter().all(is_row),
        "each begins at the left edge: {rows:?}"
    );
}

#[test]
fn elsewhere_there_is_a_line_a_layer() {
    let sandbox = Sandbox::new();
    let piped = sandbox.run(&EXPORT);
    let mut dumb = sandbox.command(&EXPORT);
    let (seen, _) = run_on_terminal(dumb.env("TERM", "dumb"), 80);
    for (text, end_of_line) in [
        (String::from_utf8(piped.stderr).unwrap(), "\n"),
        (seen, "\r\n"),
    ] {
        assert!(!text.contains('\u{1b}'), "{text:?}");
        let lines: Vec<&str> = text.split_terminator(end_of_line).collect();
        assert_eq!(lines.len(), 3, "{text:?}");
        for (n, line) in (1..).zip(lines) {
            let (before, title) = line.rsplit_once(": ").unwrap();
            assert!(
                before.starts_with(&format!("{n} of 3 done: written, ")),
                "{line}"
            );
            assert!(before.contains(" in ") && before.ends_with(" s"), "{line}");
            assert!(
                [LIBC, APP, DATA].iter().any(|path| title.starts_with(path)),
                "{line}"
            );
        }
    }
    let quiet = sandbox.run(&[&EXPORT[..], &["-q"]].concat());
    assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");
}
