//! Text for people in 80 columns.

use std::fmt::Write as _;

/// Lines are kept to this many columns, whatever the terminal has, so that output is the same everywhere.
pub(crate) const COLUMNS: usize = 80;

/// As many words as fit, with commas between, and how many there are more; the first one in any case.
pub(crate) fn fit(words: &[String], width: usize) -> String {
    let all = words.join(", ");
    if all.chars().count() <= width {
        return all;
    }
    let mut text = String::new();
    for (n, word) in words.iter().enumerate() {
        let separator = if n == 0 { "" } else { ", " };
        let with_word = format!("{text}{separator}{word}");
        let left = words.len() - n - 1;
        let tail = if left == 0 {
            String::new()
        } else {
            format!(" and {left} more")
        };
        if n > 0 && with_word.chars().count() + tail.len() > width {
            let _ = write!(text, " and {} more", left + 1);
            return text;
        }
        text = with_word;
    }
    text
}

/// Cuts a text that is too long.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Cuts the middle out of a text that is too long: of versions the end tells as much as the beginning.
pub(crate) fn shorten_middle(text: &str, width: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= width {
        return text.to_owned();
    }
    let left = width.saturating_sub(1);
    let tail = left / 2;
    let head = &chars[..left - tail];
    head.iter()
        .chain(&['…'])
        .chain(&chars[chars.len() - tail..])
        .collect()
}

/// Breaks a sentence into lines, each with its newline.
pub(crate) fn wrap(sentence: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in sentence.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += len;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_do_not_fit_are_counted() {
        let words: Vec<String> = ["one", "two", "three", "four"].map(str::to_owned).to_vec();
        for (width, text) in [
            (80, "one, two, three, four"),
            (21, "one, two, three, four"),
            (20, "one, two and 2 more"),
            (15, "one and 3 more"),
            (1, "one and 3 more"),
        ] {
            assert_eq!(fit(&words, width), text, "{width}");
        }
        assert_eq!(fit(&[], 10), "");
    }

    #[test]
    fn long_texts_are_cut_and_wrapped() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdef", 5), "abcd…");
        assert_eq!(shorten_middle("abcdef", 6), "abcdef");
        assert_eq!(shorten_middle("abcdefg", 4), "ab…g");
        assert_eq!(shorten_middle("abc", 1), "…");
        assert_eq!(wrap("a bc def", 4), "a bc\ndef\n");
        assert_eq!(wrap("toolong a", 4), "toolong\na\n");
    }
}
