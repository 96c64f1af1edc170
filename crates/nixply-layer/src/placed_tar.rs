//! A finished tar whose entries stand elsewhere than it says: rewritten while it streams.
//!
//! Every entry that nothing changes of keeps its bytes, and so does what stands behind the last one. One that moves gets its
//! name, and if it is a link its target, in the same form or in a PAX record; the directories above its new place come before
//! it, as they are below the tar. A directory that the tar has without saying anything of it (0755, root's) keeps the
//! mode and owner that it has below.

use crate::compare::CompareError;
use crate::entries::{StoredEntry, WantsText, read_entries};
use crate::header::{Entry, EntryKind, append_header, padding_bytes};
use crate::placed_header::{Change, EntryHeader, read_entry};
use crate::placement::{PlacedDirectory, TarPlacement, plain_name};
use crate::write::nixply_style;
use nixply_oci::{BlobHasher, DiffId, MediaType};
use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};

/// How much is hashed at once. Chosen, not measured: far above the cost of a call.
const HASH_BYTES: usize = 128 << 10;

/// The hash and the size of a tar once it is placed.
///
/// # Errors
/// Whatever reading the tar gives, and [`io::ErrorKind::InvalidData`] for one that cannot be understood.
pub fn hash_placed(tar: impl Read, placement: &TarPlacement) -> io::Result<(DiffId, u64)> {
    let mut placed = PlacedTar::new(tar, placement);
    let mut hasher = BlobHasher::new();
    let mut buffer = vec![0; HASH_BYTES];
    loop {
        match placed.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let (sha256, size_bytes) = hasher.finish();
    Ok((DiffId::from_bytes(sha256), size_bytes))
}

/// Reads a tar as it is once it is placed to its end, entry by entry, and tells the hash that it then has.
///
/// # Errors
/// [`CompareError::Stored`] for a tar that cannot be read or understood.
pub fn read_placed_entries(
    tar: impl Read,
    placement: &TarPlacement,
    wants_text: WantsText,
    visit: &mut dyn FnMut(StoredEntry),
) -> Result<DiffId, CompareError> {
    let mut tar = BufReader::with_capacity(HASH_BYTES, tar);
    if placement.is_empty() {
        return read_entries(&mut tar, &MediaType::OciLayerTar, wants_text, visit);
    }
    let mut placed = PlacedTar::new(tar, placement);
    read_entries(&mut placed, &MediaType::OciLayerTar, wants_text, visit)
}

/// Reads a tar as it is once it is placed.
pub(crate) struct PlacedTar<'p, R> {
    tar: R,
    placement: &'p TarPlacement,
    /// Header bytes that are to be read next.
    ready: io::Cursor<Vec<u8>>,
    /// Bytes of the tar that come after them as they are.
    as_is_bytes: u64,
    /// The directories that were written.
    written: BTreeSet<Vec<u8>>,
    /// Whether the last entry was read, and all that is left stays as it is.
    is_at_end: bool,
}

impl<'p, R: Read> PlacedTar<'p, R> {
    pub(crate) fn new(tar: R, placement: &'p TarPlacement) -> Self {
        Self {
            tar,
            placement,
            ready: io::Cursor::new(Vec::new()),
            as_is_bytes: 0,
            written: BTreeSet::new(),
            is_at_end: false,
        }
    }

    /// Reads the next entry's header and makes the bytes that take its place.
    fn next_entry(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        let entry = read_entry(&mut self.tar, &mut out)?;
        if let Some(entry) = entry {
            self.as_is_bytes = entry
                .body_bytes
                .saturating_add(padding_bytes(entry.body_bytes) as u64);
            self.put(&entry, &mut out)?;
        } else {
            self.is_at_end = true;
        }
        self.ready = io::Cursor::new(out);
        Ok(())
    }

    /// Appends an entry as it stands in the image.
    fn put(&mut self, entry: &EntryHeader, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(name) = plain_name(&entry.name).filter(|name| !name.is_empty()) else {
            out.extend_from_slice(&entry.raw);
            return Ok(());
        };
        let place = self.placement.place(&name);
        let is_moved = *place != *name;
        self.put_parents(&place, is_moved, out);
        let mut change = Change::default();
        if entry.is_directory() {
            let says_nothing = entry.owner == PlacedDirectory::USUAL;
            // It comes to be the root, of which another entry may say something, or it is there already.
            if place.is_empty() || (says_nothing && self.written.contains(&*place)) {
                return Ok(());
            }
            self.written.insert(place.to_vec());
            if says_nothing {
                change.owner = self.placement.directory(&place);
            }
        }
        if is_moved {
            change.name = Some(&*place);
        }
        let target = entry.hard_link_target().and_then(plain_name);
        let target_place = target.as_ref().map(|target| self.placement.place(target));
        if target.as_deref() != target_place.as_deref() {
            change.target = target_place.as_deref();
        }
        if entry.is_symlink() {
            change.target = self.placement.target(&name);
        }
        entry.append_changed(&change, out)
    }

    /// Appends the directories above a place that were not written and have to be: above something that moved, all; and
    /// those that would else lose what they are below the tar.
    fn put_parents(&mut self, place: &[u8], is_moved: bool, out: &mut Vec<u8>) {
        let style = nixply_style();
        let ends = place.iter().enumerate();
        for (end, _) in ends.filter(|(_, byte)| **byte == b'/') {
            let directory = &place[..end];
            let below = self.placement.directory(directory);
            let is_needed = is_moved || below.is_some();
            if !is_needed || !self.written.insert(directory.to_vec()) {
                continue;
            }
            let PlacedDirectory { mode, uid, gid } = below.unwrap_or(PlacedDirectory::USUAL);
            let entry = Entry {
                name: directory,
                kind: EntryKind::Directory,
                mode,
                uid,
                gid,
                capabilities: None,
            };
            append_header(&entry, &style, out);
        }
    }
}

impl<R: Read> Read for PlacedTar<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.ready.read(into)?;
            if n > 0 || into.is_empty() {
                return Ok(n);
            }
            if self.is_at_end {
                return self.tar.read(into);
            }
            if self.as_is_bytes == 0 {
                self.next_entry()?;
                continue;
            }
            let want = usize::try_from(self.as_is_bytes).map_or(into.len(), |n| n.min(into.len()));
            let n = self.tar.read(&mut into[..want])?;
            if n == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the tar ends within an entry",
                ));
            }
            self.as_is_bytes -= n as u64;
            return Ok(n);
        }
    }
}
