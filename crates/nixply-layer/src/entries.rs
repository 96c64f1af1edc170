//! The entries of a stored layer by their headers: what stands where, and whose it is.

use crate::compare::CompareError;
use crate::header::padding_bytes;
use crate::header_reader::{ReadHeader, read_header};
use crate::stored::uncompressed;
use nixply_oci::{BlobHasher, DiffId, MediaType};
use std::io::{self, Read};

/// GNU tar's long names are read up to this length: no name of a file system is near it.
const LONG_NAME_LIMIT_BYTES: u64 = 1 << 20;

/// Texts are kept up to this length.
const TEXT_LIMIT_BYTES: u64 = 1 << 20;

/// How much of a file's content is skipped at once. Chosen, not measured: far above the cost of a call.
const SKIP_BYTES: usize = 128 << 10;

/// An entry of a stored layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its name as it is written, without slashes at the ends.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: StoredEntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
}

/// What an entry of a stored layer is, as far as it matters for what stands below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredEntryKind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// What it points at, verbatim.
        target: Vec<u8>,
    },
    /// A file whose content was asked for; at most 1 MiB.
    Text(Vec<u8>),
    /// Any other file, a hard link, a device or a pipe.
    Other,
}

/// Says of a file's name, without slashes at the ends, whether its content is wanted.
pub type WantsText = fn(&[u8]) -> bool;

impl StoredEntryKind {
    /// A file with its content, or without where that is too long.
    pub(crate) fn of_file(size_bytes: u64, content: &mut dyn Read) -> io::Result<Self> {
        if size_bytes > TEXT_LIMIT_BYTES {
            return Ok(Self::Other);
        }
        let mut text = Vec::new();
        content.take(size_bytes).read_to_end(&mut text)?;
        Ok(Self::Text(text))
    }
}

/// Reads a stored layer to its end, entry by entry, and tells the hash of its uncompressed bytes. File contents that nobody
/// wants are read past and not kept.
pub fn read_entries(
    stored: &mut dyn Read,
    media_type: &MediaType,
    wants_text: WantsText,
    visit: &mut dyn FnMut(StoredEntry),
) -> Result<DiffId, CompareError> {
    let mut tar = Hashing {
        tar: uncompressed(stored, media_type)?,
        hasher: BlobHasher::new(),
    };
    visit_all(&mut tar, wants_text, visit).map_err(CompareError::Stored)?;
    // What stands behind the end of the archive is part of the layer all the same.
    while skip(&mut tar, SKIP_BYTES as u64).map_err(CompareError::Stored)? > 0 {}
    Ok(DiffId::from_bytes(tar.hasher.finish().0))
}

fn visit_all(
    tar: &mut impl Read,
    wants_text: WantsText,
    visit: &mut dyn FnMut(StoredEntry),
) -> io::Result<()> {
    let (mut long_name, mut long_target) = (None, None);
    while let Some(header) = read_header(&mut *tar)? {
        let size_bytes = body_bytes(&header)?;
        let kind = header.field("type");
        if matches!(kind, "L" | "K") {
            let text = read_long(tar, size_bytes)?;
            *(if kind == "L" {
                &mut long_name
            } else {
                &mut long_target
            }) = Some(text);
            continue;
        }
        let (name, target) = (long_name.take(), long_target.take());
        let mut read_bytes = 0;
        // Records for the whole archive: no entry. Those that tools write name a commit.
        if kind != "g" {
            // A long name is of a form that has a type for directories; the field has what fits of it.
            let is_old_directory = header.is_old_directory && name.is_none();
            let name = trimmed(name.unwrap_or_else(|| header.name.clone()));
            let kind = match kind {
                "5" => StoredEntryKind::Directory,
                _ if is_old_directory => StoredEntryKind::Directory,
                "2" => StoredEntryKind::Symlink {
                    target: target.unwrap_or_else(|| header.link_target.clone()),
                },
                "" | "0" if wants_text(&name) => StoredEntryKind::of_file(size_bytes, tar)?,
                _ => StoredEntryKind::Other,
            };
            if let StoredEntryKind::Text(text) = &kind {
                read_bytes = text.len() as u64;
            }
            visit(StoredEntry {
                name,
                kind,
                mode: u32::from_str_radix(header.field("mode"), 8).unwrap_or(0o755) & 0o7777,
                uid: header.field("uid").parse().unwrap_or(0),
                gid: header.field("gid").parse().unwrap_or(0),
            });
        }
        let whole_bytes = size_bytes.saturating_add(padding_bytes(size_bytes) as u64);
        let left_bytes = whole_bytes - read_bytes;
        if skip(tar, left_bytes)? != left_bytes {
            return Err(ends_early());
        }
    }
    Ok(())
}

