//! Bytes with the texture of a store: what compressors are tested and timed on.
//!
//! No file of the machine is read: the same seed and length give the same bytes everywhere.

/// Made-up words of the text pieces, so that they repeat as source code and documentation do.
const WORDS: usize = 700;

/// Bytes that compress about as the files of a store do: pieces of 1 to 48 KiB that look like text, like machine
/// code, like a symbol table, like padding, repeat something earlier, or cannot be compressed.
#[must_use]
pub fn store_like_bytes(seed: u64, len_bytes: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let words = words(&mut random);
    let mut bytes = Vec::with_capacity(len_bytes);
    while bytes.len() < len_bytes {
        let end = bytes.len() + 1024 + random.below(47 * 1024);
        match random.below(16) {
            0..6 => text(&mut bytes, end, &words, &mut random),
            6..10 => code(&mut bytes, end, &mut random),
            10..12 => symbols(&mut bytes, end, &mut random),
            12 => bytes.resize(end, 0),
            13..15 => repeat(&mut bytes, end, &mut random),
            _ => noise(&mut bytes, end, &mut random),
        }
    }
    bytes.truncate(len_bytes);
    bytes
}

fn words(random: &mut Random) -> Vec<Vec<u8>> {
    (0..WORDS)
        .map(|_| {
            let len = 2 + random.below(9);
            (0..len).map(|_| b'a' + random.byte() % 26).collect()
        })
        .collect()
}

fn text(bytes: &mut Vec<u8>, end: usize, words: &[Vec<u8>], random: &mut Random) {
    while bytes.len() < end {
        for _ in 0..random.below(4) {
            bytes.extend_from_slice(b"    ");
        }
        for _ in 0..=random.below(12) {
            // The product of two draws favours the first words, as real text does.
            let word = random.below(WORDS) * random.below(WORDS) / WORDS;
            bytes.extend_from_slice(&words[word]);
            bytes.extend_from_slice([&b" "[..], b", ", b"(", b") ", b" = "][random.below(5)]);
        }
        bytes.push(b'\n');
    }
}

fn code(bytes: &mut Vec<u8>, end: usize, random: &mut Random) {
    const OPCODES: [&[u8]; 8] = [
        b"\x48\x89",
        b"\x48\x8b",
        b"\x0f\x1f\x44\x00",
        b"\xe8",
        b"\x48\x8d\x05",
        b"\x74",
        b"\x41\x5c",
        b"\xc3",
    ];
    while bytes.len() < end {
        let opcode = random.below(OPCODES.len()).min(random.below(OPCODES.len()));
        bytes.extend_from_slice(OPCODES[opcode]);
        match opcode {
            3 | 4 => {
                bytes.extend_from_slice(&[random.byte(), random.byte() & 0x3f, 0, 0]);
            }
            _ => bytes.push(random.byte() & random.byte()),
        }
    }
}

fn symbols(bytes: &mut Vec<u8>, end: usize, random: &mut Random) {
    let mut address = random.next() >> 40;
    while bytes.len() < end {
        address += random.next() & 0xff0;
        bytes.extend_from_slice(&address.to_le_bytes());
        bytes.extend_from_slice(&[random.byte() & 0x7f, 0, 0, 0, 0x12, 0, 14, 0]);
    }
}

fn repeat(bytes: &mut Vec<u8>, end: usize, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let mut from = random.below(bytes.len());
    while bytes.len() < end {
        bytes.push(bytes[from]);
        from += 1;
        // A copy that is changed here and there.
        if random.below(200) == 0 {
            bytes.push(random.byte());
        }
    }
}

fn noise(bytes: &mut Vec<u8>, end: usize, random: &mut Random) {
    while bytes.len() < end {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): a few lines, and the same numbers for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    /// Below `bound`, which is at least 1 and far below 2^32: the bias does not matter here.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 33) as usize % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_names_its_bytes() {
        let bytes = store_like_bytes(1, 100_000);
        assert_eq!(bytes.len(), 100_000);
        assert_eq!(bytes, store_like_bytes(1, 200_000)[..100_000]);
        assert_ne!(bytes, store_like_bytes(2, 100_000));
    }
}
