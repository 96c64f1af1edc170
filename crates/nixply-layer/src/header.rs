//! The header blocks of one entry: POSIX ustar, after a PAX record where a field cannot say what it must.
//!
//! The bytes are those that Python's `tarfile` writes in its PAX format, because dockerTools' layers are made with it
//! and one rule for both formats is one rule to specify: a name is never split into prefix and name, what does not fit
//! goes into a PAX record, and the ustar field then holds a cut copy in ASCII (`docs/format.md`, "Headers").

use crate::capabilities::{FileCapabilities, XATTR_BYTES};
use std::borrow::Cow;

/// Tar counts in blocks of this size.
pub(crate) const BLOCK_BYTES: usize = 512;

/// The longest name or link target that a ustar field holds.
pub(crate) const NAME_FIELD_BYTES: usize = 100;

/// The longest user or group name that PAX leaves to the ustar field (`tarfile`, `create_pax_header`).
const OWNER_NAME_FIELD_BYTES: usize = 32;

/// The first number that an 8-byte octal field cannot hold: 7 digits and a NUL.
pub(crate) const SMALL_NUMBER_END: u64 = 1 << 21;

/// The first number that a 12-byte octal field cannot hold: 11 digits and a NUL. As a size, 8 GiB.
const LARGE_NUMBER_END: u64 = 1 << 33;

/// The record of an extended attribute, as star, GNU tar, Docker and containerd write it.
pub(crate) const CAPABILITIES_KEYWORD: &str = "SCHILY.xattr.security.capability";

/// What is the same in all headers of a layer.
#[derive(Debug, Clone)]
pub(crate) struct HeaderStyle {
    /// Whether names begin with a slash.
    pub(crate) absolute: bool,
    /// The time of every entry.
    pub(crate) mtime_secs: u64,
    /// The user name of every entry.
    pub(crate) uname: String,
    /// The group name of every entry.
    pub(crate) gname: String,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind<'a> {
    Directory,
    File { size_bytes: u64 },
    Symlink { target: &'a [u8] },
}

/// One entry of a layer, without its contents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// The name, without a leading or trailing slash.
    pub(crate) name: &'a [u8],
    pub(crate) kind: EntryKind<'a>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) capabilities: Option<FileCapabilities>,
}

impl Entry<'_> {
    /// The name as it stands in the tar: directories end in a slash.
    pub(crate) fn name_in(&self, style: &HeaderStyle) -> Vec<u8> {
        let mut name = Vec::with_capacity(self.name.len() + 2);
        if style.absolute {
            name.push(b'/');
        }
        name.extend_from_slice(self.name);
        if self.kind == EntryKind::Directory {
            name.push(b'/');
        }
        name
    }
}

/// Appends the header blocks of an entry.
pub(crate) fn append_header(entry: &Entry<'_>, style: &HeaderStyle, out: &mut Vec<u8>) {
    let name = entry.name_in(style);
    let (type_flag, size_bytes, target): (u8, u64, &[u8]) = match entry.kind {
        EntryKind::Directory => (b'5', 0, b""),
        EntryKind::File { size_bytes } => (b'0', size_bytes, b""),
        EntryKind::Symlink { target } => (b'2', 0, target),
    };

    // The order of `create_pax_header`: texts, then numbers.
    let mut records = PaxRecords::default();
    records.text("path", &name, NAME_FIELD_BYTES);
    records.text("linkpath", target, NAME_FIELD_BYTES);
    records.text("uname", style.uname.as_bytes(), OWNER_NAME_FIELD_BYTES);
    records.text("gname", style.gname.as_bytes(), OWNER_NAME_FIELD_BYTES);
    let uid = records.number("uid", entry.uid, SMALL_NUMBER_END);
    let gid = records.number("gid", entry.gid, SMALL_NUMBER_END);
    let size_field = records.number("size", size_bytes, LARGE_NUMBER_END);
    let mtime = records.number("mtime", style.mtime_secs, LARGE_NUMBER_END);
    records.xattr = entry.capabilities.map(FileCapabilities::to_xattr);
    records.append_to(out);

    let block = UstarBlock {
        name: &name,
        mode: entry.mode,
        uid,
        gid,
        size: size_field,
        mtime,
        type_flag,
        target,
        uname: style.uname.as_bytes(),
        gname: style.gname.as_bytes(),
    };
    out.extend_from_slice(&block.encode());
}

