//! The users and groups of a base image, as its files tell them, so that an image's own can be added.
//!
//! Two texts are kept, which everybody in a container may read. `/etc/shadow` is not: a lock lies in a repository and a plan in
//! the store, where more people read than in the image.

use serde::{Deserialize, Serialize};

/// Where users are told (passwd(5)).
pub(super) const PASSWD: &str = "etc/passwd";
/// Where groups are told (group(5)).
pub(super) const GROUP: &str = "etc/group";
/// Where passwords are (shadow(5)).
pub(super) const SHADOW: &str = "etc/shadow";
/// Where the C library is told who knows names (nsswitch.conf(5)).
pub(super) const NSSWITCH: &str = "etc/nsswitch.conf";

/// Texts of files that are not at these places, but may be what a link there leads to, are kept up to this sum. Chosen, not
/// measured: far above what an image has of them, and far below what a machine has of memory.
const ELSEWHERE_LIMIT_BYTES: usize = 4 << 20;

/// The longest field that stands for a password but is none: `*`, `!`, `!!`, `x`, `*NP*`.
const MAX_NO_PASSWORD_BYTES: usize = 4;

/// The users and groups of a base image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseAccounts {
    /// What `/etc/passwd` holds; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub passwd: String,
    /// What `/etc/group` holds; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Whether there is an `/etc/shadow`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_shadow: bool,
    /// Whether there is an `/etc/nsswitch.conf`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_nsswitch: bool,
}

/// What is known of a file of a base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BaseFile<'a> {
    /// It is not there.
    Absent,
    /// It is there, or may be; what it holds was not read.
    Unread,
    /// What it holds.
    Text(&'a [u8]),
}

impl BaseAccounts {
    /// Takes them from the files of a base; none where nobody has read them.
    pub(super) fn read<'a>(file: impl Fn(&str) -> BaseFile<'a>) -> Option<Self> {
        let text = |path| match file(path) {
            BaseFile::Absent => Some(String::new()),
            BaseFile::Unread => None,
            BaseFile::Text(bytes) => {
                let text = std::str::from_utf8(bytes).ok()?;
                (!holds_password(text)).then(|| text.to_owned())
            }
        };
        Some(Self {
            passwd: text(PASSWD)?,
            group: text(GROUP)?,
            has_shadow: file(SHADOW) != BaseFile::Absent,
            has_nsswitch: file(NSSWITCH) != BaseFile::Absent,
        })
    }
}

/// How much of texts is kept.
#[derive(Debug, Default)]
pub(super) struct KeptTexts {
    elsewhere_bytes: usize,
}

impl KeptTexts {
    /// Whether one more is kept, by the name of its file: always where the text has its place, else up to a sum over all layers.
    pub(super) fn keeps(&mut self, name: &str, text: &[u8]) -> bool {
        if [PASSWD, GROUP].contains(&name) {
            return true;
        }
        let sum_bytes = self.elsewhere_bytes.saturating_add(text.len());
        let fits = sum_bytes <= ELSEWHERE_LIMIT_BYTES;
        if fits {
            self.elsewhere_bytes = sum_bytes;
        }
        fits
    }
}

/// Whether a file's content is wanted, by its name: the two texts, wherever a link may lead to them.
pub(super) fn wants_text(name: &[u8]) -> bool {
    is_any_of(&[PASSWD, GROUP], name)
}

/// Whether a file tells something of users and groups, by its name.
pub(super) fn is_account_file(name: &[u8]) -> bool {
    is_any_of(&[PASSWD, GROUP, SHADOW, NSSWITCH], name)
}

fn is_any_of(files: &[&str], name: &[u8]) -> bool {
    files.iter().any(|file| {
        let before = name.strip_suffix(file.as_bytes());
        before.is_some_and(|before| before.is_empty() || before.ends_with(b"/"))
    })
}

/// Whether a password stands in the text itself, as before there was `/etc/shadow`.
fn holds_password(text: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split(':').nth(1))
        .any(|field| field.len() > MAX_NO_PASSWORD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_everybody_may_know_are_kept() {
        let read = |passwd| {
            BaseAccounts::read(|path| match path {
                PASSWD => passwd,
                GROUP => BaseFile::Text(b"root:x:0:\n"),
                SHADOW => BaseFile::Unread,
                _ => BaseFile::Absent,
            })
        };
        let found = read(BaseFile::Text(b"a:!!:1:1::/:\n+\n")).unwrap();
        assert_eq!(found.passwd, "a:!!:1:1::/:\n+\n");
        assert_eq!(found.group, "root:x:0:\n");
        assert!(found.has_shadow && !found.has_nsswitch);
        assert_eq!(read(BaseFile::Absent).unwrap().passwd, "");
        assert_eq!(read(BaseFile::Unread), None);
        assert_eq!(read(BaseFile::Text(b"a:\xff:1:1::/:\n")), None);
        assert_eq!(read(BaseFile::Text(b"a:$1$salt$hash:1:1::/:\n")), None);
    }

    #[test]
    fn the_two_files_are_wanted_wherever_they_are() {
        for (name, expected) in [
            ("etc/passwd", true),
            ("./etc/group", true),
            ("nix/store/x/etc/passwd", true),
            ("xetc/passwd", false),
            ("etc/passwd-", false),
            ("etc/shadow", false),
        ] {
            assert_eq!(wants_text(name.as_bytes()), expected, "{name}");
        }
    }
}
