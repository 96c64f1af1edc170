//! A stored layer against the one that its spec makes: equal, or the first entry that differs and how.

use crate::error::WriteLayerError;
use crate::header::{BLOCK_BYTES, Entry, EntryKind, padding_bytes};
use crate::header_reader::{printable, read_header};
use crate::spec::{LayerContents, LayerFormat, LayerSpec, StorePathContent, StoreRoot};
use crate::store_tree::SiblingOrder;
use crate::stored::uncompressed;
use crate::tar_writer::TarSink;
use crate::write::write_tar;
use nixply_oci::MediaType;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io::{self, Read};

/// The first place where a stored layer is not what its spec makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name of the entry in the tar; empty where the difference stands behind the last entry.
    pub entry: String,
    /// What differs.
    pub kind: DifferenceKind,
}

/// How two layers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// A header field has another value.
    Header {
        /// The field: `mode`, `size`, `mtime`, `link target`, …
        field: &'static str,
        /// The value that the spec makes.
        expected: String,
        /// The value in the stored layer.
        found: String,
    },
    /// The contents of a regular file differ.
    Contents {
        /// The first byte that differs, counted from the start of the file.
        offset_bytes: u64,
    },
    /// The stored layer lacks the entry.
    Missing,
    /// The stored layer has the entry, which the spec does not make.
    Extra,
    /// The stored layer ends within the entry, or before its end of archive.
    Truncated,
    /// The entries are equal; the padding of the entry, or what follows the last entry, is not.
    Padding,
}

/// Why a stored layer could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The layer cannot be made again.
    #[error("the layer cannot be made again to compare it")]
    Make(#[source] WriteLayerError),
    /// The stored bytes cannot be read or decompressed.
    #[error("the stored layer cannot be read")]
    Stored(#[source] io::Error),
    /// The stored bytes are in a form that is not known.
    #[error("layers of type `{media_type}` cannot be compared")]
    MediaType {
        /// The media type.
        media_type: MediaType,
    },
}

/// Makes the layer again and compares it, byte by byte, with the stored one. Compressed bytes are not compared, only what
/// they decompress to: `stored` may have been compressed by another tool.
pub fn compare_layer(
    spec: &LayerSpec,
    store: &StoreRoot,
    stored: &mut dyn Read,
    media_type: &MediaType,
) -> Result<Option<Difference>, CompareError> {
    let mut comparison = Comparison {
        order: EntryOrder::of(spec),
        stored: uncompressed(stored, media_type)?,
        buffer: Vec::new(),
        offset_bytes: 0,
        entries: VecDeque::new(),
        outcome: None,
    };
    match write_tar(spec, store, &mut comparison) {
        Ok(()) => comparison.expect_end()?,
        // The comparison ends the making once it knows.
        Err(WriteLayerError::Sink(_)) => {}
        Err(error) => return Err(CompareError::Make(error)),
    }
    comparison.outcome.unwrap_or(Ok(None))
}

/// An entry whose bytes are not compared yet, or not all of them.
struct OpenEntry {
    /// The name in the tar without slashes at the ends.
    name: Vec<u8>,
    header_offset: u64,
    header_bytes: u64,
    size_bytes: u64,
}

impl OpenEntry {
    /// Where the next entry begins.
    fn end(&self) -> u64 {
        let contents_end = self.header_offset + self.header_bytes + self.size_bytes;
        contents_end + padding_bytes(self.size_bytes) as u64
    }
}

type Outcome = Result<Option<Difference>, CompareError>;

/// Takes the tar that the spec makes and reads the stored one beside it.
struct Comparison<'a> {
    order: EntryOrder,
    stored: Box<dyn Read + 'a>,
    buffer: Vec<u8>,
    /// How many bytes are equal so far.
    offset_bytes: u64,
    /// Entries that reach beyond what is compared, in order.
    entries: VecDeque<OpenEntry>,
    outcome: Option<Outcome>,
}

impl TarSink for Comparison<'_> {
    fn begin_entry(&mut self, entry: &Entry<'_>, header_offset: u64, header_bytes: u64) {
        let size_bytes = match entry.kind {
            EntryKind::File { size_bytes } => size_bytes,
            EntryKind::Directory | EntryKind::Symlink { .. } => 0,
        };
        self.entries.push_back(OpenEntry {
            name: entry.name.to_vec(),
            header_offset,
            header_bytes,
            size_bytes,
        });
    }

    fn take(&mut self, expected: &[u8]) -> io::Result<()> {
        self.buffer.resize(expected.len(), 0);
        let found_bytes = match read_up_to(&mut self.stored, &mut self.buffer) {
            Ok(found_bytes) => found_bytes,
            Err(error) => return self.conclude(Err(CompareError::Stored(error))),
        };
        let found = &self.buffer[..found_bytes];
        let differs_at = expected.iter().zip(found).position(|(a, b)| a != b);
        if let Some(at) = differs_at.or((found_bytes < expected.len()).then_some(found_bytes)) {
            let outcome = self.explain(expected, found_bytes, at).map(Some);
            return self.conclude(outcome);
        }
        self.offset_bytes += expected.len() as u64;
        // Only the last entry can reach beyond a piece: the next ones are announced later.
        self.entries.drain(..self.entries.len().saturating_sub(1));
        Ok(())
    }
}