/// The values that do not fit into the ustar fields of an entry.
#[derive(Default)]
struct PaxRecords<'a> {
    values: Vec<(&'static str, Cow<'a, [u8]>)>,
    /// The extended attribute that holds capabilities. It is no text, so it says nothing of the character set.
    xattr: Option<[u8; XATTR_BYTES]>,
}

impl<'a> PaxRecords<'a> {
    /// Takes a text that is too long for its field, or not ASCII.
    fn text(&mut self, keyword: &'static str, value: &'a [u8], field_bytes: usize) {
        if value.len() > field_bytes || !value.is_ascii() {
            self.values.push((keyword, value.into()));
        }
    }

    /// Takes a number that is too big for its field; returns what the field holds: the number, or 0.
    fn number(&mut self, keyword: &'static str, value: u64, end: u64) -> u64 {
        if value < end {
            return value;
        }
        self.values
            .push((keyword, value.to_string().into_bytes().into()));
        0
    }

    /// Appends the `x` entry that carries the records, if there are any.
    fn append_to(&self, out: &mut Vec<u8>) {
        if self.values.is_empty() && self.xattr.is_none() {
            return;
        }
        let mut body = Vec::new();
        // POSIX pax: values that are not UTF-8 are announced, and stand as the bytes they are.
        if self
            .values
            .iter()
            .any(|(_, value)| std::str::from_utf8(value).is_err())
        {
            append_record(b"hdrcharset", b"BINARY", &mut body);
        }
        for (keyword, value) in &self.values {
            append_record(keyword.as_bytes(), value, &mut body);
        }
        if let Some(xattr) = &self.xattr {
            append_record(CAPABILITIES_KEYWORD.as_bytes(), xattr, &mut body);
        }
        append_pax_entry(&body, out);
    }
}

/// Appends the entry that carries records for the one that follows.
pub(crate) fn append_pax_entry(records: &[u8], out: &mut Vec<u8>) {
    let block = UstarBlock {
        name: b"././@PaxHeader",
        mode: 0,
        uid: 0,
        gid: 0,
        size: records.len() as u64,
        mtime: 0,
        type_flag: b'x',
        target: b"",
        uname: b"",
        gname: b"",
    };
    out.extend_from_slice(&block.encode());
    out.extend_from_slice(records);
    out.resize(out.len() + padding_bytes(records.len() as u64), 0);
}

/// Appends `LENGTH KEYWORD=VALUE\n`, where LENGTH counts the whole record and so itself.
pub(crate) fn append_record(keyword: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let rest_len = 1 + keyword.len() + 1 + value.len() + 1;
    let mut record_len = rest_len;
    loop {
        let next = rest_len + record_len.to_string().len();
        if next == record_len {
            break;
        }
        record_len = next;
    }
    out.extend_from_slice(record_len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(keyword);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// How many zero bytes follow contents of this size up to the next block.
pub(crate) fn padding_bytes(size_bytes: u64) -> usize {
    let over = usize::try_from(size_bytes % BLOCK_BYTES as u64).unwrap_or(0);
    if over == 0 { 0 } else { BLOCK_BYTES - over }
}

/// The fields of a ustar header block; numbers fit into their fields.
struct UstarBlock<'a> {
    name: &'a [u8],
    mode: u32,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    type_flag: u8,
    target: &'a [u8],
    uname: &'a [u8],
    gname: &'a [u8],
}

impl UstarBlock<'_> {
    /// The block (POSIX.1-2017, pax, "ustar Interchange Format"). The device fields and the prefix stay NUL.
    fn encode(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0_u8; BLOCK_BYTES];
        ascii(self.name, &mut block[0..100]);
        octal(u64::from(self.mode), &mut block[100..107]);
        octal(self.uid, &mut block[108..115]);
        octal(self.gid, &mut block[116..123]);
        octal(self.size, &mut block[124..135]);
        octal(self.mtime, &mut block[136..147]);
        block[148..156].fill(b' ');
        block[156] = self.type_flag;
        ascii(self.target, &mut block[157..257]);
        block[257..265].copy_from_slice(b"ustar\x0000");
        ascii(self.uname, &mut block[265..297]);
        ascii(self.gname, &mut block[297..329]);
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        // Six digits, a NUL, and the space that stood there while the sum was made.
        octal(sum, &mut block[148..154]);
        block[154] = 0;
        block
    }
}

