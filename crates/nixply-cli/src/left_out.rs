//! What contents have and the root of an image does not, because another content is named before.

use crate::text;
use nixply_image::LeftOut;
use std::fmt::Write as _;

/// How many places a note names.
const SHOWN: usize = 5;

/// Tells where the first of several contents wins.
pub(crate) fn note_left_out(left_out: &[LeftOut]) {
    if !left_out.is_empty() {
        text::note(&note(left_out), None);
    }
}

fn note(left_out: &[LeftOut]) -> String {
    let mut note = format!(
        "contents have different things at {}; the content that is named first wins:",
        text::count(left_out.len(), "place")
    );
    for one in left_out.iter().take(SHOWN) {
        // Writing to a string cannot fail.
        let _ = write!(
            note,
            "\n  /{}: {}, not {}",
            one.path, one.taken, one.left_out
        );
    }
    if left_out.len() > SHOWN {
        let _ = write!(note, "\n  … and {} more", left_out.len() - SHOWN);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_a_few_places() {
        let left_out: Vec<LeftOut> = (0..7)
            .map(|number| LeftOut {
                path: format!("bin/{number}"),
                taken: format!("/nix/store/a/bin/{number}"),
                left_out: format!("/nix/store/b/bin/{number}"),
            })
            .collect();
        let note = note(&left_out);
        assert_eq!(note.lines().count(), SHOWN + 2);
        assert!(note.contains("at 7 places"), "{note}");
        assert!(
            note.contains("\n  /bin/0: /nix/store/a/bin/0, not /nix/store/b/bin/0\n"),
            "{note}"
        );
        assert!(note.ends_with("\n  … and 2 more"), "{note}");
    }
}
