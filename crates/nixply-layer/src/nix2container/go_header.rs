//! The header blocks of one entry as Go's `archive/tar` writes them where no format is asked for: ustar where all fits, with
//! a long name split between its two fields, else PAX.

use super::tree::Owner;
use crate::header::{BLOCK_BYTES, EntryKind, append_record, padding_bytes};

const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;
const OWNER_NAME_BYTES: usize = 32;

/// The time of every entry.
const MTIME_SECS: u64 = 1;

/// One entry; its name as it stands in the tar, directories without a slash at the end.
pub(super) struct GoEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: EntryKind<'a>,
    pub(super) mode: u32,
    pub(super) owner: &'a Owner,
}

/// Appends the header blocks of an entry.
pub(super) fn append_go_header(entry: &GoEntry<'_>, out: &mut Vec<u8>) {
    let (type_flag, size_bytes, target): (u8, u64, &[u8]) = match entry.kind {
        EntryKind::Directory => (b'5', 0, b""),
        EntryKind::File { size_bytes } => (b'0', size_bytes, b""),
        EntryKind::Symlink { target } => (b'2', 0, target),
    };
    let (uname, gname) = (entry.owner.uname.as_bytes(), entry.owner.gname.as_bytes());
    let split = split_name(entry.name);

    // What stands here is repeated as a record as soon as anything needs one (`allowedFormats`).
    let mut records: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut is_ustar = true;
    if !fits(entry.name, NAME_BYTES) {
        records.push(("path", entry.name.to_vec()));
        is_ustar &= split.is_some();
    }
    for (keyword, text, field_bytes) in [
        ("linkpath", target, NAME_BYTES),
        ("uname", uname, OWNER_NAME_BYTES),
        ("gname", gname, OWNER_NAME_BYTES),
    ] {
        if !fits(text, field_bytes) {
            records.push((keyword, text.to_vec()));
            is_ustar = false;
        }
    }
    for (keyword, number, digits) in [
        ("uid", entry.owner.uid, 7),
        ("gid", entry.owner.gid, 7),
        ("size", size_bytes, 11),
    ] {
        if !fits_octal(number, digits) {
            records.push((keyword, number.to_string().into_bytes()));
            is_ustar = false;
        }
    }

    let mut block = Block::default();
    if is_ustar {
        let (prefix, name) = split.unwrap_or((b"", entry.name));
        block.text(0, NAME_BYTES, name);
        block.text(345, PREFIX_BYTES, prefix);
    } else {
        append_records(entry.name, &mut records, out);
        block.text(0, NAME_BYTES, &ascii(entry.name));
    }
    block.text(157, NAME_BYTES, &ascii(target));
    block.octal(100, 8, u64::from(entry.mode));
    block.octal(108, 8, entry.owner.uid);
    block.octal(116, 8, entry.owner.gid);
    block.octal(124, 12, size_bytes);
    block.octal(136, 12, MTIME_SECS);
    block.0[156] = type_flag;
    block.text(265, OWNER_NAME_BYTES, &ascii(uname));
    block.text(297, OWNER_NAME_BYTES, &ascii(gname));
    block.octal(329, 8, 0);
    block.octal(337, 8, 0);
    out.extend_from_slice(&block.finish());
}

/// Appends the `x` entry with the records, in the order of their keywords.
fn append_records(name: &[u8], records: &mut [(&str, Vec<u8>)], out: &mut Vec<u8>) {
    records.sort();
    let mut body = Vec::new();
    for (keyword, value) in records.iter() {
        append_record(keyword.as_bytes(), value, &mut body);
    }
    let at = name.iter().rposition(|&byte| byte == b'/');
    let (directory, file) = name.split_at(at.map_or(0, |at| at + 1));
    let mut record_name = ascii(&[directory, b"PaxHeaders.0/", file].concat());
    record_name.truncate(NAME_BYTES);
    while record_name.last() == Some(&b'/') {
        record_name.pop();
    }
    let mut block = Block::default();
    block.text(0, NAME_BYTES, &record_name);
    block.octal(100, 8, 0);
    block.octal(108, 8, 0);
    block.octal(116, 8, 0);
    block.octal(124, 12, body.len() as u64);
    block.octal(136, 12, 0);
    block.0[156] = b'x';
    out.extend_from_slice(&block.finish());
    out.extend_from_slice(&body);
    out.resize(out.len() + padding_bytes(body.len() as u64), 0);
}

fn fits(text: &[u8], field_bytes: usize) -> bool {
    text.len() <= field_bytes && text.is_ascii()
}

fn fits_octal(number: u64, digits: u32) -> bool {
    number < 1 << (3 * digits)
}

/// A name that is too long for its field, cut at a slash so that both parts fit (`splitUSTARPath`).
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME_BYTES || !name.is_ascii() {
        return None;
    }
    let length = if name.len() > PREFIX_BYTES + 1 {
        PREFIX_BYTES + 1
    } else if name.last() == Some(&b'/') {
        name.len() - 1
    } else {
        name.len()
    };
    let at = name[..length].iter().rposition(|&byte| byte == b'/')?;
    let rest_bytes = name.len() - at - 1;
    let is_split = at > 0 && (1..=NAME_BYTES).contains(&rest_bytes) && at <= PREFIX_BYTES;
    is_split.then(|| (&name[..at], &name[at + 1..]))
}

/// What is left of a text without the characters that are not ASCII.
fn ascii(text: &[u8]) -> Vec<u8> {
    let is_kept = |byte: &u8| byte.is_ascii() && *byte != 0;
    text.iter().copied().filter(is_kept).collect()
}

/// A header block.
struct Block([u8; BLOCK_BYTES]);

impl Default for Block {
    fn default() -> Self {
        Self([0; BLOCK_BYTES])
    }
}

impl Block {
    /// A text from the beginning of a field, cut where it is too long.
    fn text(&mut self, at: usize, field_bytes: usize, text: &[u8]) {
        let kept = &text[..text.len().min(field_bytes)];
        let field = &mut self.0[at..at + field_bytes];
        field[..kept.len()].copy_from_slice(kept);
        // A file must not look like a directory because its name is cut behind a slash (`formatString`).
        if text.len() > field_bytes && field[field_bytes - 1] == b'/' {
            let mut end = field_bytes - 1;
            while end > 0 && text[end - 1] == b'/' {
                end -= 1;
            }
            field[end] = 0;
        }
    }

    /// Octal digits that fill a field but for a NUL; 0 where the number is too big.
    fn octal(&mut self, at: usize, field_bytes: usize, number: u64) {
        let width = field_bytes - 1;
        let mut digits = format!("{number:0width$o}");
        if digits.len() > width {
            digits = "0".repeat(width);
        }
        self.0[at..at + width].copy_from_slice(digits.as_bytes());
    }

    fn finish(mut self) -> [u8; BLOCK_BYTES] {
        self.0[257..265].copy_from_slice(b"ustar\x0000");
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|&byte| u64::from(byte)).sum();
        self.octal(148, 7, sum);
        self.0[154] = 0;
        self.0
    }
}
