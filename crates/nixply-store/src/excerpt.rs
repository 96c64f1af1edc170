//! Texts of unknown origin, made fit for a message.

/// Longer than any store path in any usual directory, so that names are never cut.
const EXCERPT_MAX_CHARS: usize = 400;

/// The beginning of a text, with control characters escaped: input may hold megabytes in one string, or codes that
/// move a terminal's cursor.
pub(crate) fn excerpt(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    for c in chars.by_ref().take(EXCERPT_MAX_CHARS) {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_control_characters_escaped() {
        assert_eq!(excerpt("é-1.0"), "é-1.0");
        assert_eq!(excerpt("a\n\u{1b}[2Jb"), "a\\n\\u{1b}[2Jb");
        assert_eq!(
            excerpt(&"x".repeat(1_000_000)),
            format!("{}…", "x".repeat(400))
        );
    }
}
