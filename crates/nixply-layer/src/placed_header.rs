//! The header of an entry of somebody else's tar, with the records before it, and the same with a few fields changed.

use crate::header::{
    BLOCK_BYTES, NAME_FIELD_BYTES, SMALL_NUMBER_END, append_pax_entry, append_record, octal,
    padding_bytes,
};
use crate::header_reader::{
    GNU_MAGIC, PAX_LIMIT_BYTES, base_256, is_old_directory, name_of, octal as read_octal,
    pax_records, read_block, until_nul,
};
use crate::placement::PlacedDirectory;
use std::io::{self, Read};

/// What stands before an entry is refused beyond this size: one record of each kind as long as any may be.
const RECORDS_LIMIT_BYTES: usize = 4 * PAX_LIMIT_BYTES;

/// A keyword and a value.
type Record = (Vec<u8>, Vec<u8>);

/// The header of an entry, and the records that go with it.
pub(crate) struct EntryHeader {
    /// All blocks of it, as they are in the tar.
    pub(crate) raw: Vec<u8>,
    /// The name as it is written.
    pub(crate) name: Vec<u8>,
    /// The link's target, verbatim.
    target: Vec<u8>,
    /// Mode and owner.
    pub(crate) owner: PlacedDirectory,
    /// The number of bytes of contents that follow.
    pub(crate) body_bytes: u64,
    records: Vec<Record>,
    block: [u8; BLOCK_BYTES],
}

/// What changes in a header.
#[derive(Debug, Default)]
pub(crate) struct Change<'a> {
    /// The new name, without slashes at its ends.
    pub(crate) name: Option<&'a [u8]>,
    /// A link's new target.
    pub(crate) target: Option<&'a [u8]>,
    /// The new mode and owner.
    pub(crate) owner: Option<PlacedDirectory>,
}

/// Reads the next entry's header. What belongs to no entry is appended to `out` as it is; none at the end of the archive.
pub(crate) fn read_entry(
    tar: &mut impl Read,
    out: &mut Vec<u8>,
) -> io::Result<Option<EntryHeader>> {
    let mut raw = Vec::new();
    let (mut long_name, mut long_target, mut records) = (None, None, Vec::new());
    loop {
        let Some(block) = read_block(&mut *tar)? else {
            // A block of zeros, unless the tar ends without one.
            out.extend_from_slice(&raw);
            out.resize(out.len() + BLOCK_BYTES, 0);
            return Ok(None);
        };
        raw.extend_from_slice(&block);
        if raw.len() + out.len() > RECORDS_LIMIT_BYTES {
            return Err(invalid("records of an entry that are too long together"));
        }
        match block[156] {
            b'g' => {
                read_body(tar, &block, &mut raw)?;
                out.append(&mut raw);
            }
            b'x' => {
                let body = read_body(tar, &block, &mut raw)?;
                records.extend(pax_records(&body)?);
            }
            b'L' => long_name = Some(text_of(read_body(tar, &block, &mut raw)?)),
            b'K' => long_target = Some(text_of(read_body(tar, &block, &mut raw)?)),
            b'S' => return Err(invalid("GNU tar's sparse files are not known here")),
            _ => {
                let header = EntryHeader::new(raw, &block, records, long_name, long_target)?;
                return Ok(Some(header));
            }
        }
    }
}

impl EntryHeader {
    fn new(
        raw: Vec<u8>,
        block: &[u8; BLOCK_BYTES],
        records: Vec<Record>,
        long_name: Option<Vec<u8>>,
        long_target: Option<Vec<u8>>,
    ) -> io::Result<Self> {
        let record = |keyword: &[u8]| {
            let found = records.iter().rfind(|(found, _)| found == keyword);
            found.map(|(_, value)| value.clone())
        };
        let number = |keyword: &[u8], field: &[u8]| match record(keyword) {
            Some(text) => std::str::from_utf8(&text).ok()?.parse().ok(),
            None => number_of(field),
        };
        let owner = PlacedDirectory {
            mode: number_of(&block[100..108])
                .and_then(|mode| u32::try_from(mode).ok())
                .map_or(0, |mode| mode & 0o7777),
            uid: number(b"uid", &block[108..116]).unwrap_or(0),
            gid: number(b"gid", &block[116..124]).unwrap_or(0),
        };
        // Links and directories have no body, whatever their size says.
        let body_bytes = if matches!(block[156], b'1'..=b'6') {
            0
        } else {
            number(b"size", &block[124..136])
                .ok_or_else(|| invalid("an entry of no possible size"))?
        };
        Ok(Self {
            name: record(b"path")
                .or(long_name)
                .unwrap_or_else(|| name_of(block)),
            target: record(b"linkpath")
                .or(long_target)
                .unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
            raw,
            owner,
            body_bytes,
            records,
            block: *block,
        })
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.block[156] == b'5'
            || (self.body_bytes == 0 && is_old_directory(&self.block, &self.name))
    }