impl Comparison<'_> {
    /// Remembers the outcome and stops the making.
    fn conclude(&mut self, outcome: Outcome) -> io::Result<()> {
        self.outcome = Some(outcome);
        Err(io::Error::other("the comparison is over"))
    }

    /// After the last byte of the made tar: the stored one must end too.
    fn expect_end(&mut self) -> Result<(), CompareError> {
        let beyond = read_up_to(&mut self.stored, &mut [0]).map_err(CompareError::Stored)?;
        if beyond > 0 {
            self.outcome = Some(Ok(Some(Difference {
                entry: String::new(),
                kind: DifferenceKind::Padding,
            })));
        }
        Ok(())
    }

    /// Says what the first difference means; it stands `at` bytes behind those that are known to be equal.
    fn explain(
        &mut self,
        expected: &[u8],
        found_bytes: usize,
        at: usize,
    ) -> Result<Difference, CompareError> {
        let offset = self.offset_bytes + at as u64;
        let truncated = at == found_bytes;
        let found = &self.buffer[..found_bytes];
        let entry = self
            .entries
            .iter()
            .rfind(|entry| entry.header_offset <= offset && offset < entry.end());
        let Some(entry) = entry else {
            // Behind the last entry: the end of the archive, or an entry in its place.
            let block_start = at - at % BLOCK_BYTES;
            let rest = found[block_start..].chain(&mut self.stored);
            let (kind, entry) = match read_header(rest) {
                _ if truncated => (DifferenceKind::Truncated, String::new()),
                Ok(Some(extra)) => (DifferenceKind::Extra, printable(&extra.name)),
                _ => (DifferenceKind::Padding, String::new()),
            };
            return Ok(Difference { entry, kind });
        };
        let difference = |kind| {
            Ok(Difference {
                entry: printable(&entry.name),
                kind,
            })
        };
        if truncated {
            return difference(DifferenceKind::Truncated);
        }
        let into_entry = offset - entry.header_offset;
        if into_entry >= entry.header_bytes {
            let offset_bytes = into_entry - entry.header_bytes;
            return difference(if offset_bytes < entry.size_bytes {
                DifferenceKind::Contents { offset_bytes }
            } else {
                DifferenceKind::Padding
            });
        }
        // A header is never cut, so this piece holds all of it from its start.
        let start = usize::try_from(entry.header_offset - self.offset_bytes).unwrap_or(at);
        let expected = read_header(&expected[start..]).map_err(CompareError::Stored)?;
        let found = match read_header(found[start..].chain(&mut self.stored)) {
            Ok(Some(found)) => found,
            Ok(None) => return difference(DifferenceKind::Missing),
            Err(error) => {
                return difference(DifferenceKind::Header {
                    field: "header",
                    expected: "a tar header".to_owned(),
                    found: error.to_string(),
                });
            }
        };
        if found.name != entry.name {
            return if self.order.is_extra(&found.name, &entry.name) {
                Ok(Difference {
                    entry: printable(&found.name),
                    kind: DifferenceKind::Extra,
                })
            } else {
                difference(DifferenceKind::Missing)
            };
        }
        let expected_fields = expected.map(|header| header.fields).unwrap_or_default();
        let unequal = expected_fields
            .into_iter()
            .zip(found.fields)
            .find(|(expected, found)| expected != found);
        difference(match unequal {
            Some(((field, expected), (_, found))) => DifferenceKind::Header {
                field,
                expected,
                found,
            },
            // The same values, written in another way: another padding, another checksum form.
            None => DifferenceKind::Header {
                field: "header",
                expected: "the bytes of docs/format.md".to_owned(),
                found: "the same values in other bytes".to_owned(),
            },
        })
    }
}

/// In which order the entries of a layer stand.
struct EntryOrder {
    siblings: SiblingOrder,
    /// The store directory without its first slash, and the base names of the store paths in the order of the layer.
    store: Option<(String, Vec<String>)>,
}

impl EntryOrder {
    fn of(spec: &LayerSpec) -> Self {
        let exact = spec.format != LayerFormat::Nixply;
        let store = match &spec.contents {
            LayerContents::Root { .. }
            | LayerContents::Tar(_)
            | LayerContents::Nix2container(_) => None,
            LayerContents::Store { store_dir, paths } => {
                let base_name = |content: &StorePathContent| content.path.base_name().to_owned();
                let mut names: Vec<String> = paths.iter().map(base_name).collect();
                if !exact {
                    names.sort();
                }
                Some((store_dir.as_str()[1..].to_owned(), names))
            }
        };
        Self {
            siblings: if exact {
                SiblingOrder::Python
            } else {
                SiblingOrder::Bytes
            },
            store,
        }
    }

    /// Whether a stored entry that stands where another was expected is one too many; else the expected one is missing.
    fn is_extra(&self, found: &[u8], expected: &[u8]) -> bool {
        if let Some((store_dir, names)) = &self.store {
            let rank = |name: &[u8]| {
                let rest = name
                    .strip_prefix(store_dir.as_bytes())?
                    .strip_prefix(b"/")?;
                let base_name = rest.split(|&byte| byte == b'/').next()?;
                names.iter().position(|n| n.as_bytes() == base_name)
            };
            match (rank(found), rank(expected)) {
                (None, _) => return true,
                (Some(found), Some(expected)) if found != expected => return found < expected,
                _ => {}
            }
        }
        self.siblings.compare_names(found, expected) == Ordering::Less
    }
}

/// Reads until the buffer is full or the source ends.
fn read_up_to(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read_bytes) => filled += read_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