/// Writes as much of a text as the field holds; each character outside ASCII, and each byte that belongs to no
/// character, becomes one `?`.
fn ascii(text: &[u8], field: &mut [u8]) {
    if text.is_ascii() {
        let len = text.len().min(field.len());
        field[..len].copy_from_slice(&text[..len]);
        return;
    }
    let question_marks = |count| std::iter::repeat_n(b'?', count);
    let bytes = text.utf8_chunks().flat_map(|chunk| {
        let valid = chunk
            .valid()
            .chars()
            .map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?'));
        valid.chain(question_marks(chunk.invalid().len()))
    });
    for (slot, byte) in field.iter_mut().zip(bytes) {
        *slot = byte;
    }
}

/// Fills the field with octal digits, leading zeros included; the NUL behind it is the caller's.
pub(crate) fn octal(mut value: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixply_oci::Digest;

    fn header_of_size(size_bytes: u64) -> Vec<u8> {
        let style = HeaderStyle {
            absolute: false,
            mtime_secs: 1,
            uname: String::new(),
            gname: String::new(),
        };
        let entry = Entry {
            name: b"nix/store/big",
            kind: EntryKind::File { size_bytes },
            mode: 0o444,
            uid: 0,
            gid: 0,
            capabilities: None,
        };
        let mut bytes = Vec::new();
        append_header(&entry, &style, &mut bytes);
        bytes
    }

    #[test]
    fn sizes_from_8_gib_on_stand_in_a_pax_record() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fixtures/layers/digests.json"
        );
        let recorded: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let cases = [
            ("header_8gib_minus_1", (1 << 33) - 1),
            ("header_8gib_plus_1", (1 << 33) + 1),
        ];
        for (name, size_bytes) in cases {
            let digest = Digest::of(&header_of_size(size_bytes)).hex();
            assert_eq!(digest, recorded[name], "{name}");
        }
        let small = header_of_size((1 << 33) - 1);
        assert_eq!(
            (small.len(), &small[124..136]),
            (512, &b"77777777777\0"[..])
        );
        let big = header_of_size(1 << 33);
        assert_eq!(big.len(), 3 * 512);
        assert_eq!(&big[512..533], b"19 size=8589934592\n\0\0");
        assert_eq!(&big[1024 + 124..1024 + 136], b"00000000000\0");
    }

    #[test]
    fn the_length_of_a_record_counts_itself() {
        // 7 other bytes: ` path=` and the newline. 99 bytes in all, 101 (never 100), 102.
        for (value_len, record_len) in [(90, "99"), (91, "101"), (92, "102")] {
            let mut record = Vec::new();
            append_record(b"path", &vec![b'v'; value_len], &mut record);
            assert_eq!(record.len().to_string(), record_len);
            assert!(record.starts_with(format!("{record_len} path=v").as_bytes()));
        }
    }

    #[test]
    fn texts_outside_ascii_become_question_marks() {
        let mut field = [0; 8];
        ascii("aé日😀".as_bytes(), &mut field);
        assert_eq!(&field, b"a???\0\0\0\0");
        let mut field = [0; 8];
        ascii(b"\xe2\x82x\xff", &mut field);
        assert_eq!(&field, b"??x?\0\0\0\0");
    }
}