    pub(crate) fn is_symlink(&self) -> bool {
        self.block[156] == b'2'
    }

    /// The name of the entry that a hard link is another name of.
    pub(crate) fn hard_link_target(&self) -> Option<&[u8]> {
        (self.block[156] == b'1').then_some(&self.target)
    }

    /// Appends the header with changes; where there are none, its bytes.
    pub(crate) fn append_changed(&self, change: &Change<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        if change.name.is_none() && change.target.is_none() && change.owner.is_none() {
            out.extend_from_slice(&self.raw);
            return Ok(());
        }
        if self
            .records
            .iter()
            .any(|(keyword, _)| keyword.starts_with(b"GNU.sparse."))
        {
            return Err(invalid("GNU tar's sparse files are not known here"));
        }
        let name = change
            .name
            .map_or_else(|| self.name.clone(), |name| self.written_as(name));
        let target = change
            .target
            .map_or_else(|| self.target.clone(), <[u8]>::to_vec);
        let is_changed = |keyword: &[u8]| match keyword {
            b"path" | b"linkpath" => true,
            b"uid" | b"gid" | b"uname" | b"gname" => change.owner.is_some(),
            _ => false,
        };
        let mut records: Vec<Record> = self.records.clone();
        records.retain(|(keyword, _)| !is_changed(keyword));
        let mut block = self.block;
        if !block[257..265].eq(GNU_MAGIC) {
            block[345..500].fill(0);
        }
        put_text(b"path", &name, &mut block[..100], &mut records);
        put_text(b"linkpath", &target, &mut block[157..257], &mut records);
        if let Some(PlacedDirectory { mode, uid, gid }) = change.owner {
            octal(u64::from(mode), &mut block[100..107]);
            block[107] = 0;
            put_number(b"uid", uid, &mut block[108..116], &mut records);
            put_number(b"gid", gid, &mut block[116..124], &mut records);
            block[265..329].fill(0);
        }
        append_records(records, out);
        block[148..156].fill(b' ');
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(sum, &mut block[148..154]);
        block[154] = 0;
        out.extend_from_slice(&block);
        Ok(())
    }

    /// A name in the tar's own way: with the `./` before it and the slash behind it that the old one has.
    fn written_as(&self, place: &[u8]) -> Vec<u8> {
        let mut name = Vec::with_capacity(place.len() + 3);
        if self.name.starts_with(b"./") {
            name.extend_from_slice(b"./");
        }
        name.extend_from_slice(place);
        if self.name.ends_with(b"/") {
            name.push(b'/');
        }
        name
    }
}

/// Puts a text into its field, and into a record where the field cannot hold it.
fn put_text(keyword: &[u8], text: &[u8], field: &mut [u8], records: &mut Vec<Record>) {
    if text.len() > NAME_FIELD_BYTES || !text.is_ascii() {
        records.push((keyword.to_vec(), text.to_vec()));
    }
    field.fill(0);
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

fn put_number(keyword: &[u8], number: u64, field: &mut [u8], records: &mut Vec<Record>) {
    field.fill(0);
    let digits = field.len() - 1;
    if number < SMALL_NUMBER_END {
        octal(number, &mut field[..digits]);
    } else {
        octal(0, &mut field[..digits]);
        records.push((keyword.to_vec(), number.to_string().into_bytes()));
    }
}

fn append_records(mut records: Vec<Record>, out: &mut Vec<u8>) {
    if records.is_empty() {
        return;
    }
    let is_text = |(keyword, value): &Record| {
        !matches!(keyword.as_slice(), b"path" | b"linkpath") || std::str::from_utf8(value).is_ok()
    };
    let says_charset = records.iter().any(|(keyword, _)| keyword == b"hdrcharset");
    if !says_charset && !records.iter().all(is_text) {
        records.insert(0, (b"hdrcharset".to_vec(), b"BINARY".to_vec()));
    }
    let mut body = Vec::new();
    for (keyword, value) in &records {
        append_record(keyword, value, &mut body);
    }
    append_pax_entry(&body, out);
}

/// Reads the contents of an entry that says something of the next one.
fn read_body(
    tar: &mut impl Read,
    block: &[u8; BLOCK_BYTES],
    raw: &mut Vec<u8>,
) -> io::Result<Vec<u8>> {
    let size = read_octal(&block[124..136]).and_then(|size| usize::try_from(size).ok());
    let size = size.filter(|size| *size <= PAX_LIMIT_BYTES);
    let size = size.ok_or_else(|| invalid("a record of no possible size"))?;
    let mut body = vec![0; size + padding_bytes(size as u64)];
    tar.read_exact(&mut body)?;
    raw.extend_from_slice(&body);
    body.truncate(size);
    Ok(body)
}

fn text_of(mut body: Vec<u8>) -> Vec<u8> {
    body.truncate(until_nul(&body).len());
    body
}

fn number_of(field: &[u8]) -> Option<u64> {
    read_octal(field).or_else(|| base_256(field))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
