//! Reads back one header, to say how two differ.
//!
//! Not the `tar` crate: it splits PAX records at newlines, so a name that holds one is lost
//! (docs/decisions/0002-tar-writer.md).

use crate::header::{BLOCK_BYTES, CAPABILITIES_KEYWORD, padding_bytes};
use data_encoding::HEXLOWER;
use std::io::{self, Read};

/// PAX records longer than this are refused: no name or link target of a file system is near it.
pub(crate) const PAX_LIMIT_BYTES: usize = 1 << 20;

/// GNU tar's own form, which has other things than a prefix of the name in the last fields.
pub(crate) const GNU_MAGIC: &[u8] = b"ustar  \0";

/// A header, read back.
pub(crate) struct ReadHeader {
    /// The name without slashes at the ends.
    pub(crate) name: Vec<u8>,
    /// Whether it is a directory that its type does not tell.
    pub(crate) is_old_directory: bool,
    /// A link's target, verbatim; the field of that name is for people.
    pub(crate) link_target: Vec<u8>,
    /// The values of the other fields, always the same fields in the same order.
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl ReadHeader {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(field, _)| *field == name);
        found.map_or("", |(_, value)| value)
    }
}

/// Reads the header that the bytes begin with; `None` at the end of an archive.
pub(crate) fn read_header(mut bytes: impl Read) -> io::Result<Option<ReadHeader>> {
    let Some(mut block) = read_block(&mut bytes)? else {
        return Ok(None);
    };
    let mut records = Vec::new();
    if block[156] == b'x' {
        let size = octal(&block[124..136]).and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| *size <= PAX_LIMIT_BYTES);
        let size = size.ok_or_else(|| invalid("a PAX record of no possible size"))?;
        let mut body = vec![0; size + padding_bytes(size as u64)];
        bytes.read_exact(&mut body)?;
        records = pax_records(&body[..size])?;
        block = read_block(&mut bytes)?.ok_or_else(|| invalid("a PAX record without its entry"))?;
    }
    Ok(Some(header_of(&block, records)))
}

/// The fields of a block, the records in place of what they override.
fn header_of(block: &[u8; BLOCK_BYTES], records: Vec<(Vec<u8>, Vec<u8>)>) -> ReadHeader {
    let number = |from: usize, to: usize| {
        let field = &block[from..to];
        let number = octal(field).or_else(|| base_256(field));
        number.map_or_else(|| field.escape_ascii().to_string(), |n| n.to_string())
    };
    let text = |from: usize, to: usize| printable(until_nul(&block[from..to]));
    let mode = octal(&block[100..108]);
    let mut fields = vec![
        ("type", text(156, 157)),
        (
            "mode",
            mode.map_or_else(|| text(100, 108), |mode| format!("{mode:04o}")),
        ),
        ("uid", number(108, 116)),
        ("gid", number(116, 124)),
        ("size", number(124, 136)),
        ("mtime", number(136, 148)),
        ("linkpath", text(157, 257)),
        ("uname", text(265, 297)),
        ("gname", text(297, 329)),
        ("capabilities", String::new()),
    ];
    let mut name = name_of(block);
    let mut link_target = until_nul(&block[157..257]).to_vec();
    for (keyword, value) in records {
        if keyword == b"path" {
            name = value;
        } else if keyword == CAPABILITIES_KEYWORD.as_bytes() {
            if let Some(field) = fields.last_mut() {
                field.1 = HEXLOWER.encode(&value);
            }
        } else if let Some(field) = fields.iter_mut().find(|f| f.0.as_bytes() == keyword) {
            field.1 = printable(&value);
            if keyword == b"linkpath" {
                link_target = value;
            }
        }
    }
    let size = fields.iter().find(|(field, _)| *field == "size");
    let is_empty = size.is_some_and(|(_, size)| size == "0");
    let is_old_directory = is_empty && is_old_directory(block, &name);
    let start = name.iter().take_while(|&&byte| byte == b'/').count();
    name.drain(..start);
    while name.last() == Some(&b'/') {
        name.pop();
    }
    ReadHeader {
        name,
        is_old_directory,
        link_target,
        fields,
    }
}

/// The name in a block, as it is written.
pub(crate) fn name_of(block: &[u8; BLOCK_BYTES]) -> Vec<u8> {
    let name = until_nul(&block[..100]);
    let prefix = until_nul(&block[345..500]);
    if prefix.is_empty() || block[257..265].eq(GNU_MAGIC) {
        return name.to_vec();
    }
    [prefix, b"/", name].concat()
}

/// Whether an entry without content is a directory in the form of the seventh edition, which has no type for them: a file
/// whose name ends in a slash.
pub(crate) fn is_old_directory(block: &[u8; BLOCK_BYTES], name: &[u8]) -> bool {
    matches!(block[156], 0 | b'0') && name.ends_with(b"/")
}

/// Reads a block whose checksum is right; `None` if it is all zeros or there is none.
pub(crate) fn read_block(bytes: &mut impl Read) -> io::Result<Option<[u8; BLOCK_BYTES]>> {
    let mut block = [0; BLOCK_BYTES];
    match bytes.read_exact(&mut block) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    if block == [0; BLOCK_BYTES] {
        return Ok(None);
    }
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let expected = sum(&block[..148]) + 8 * u64::from(b' ') + sum(&block[156..]);
    if octal(&block[148..156]) == Some(expected) {
        Ok(Some(block))
    } else {
        Err(invalid("a block without the checksum of a header"))
    }
}

