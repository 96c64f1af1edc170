//! Texts and numbers as the page shows them.

use crate::figures::Moved;

/// Text for an element or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Bytes in the largest unit that leaves at least 1, with three digits: `1.43 GB`, `40.8 GB`, `188 GB`.
pub(super) fn size(bytes: u64) -> String {
    let (unit_bytes, unit) = super::scale::unit(bytes);
    if unit_bytes == 1 {
        return format!("{bytes} B");
    }
    let (bytes, unit_bytes) = (u128::from(bytes), u128::from(unit_bytes));
    let rounded = |parts: u128| (bytes * parts + unit_bytes / 2) / unit_bytes;
    let (hundredths, tenths) = (rounded(100), rounded(10));
    if hundredths < 1000 {
        format!("{}.{:02} {unit}", hundredths / 100, hundredths % 100)
    } else if tenths < 1000 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", rounded(1))
    }
}

/// A ratio with three decimals, or with one where it is large.
pub(super) fn ratio(moved: Moved) -> String {
    match moved.ratio() {
        None => "–".to_owned(),
        Some(ratio) if ratio >= 20.0 => format!("{ratio:.1}"),
        Some(ratio) => format!("{ratio:.3}"),
    }
}

/// The part of the names of pins that tells them apart: the last of it, from a date on where there is one.
pub(super) fn short_pin(name: &str) -> &str {
    let is_date = |part: &str| {
        let bytes = part.as_bytes();
        bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'-',
                _ => byte.is_ascii_digit(),
            })
    };
    let date = name.len().checked_sub(10).and_then(|at| name.get(at..));
    if let Some(date) = date.filter(|date| is_date(date)) {
        return date;
    }
    // Revisions are told apart by their first digits.
    match name.char_indices().nth(12) {
        Some((at, _)) => &name[..at],
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place() {
        assert_eq!(
            escape("<a href=\"x\">&'"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;"
        );
    }

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1500, "1.50 kB"),
            (10_250_000_000, "10.3 GB"),
            (188_000_000_000, "188 GB"),
            (999_400_000, "999 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn pins_are_dates_where_they_end_in_one() {
        assert_eq!(short_pin("nixos-19.09-2019-10-10"), "2019-10-10");
        assert_eq!(short_pin("0123456789abcdef0123"), "0123456789ab");
        assert_eq!(short_pin("now"), "now");
        assert_eq!(short_pin("ä23456789012345"), "ä23456789012");
    }
}
