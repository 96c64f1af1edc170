//! Where the entries of a finished tar stand in an image whose lower layers have symbolic links and directories of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// What changes in a finished tar, so that it damages nothing below it. Paths have no slashes at their ends; the root is the
/// empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TarPlacement {
    /// Directories whose entries stand elsewhere, such as `bin` in `usr/bin`: below the tar there is a symbolic link.
    pub moved: BTreeMap<String, String>,
    /// Directories that keep the mode and owner they have below the tar, where the tar says 0755 and root, or nothing.
    pub directories: BTreeMap<String, PlacedDirectory>,
    /// Symbolic links that say something else where they come to stand, by their names in the tar: what they said would lead
    /// elsewhere from there.
    pub targets: BTreeMap<String, String>,
}

/// A directory's mode and owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedDirectory {
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The numeric owner.
    pub uid: u64,
    /// The numeric group.
    pub gid: u64,
}

impl PlacedDirectory {
    /// As directories are that nobody said anything of.
    pub const USUAL: Self = Self {
        mode: 0o755,
        uid: 0,
        gid: 0,
    };
}

impl TarPlacement {
    /// True where a tar stays as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moved.is_empty() && self.directories.is_empty() && self.targets.is_empty()
    }

    /// Where a name comes to stand: the longest of its directories that is moved decides. The name has no empty and no dotted
    /// parts.
    #[must_use]
    pub fn place<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        let ends = name.iter().enumerate().rev();
        let ends = ends.filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in std::iter::once(name.len()).chain(ends) {
            let directory = std::str::from_utf8(&name[..end]).ok();
            if let Some(place) = directory.and_then(|directory| self.moved.get(directory)) {
                let rest = &name[end..];
                let rest = if place.is_empty() {
                    rest.strip_prefix(b"/").unwrap_or(rest)
                } else {
                    rest
                };
                return [place.as_bytes(), rest].concat().into();
            }
        }
        name.into()
    }

    /// What a symbolic link of the tar says where it comes to stand, if that is something else.
    pub(crate) fn target(&self, name: &[u8]) -> Option<&[u8]> {
        let name = std::str::from_utf8(name).ok()?;
        self.targets.get(name).map(String::as_bytes)
    }

    /// What a directory is below the tar.
    pub(crate) fn directory(&self, place: &[u8]) -> Option<PlacedDirectory> {
        let place = std::str::from_utf8(place).ok()?;
        self.directories.get(place).copied()
    }
}

/// A name of a tar without its dots and empty parts. None for one that goes up, and for one that no file system takes.
#[must_use]
pub fn plain_name(name: &[u8]) -> Option<Vec<u8>> {
    if name.len() > NAME_LIMIT_BYTES {
        return None;
    }
    let parts = name.split(|&byte| byte == b'/');
    let parts: Vec<&[u8]> = parts.filter(|part| !matches!(*part, b"" | b".")).collect();
    (!parts.contains(&&b".."[..])).then(|| parts.join(&b'/'))
}

/// The longest path that Linux takes, as a name and as a link's target.
pub const NAME_LIMIT_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_moved_directory_decides() {
        let moved = [("bin", "usr/bin"), ("bin/sub", "opt/sub"), ("top", "")];
        let placement = TarPlacement {
            moved: moved
                .map(|(from, to)| (from.to_owned(), to.to_owned()))
                .into(),
            ..TarPlacement::default()
        };
        for (name, place) in [
            ("bin", "usr/bin"),
            ("bin/sh", "usr/bin/sh"),
            ("binary/sh", "binary/sh"),
            ("bin/sub", "opt/sub"),
            ("bin/sub/a/b", "opt/sub/a/b"),
            ("bin/subs", "usr/bin/subs"),
            ("top/a", "a"),
            ("top", ""),
            ("etc", "etc"),
            ("", ""),
        ] {
            let found = placement.place(name.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), place, "{name}");
        }
        let found = placement.place(b"bin/\xff");
        assert_eq!(*found, *b"usr/bin/\xff");
    }

    #[test]
    fn names_are_made_plain() {
        let plain = |name: &[u8]| plain_name(name);
        assert_eq!(plain(b"./bin//./sh/").as_deref(), Some(&b"bin/sh"[..]));
        assert_eq!(plain(b"/./").as_deref(), Some(&b""[..]));
        assert_eq!(plain(b"a/../b"), None);
        assert_eq!(plain(b"a/..b").as_deref(), Some(&b"a/..b"[..]));
        assert_eq!(plain(&[b'a'; 5000]), None);
    }
}
