//! Where the members of a tar are, so that each can be read without unpacking anything.

use crate::LayoutError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

/// Links that are followed one after another; tools make one.
const MAX_LINKS: usize = 8;

/// Where the bytes of a member stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset_bytes: u64,
    pub(super) size_bytes: u64,
}

#[derive(Debug)]
enum Member {
    File(Extent),
    /// Another member, by its full name.
    Link(String),
}

/// The files and links of a tar by their names. As for a program that unpacks the tar, the last of several members with
/// one name counts; members with names that leave the directory do not count at all.
#[derive(Debug, Default)]
pub(super) struct TarMembers {
    members: BTreeMap<String, Member>,
}

impl TarMembers {
    /// Reads every header; `path` is for errors.
    pub(super) fn read(tar: &File, path: &Path) -> Result<Self, LayoutError> {
        let tar_bytes = tar
            .metadata()
            .map_err(LayoutError::file("read", path))?
            .len();
        let mut members = BTreeMap::new();
        let mut is_tar = false;
        let read_error = |is_tar: bool, source: io::Error| {
            if is_tar {
                let path = path.to_owned();
                LayoutError::Archive { path, source }
            } else {
                let path = path.to_owned();
                LayoutError::NotAnImage { path }
            }
        };
        let mut archive = tar::Archive::new(tar);
        for entry in archive
            .entries_with_seek()
            .map_err(|error| read_error(is_tar, error))?
        {
            let entry = entry.map_err(|error| read_error(is_tar, error))?;
            is_tar = true;
            let Some(name) = std::str::from_utf8(&entry.path_bytes())
                .ok()
                .and_then(member_name)
            else {
                continue;
            };
            let link = entry.link_name_bytes();
            let link = link
                .as_deref()
                .and_then(|link| std::str::from_utf8(link).ok());
            let member = match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let extent = Extent {
                        offset_bytes: entry.raw_file_position(),
                        size_bytes: entry.size(),
                    };
                    check_whole(extent, tar_bytes, &name, path)?;
                    Some(Member::File(extent))
                }
                tar::EntryType::Symlink => {
                    let dir = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                    link.and_then(|link| join(dir, link)).map(Member::Link)
                }
                tar::EntryType::Link => link.and_then(member_name).map(Member::Link),
                _ => None,
            };
            if let Some(member) = member {
                members.insert(name, member);
            }
        }
        Ok(Self { members })
    }

    /// Where a file's bytes are, through links.
    pub(super) fn get(&self, name: &str) -> Option<Extent> {
        let mut name = member_name(name)?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Member::File(extent) => return Some(*extent),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// A name without `.` and empty parts; none for one that is absolute, leaves the directory or names nothing.
pub(super) fn member_name(name: &str) -> Option<String> {
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return None;
    }
    join("", name)
}

/// What `target` names in directory `dir`; none where that is outside.
fn join(dir: &str, target: &str) -> Option<String> {
    if target.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in dir.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn check_whole(extent: Extent, tar_bytes: u64, name: &str, path: &Path) -> Result<(), LayoutError> {
    let found_bytes = tar_bytes.saturating_sub(extent.offset_bytes);
    if found_bytes < extent.size_bytes {
        return Err(LayoutError::Truncated {
            path: path.to_owned(),
            member: name.to_owned(),
            expected_bytes: extent.size_bytes,
            found_bytes,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (name, expected) in [
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("/etc/passwd", None),
            ("../x", None),
            ("a/../b", None),
            ("", None),
            (".", None),
        ] {
            assert_eq!(member_name(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn links_stay_inside() {
        for (dir, target, expected) in [
            ("id", "../abc.tar", Some("abc.tar")),
            ("a/b", "../../x/./y", Some("x/y")),
            ("id", "../../etc/passwd", None),
            ("id", "/etc/passwd", None),
            ("", "..", None),
        ] {
            assert_eq!(join(dir, target).as_deref(), expected, "{dir} {target}");
        }
    }
}
