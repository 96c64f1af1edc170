//! A change in few words: what it is never falls to a lack of room.

use crate::columns::{shorten, shorten_middle};
use nixply_image::{Change, ChangeKind};

/// So much of a name is left, if it has so much, before versions are cut.
const MIN_NAME: usize = 12;

/// `glibc 2.39 -> 2.40`, `bash 5.2 rebuilt`, `app 1 added`.
pub(super) fn title(change: &Change) -> String {
    short_title(change, usize::MAX)
}

/// The same in so many columns: first the name is cut, then the versions, never what happened.
pub(super) fn short_title(change: &Change, width: usize) -> String {
    let version = change
        .new_version
        .as_deref()
        .or(change.old_version.as_deref());
    let none = "(none)";
    let (versions, what): (Vec<&str>, &str) = match change.kind {
        ChangeKind::Version => (
            vec![
                change.old_version.as_deref().unwrap_or(none),
                change.new_version.as_deref().unwrap_or(none),
            ],
            "",
        ),
        ChangeKind::Rebuilt | ChangeKind::RebuiltByReference => {
            (version.into_iter().collect(), " rebuilt")
        }
        ChangeKind::Remade => (version.into_iter().collect(), " not reproduced"),
        ChangeKind::Added => (version.into_iter().collect(), " added"),
        ChangeKind::Removed => (version.into_iter().collect(), " removed"),
    };
    let arrow = " -> ";
    let chars = |text: &str| text.chars().count();
    let arrows = versions.len().saturating_sub(1) * chars(arrow);
    // A blank stands before the versions.
    let fixed = chars(what) + arrows + usize::from(!versions.is_empty());
    let all_versions: usize = versions.iter().map(|version| chars(version)).sum();
    let name_width = chars(&change.name)
        .min(MIN_NAME)
        .max(width.saturating_sub(fixed + all_versions));
    let name = shorten(&change.name, name_width);
    let mut left = width.saturating_sub(fixed + chars(&name));
    let mut text = name;
    for (n, version) in versions.iter().enumerate() {
        text.push_str(if n == 0 { " " } else { arrow });
        // A version that needs less than its share leaves the rest to the other one.
        let others: usize = versions[n + 1..].iter().map(|version| chars(version)).sum();
        let share = (left / (versions.len() - n)).max(left.saturating_sub(others));
        let cut = shorten_middle(version, share);
        left = left.saturating_sub(chars(&cut));
        text.push_str(&cut);
    }
    text.push_str(what);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, kind: ChangeKind, old: Option<&str>, new: Option<&str>) -> Change {
        Change {
            name: name.to_owned(),
            kind,
            old_version: old.map(str::to_owned),
            new_version: new.map(str::to_owned),
            old_paths: Vec::new(),
            new_paths: Vec::new(),
            nar_size_bytes: 0,
            because_of: Vec::new(),
            touched_layers: 0,
            touched_bytes: 0,
            alone_bytes: 0,
        }
    }

    #[test]
    fn a_short_title_is_whole() {
        for (change, text) in [
            (
                change("glibc", ChangeKind::Version, Some("2.39"), Some("2.40")),
                "glibc 2.39 -> 2.40",
            ),
            (
                change("a", ChangeKind::Version, None, Some("1")),
                "a (none) -> 1",
            ),
            (
                change("bash", ChangeKind::Rebuilt, Some("5"), Some("5")),
                "bash 5 rebuilt",
            ),
            (
                change("hook", ChangeKind::Removed, None, None),
                "hook removed",
            ),
        ] {
            assert_eq!(title(&change), text);
            assert_eq!(short_title(&change, text.len()), text);
        }
    }

    #[test]
    fn what_happened_is_never_cut() {
        let sasl = change(
            "libsasl2",
            ChangeKind::Version,
            Some("2-2.1.28+dfsg-10"),
            Some("2-2.1.28+dfsg-10+deb12u1"),
        );
        assert_eq!(
            short_title(&sasl, 50),
            "libsasl2 2-2.1.28+dfsg-10 -> 2-2.1.28+d…10+deb12u1"
        );
        let modules = change(
            "libsasl2-modules-database",
            ChangeKind::Version,
            Some("2.1.28"),
            Some("2.1.28+deb12u1"),
        );
        assert_eq!(
            short_title(&modules, 40),
            "libsasl2-modul… 2.1.28 -> 2.1.28+deb12u1"
        );
        let rebuilt = change(
            "a-very-long-name-of-a-package",
            ChangeKind::Rebuilt,
            Some("1.0"),
            Some("1.0"),
        );
        assert_eq!(short_title(&rebuilt, 28), "a-very-long-nam… 1.0 rebuilt");
        let hook = change("a-long-hook-without-version", ChangeKind::Added, None, None);
        assert_eq!(short_title(&hook, 20), "a-long-hook-w… added");
        for width in 40..60 {
            for change in [&sasl, &modules, &rebuilt, &hook] {
                let text = short_title(change, width);
                assert!(text.chars().count() <= width, "{width}: {text}");
            }
        }
    }
}
