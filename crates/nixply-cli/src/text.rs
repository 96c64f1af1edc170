//! How things are shown: messages, sizes, tables.

use crate::nix_words;
use crate::progress::drawn;
use std::io::Write as _;

/// Writes to standard error; a terminal that is gone is nobody's error.
pub(crate) fn message(text: &str) {
    let text = nix_words::spoken(text);
    drawn::beside(|| {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    });
}

/// A warning with, where there is one, something to do about it.
pub(crate) fn warning(text: &str) {
    message(&format!("warning: {text}\n"));
}

/// Something to know that changes nothing of what is asked for, with, where there is one, something to do about it.
pub(crate) fn note(text: &str, hint: Option<&str>) {
    message(&format!("note: {text}\n"));
    if let Some(hint) = hint {
        message(&format!("hint: {hint}\n"));
    }
}

/// Bytes in the largest binary unit that leaves at least 1, with one decimal: `10.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut unit = None;
    let mut tenths = u128::from(bytes) * 10;
    for next in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = (tenths + 512) / 1024;
        unit = Some(next);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// A time for people: `0.2 s`, `12 s`, `3 min 20 s`, `1 h 5 min`.
pub(crate) fn duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => {
            let tenths = (duration.as_millis() + 50) / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Text of an image that somebody else made, with control characters escaped: a terminal would obey them.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

/// `1 layer`, `2 layers`.
pub(crate) fn count(n: usize, singular: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {singular}{plural}")
}

/// Each word in backquotes, with commas between.
pub(crate) fn quoted(words: &[impl std::fmt::Display]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// The first 12 digits of a digest, enough to recognise it.
pub(crate) fn short(digest: &str) -> &str {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    &hex[..hex.len().min(12)]
}

/// Lines up columns by their widest cell, two blanks between; columns in `right` are aligned to the right.
pub(crate) fn table(header: &[&str], right: &[usize], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut line = String::new();
        for (i, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            if i > 0 {
                line.push_str("  ");
            }
            let padding = " ".repeat(width - cell.chars().count());
            if right.contains(&i) {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut text = line(header.to_vec());
    for row in rows {
        text.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10_485_760, "10.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations() {
        for (millis, text) in [
            (0, "0.0 s"),
            (149, "0.1 s"),
            (9_999, "10.0 s"),
            (10_000, "10 s"),
            (200_000, "3 min 20 s"),
            (3_900_000, "1 h 5 min"),
        ] {
            assert_eq!(duration(std::time::Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn terminals_get_no_orders() {
        assert_eq!(printable("a\u{1b}[2Jü\n"), "a\\u{1b}[2Jü\\n");
    }

    #[test]
    fn tables_line_up() {
        let rows = vec![vec!["1".into(), "ü".into()], vec!["10".into(), "b".into()]];
        assert_eq!(
            table(&["n", "name"], &[0], &rows),
            " n  name\n 1  ü\n10  b\n"
        );
    }
}