/// Links and directories have no body, whatever their size says.
fn body_bytes(header: &ReadHeader) -> io::Result<u64> {
    if matches!(header.field("type"), "1" | "2" | "3" | "4" | "5" | "6") {
        return Ok(0);
    }
    header
        .field("size")
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "an entry of no possible size"))
}

/// The body of GNU tar's entry for a long name or link target.
fn read_long(tar: &mut impl Read, size_bytes: u64) -> io::Result<Vec<u8>> {
    if size_bytes > LONG_NAME_LIMIT_BYTES {
        let problem = "a name of no possible length";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut text = Vec::new();
    (&mut *tar).take(size_bytes).read_to_end(&mut text)?;
    let padding = padding_bytes(size_bytes) as u64;
    if text.len() as u64 != size_bytes || skip(tar, padding)? != padding {
        return Err(ends_early());
    }
    let end = text.iter().position(|&byte| byte == 0);
    text.truncate(end.unwrap_or(text.len()));
    Ok(text)
}

fn trimmed(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&b'/') {
        name.pop();
    }
    let start = name.iter().take_while(|&&byte| byte == b'/').count();
    name.drain(..start);
    name
}

fn ends_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the layer ends within an entry",
    )
}

/// Reads past bytes; tells how many there were.
fn skip(tar: &mut impl Read, n_bytes: u64) -> io::Result<u64> {
    let mut buffer = vec![0; usize::try_from(n_bytes).map_or(SKIP_BYTES, |n| n.min(SKIP_BYTES))];
    let mut left_bytes = n_bytes;
    while left_bytes > 0 {
        let want = usize::try_from(left_bytes).map_or(buffer.len(), |n| n.min(buffer.len()));
        match tar.read(&mut buffer[..want]) {
            Ok(0) => break,
            Ok(n) => left_bytes -= n as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_bytes - left_bytes)
}

/// Hashes what is read through it.
struct Hashing<'a> {
    tar: Box<dyn Read + 'a>,
    hasher: BlobHasher,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.tar.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: tar::EntryType, size_bytes: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size_bytes);
        header.set_mode(0o1777);
        header.set_uid(7);
        header.set_gid(8);
        header
    }

    fn layer() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        builder
            .append_data(
                &mut header(tar::EntryType::Directory, 0),
                "tmp/",
                io::empty(),
            )
            .unwrap();
        let mut link = header(tar::EntryType::Symlink, 0);
        builder.append_link(&mut link, "bin", "usr/bin").unwrap();
        let long = format!("usr/{}", "long".repeat(60));
        builder
            .append_link(
                &mut header(tar::EntryType::Symlink, 0),
                format!("{long}.so"),
                &long,
            )
            .unwrap();
        builder
            .append_data(
                &mut header(tar::EntryType::Regular, 1000),
                "etc/passwd",
                &[7; 1000][..],
            )
            .unwrap();
        builder.into_inner().unwrap()
    }

    fn list(bytes: &[u8], wants_text: WantsText) -> (Vec<StoredEntry>, DiffId) {
        let mut entries = Vec::new();
        let tar = &mut &bytes[..];
        let diff_id = read_entries(tar, &MediaType::OciLayerTar, wants_text, &mut |entry| {
            entries.push(entry);
        });
        (entries, diff_id.unwrap())
    }

    #[test]
    fn entries_are_told_as_they_are_written_and_the_bytes_are_hashed() {
        let tar = layer();
        let (entries, diff_id) = list(&tar, |_| false);
        assert_eq!(diff_id, DiffId::of(&tar));
        assert_eq!(entries.len(), 4);
        assert_eq!(entries[0].name, b"tmp");
        assert_eq!(entries[0].kind, StoredEntryKind::Directory);
        assert_eq!(
            (entries[0].mode, entries[0].uid, entries[0].gid),
            (0o1777, 7, 8)
        );
        let target = b"usr/bin".to_vec();
        assert_eq!(entries[1].kind, StoredEntryKind::Symlink { target });
        let long = format!("usr/{}", "long".repeat(60));
        assert_eq!(entries[2].name, format!("{long}.so").as_bytes());
        assert_eq!(
            entries[2].kind,
            StoredEntryKind::Symlink {
                target: long.into_bytes()
            }
        );
        assert_eq!(entries[3].name, b"etc/passwd");
        assert_eq!(entries[3].kind, StoredEntryKind::Other);
    }

    #[test]
    fn directories_without_a_type_are_told_by_their_slash() {
        for kind in [0, b'0'] {
            let mut directory = tar::Header::new_old();
            directory.as_old_mut().name[..8].copy_from_slice(b"usr/bin/");
            directory.as_old_mut().linkflag = [kind];
            directory.set_size(0);
            directory.set_mode(0o711);
            directory.set_uid(0);
            directory.set_gid(0);
            directory.set_cksum();
            let (entries, _) = list(directory.as_bytes(), |_| true);
            assert_eq!(entries[0].name, b"usr/bin");
            assert_eq!(entries[0].kind, StoredEntryKind::Directory);
        }
    }

    #[test]
    fn what_gnu_tar_has_in_place_of_a_prefix_is_no_name() {
        let mut file = header(tar::EntryType::Regular, 0);
        file.set_path("etc/x").unwrap();
        file.as_gnu_mut().unwrap().set_atime(1_000_000_000);
        file.set_cksum();
        let (entries, _) = list(file.as_bytes(), |_| false);
        assert_eq!(entries[0].name, b"etc/x");
    }

    #[test]
    fn contents_are_kept_of_files_that_are_wanted_and_not_too_long() {
        let mut builder = tar::Builder::new(Vec::new());
        let too_long = vec![b'x'; (1 << 20) + 1];
        for (name, content) in [("a", &b"of a"[..]), ("b", b"of b"), ("a", &too_long)] {
            let mut header = header(tar::EntryType::Regular, content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
        let mut link = header(tar::EntryType::Symlink, 0);
        builder.append_link(&mut link, "a", "b").unwrap();
        let tar = builder.into_inner().unwrap();
        let (entries, diff_id) = list(&tar, |name| name == b"a");
        assert_eq!(diff_id, DiffId::of(&tar));
        let kinds: Vec<StoredEntryKind> = entries.into_iter().map(|entry| entry.kind).collect();
        let target = b"b".to_vec();
        assert_eq!(
            kinds,
            [
                StoredEntryKind::Text(b"of a".to_vec()),
                StoredEntryKind::Other,
                StoredEntryKind::Other,
                StoredEntryKind::Symlink { target },
            ]
        );
    }

    #[test]
    fn a_layer_that_ends_early_is_an_error() {
        let tar = layer();
        let found = read_entries(
            &mut &tar[..tar.len() - 1500],
            &MediaType::OciLayerTar,
            |_| true,
            &mut |_| {},
        );
        assert!(matches!(found, Err(CompareError::Stored(_))), "{found:?}");
    }
}