/// Splits `LENGTH KEYWORD=VALUE\n` records by their lengths.
pub(crate) fn pax_records(mut body: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let malformed = || invalid("a PAX record without its length, `=` or newline");
        let space = body.iter().position(|&b| b == b' ').ok_or_else(malformed)?;
        let length = std::str::from_utf8(&body[..space])
            .ok()
            .and_then(|text| text.parse().ok());
        let length: usize = length.ok_or_else(malformed)?;
        let record = body.get(space + 1..length).ok_or_else(malformed)?;
        let record = record.strip_suffix(b"\n").ok_or_else(malformed)?;
        let equals = record
            .iter()
            .position(|&b| b == b'=')
            .ok_or_else(malformed)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        body = &body[length..];
    }
    Ok(records)
}

/// Reads an octal field that ends in a NUL or a space.
pub(crate) fn octal(field: &[u8]) -> Option<u64> {
    let digits = field.split(|byte| matches!(byte, 0 | b' ')).next()?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// Reads a number that GNU tar and Go write where octal digits do not suffice: the first bit set, then big-endian.
pub(crate) fn base_256(field: &[u8]) -> Option<u64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        return None;
    }
    rest.iter()
        .try_fold(u64::from(first & 0x7f), |number, &byte| {
            number.checked_mul(256)?.checked_add(u64::from(byte))
        })
}

pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// A name for people: what is not UTF-8 is replaced. Control characters are escaped: a stored layer may come from
/// anybody, and its names reach a terminal. So are backslashes, so that no two names look alike for it, and characters
/// that change the direction of the text after them.
pub(crate) fn printable(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for character in String::from_utf8_lossy(name).chars() {
        match character {
            '\\' => shown.push_str("\\\\"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(character.escape_unicode());
            }
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::{Entry, EntryKind, HeaderStyle, append_header};

    fn encoded(name: &[u8], kind: EntryKind<'_>) -> Vec<u8> {
        let style = HeaderStyle {
            absolute: true,
            mtime_secs: 1,
            uname: String::new(),
            gname: "g".repeat(40),
        };
        let entry = Entry {
            name,
            kind,
            mode: 0o4755,
            uid: 1 << 21,
            gid: 7,
            capabilities: "cap_net_raw+ep".parse().ok(),
        };
        let mut bytes = Vec::new();
        append_header(&entry, &style, &mut bytes);
        bytes
    }

    #[test]
    fn what_was_written_is_read_back() {
        let name = [&[b'n'; 120][..], b"/new\nline/=/caf\xe9"].concat();
        let target = b"\n12 path=no\n".repeat(20);
        let bytes = encoded(&name, EntryKind::Symlink { target: &target });
        let header = read_header(&bytes[..]).unwrap().unwrap();
        assert_eq!(header.name, name);
        assert_eq!(header.link_target, target);
        let expected = [
            ("type", "2".to_owned()),
            ("mode", "4755".to_owned()),
            ("uid", (1 << 21).to_string()),
            ("gid", "7".to_owned()),
            ("size", "0".to_owned()),
            ("mtime", "1".to_owned()),
            ("linkpath", r"\n12 path=no\n".repeat(20)),
            ("uname", String::new()),
            ("gname", "g".repeat(40)),
            (
                "capabilities",
                "0100000200200000000000000000000000000000".to_owned(),
            ),
        ];
        assert_eq!(header.fields, expected);
    }

    #[test]
    fn numbers_beyond_octal_digits_are_read() {
        let field = [0x80, 0, 0, 0, 0, 0, 0, 0x02, 0x54, 0x0b, 0xe4, 0];
        assert_eq!(base_256(&field), Some(10_000_000_000));
        assert_eq!(base_256(&[0xff; 12]), None);
        assert_eq!(base_256(b"0000644\0"), None);
    }

    #[test]
    fn names_do_not_command_a_terminal() {
        let name = b"caf\xc3\xa9 \x1b[2J\r\n\t\x7f\xc2\x9b\\n\xff\xe2\x80\xae'";
        assert_eq!(
            printable(name),
            "caf\u{e9} \\u{1b}[2J\\r\\n\\t\\u{7f}\\u{9b}\\\\n\u{fffd}\\u{202e}'"
        );
    }

    #[test]
    fn what_is_no_header_is_told_from_the_end() {
        assert!(read_header(&[][..]).unwrap().is_none());
        assert!(read_header(&[0; 1024][..]).unwrap().is_none());
        let mut bytes = encoded(b"x", EntryKind::Directory);
        bytes[0] ^= 1;
        let error = read_header(&bytes[..]).err().unwrap();
        assert_eq!(
            error.to_string(),
            "a block without the checksum of a header"
        );
        for body in [
            &b"8 path=x\n"[..],
            b"11 path=x\n",
            b"x path=x\n",
            b"9 path-xx\n",
            b"0 a=\n",
        ] {
            let error = pax_records(body).unwrap_err();
            assert_eq!(
                error.to_string(),
                "a PAX record without its length, `=` or newline"
            );
        }
    }
}
