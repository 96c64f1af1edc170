//! Nix's base-32 (Nix, `src/libutil/hash.cc`, `printHash32`): 5 bits a digit, the last digit holds the first bits.

/// The digits: no `e`, `o`, `t`, `u`.
const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// What [`VALUES`] holds for a byte that is no digit.
const NOT_A_DIGIT: u8 = 0xff;

/// The value of each byte as a digit. A closure of many paths reads millions of digits.
const VALUES: [u8; 256] = {
    let mut values = [NOT_A_DIGIT; 256];
    let mut value: u8 = 0;
    while value < 32 {
        values[DIGITS[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The value of a digit, from 0 to 31. Digits sort by their values.
pub(crate) fn value(digit: u8) -> Option<u8> {
    Some(VALUES[usize::from(digit)]).filter(|&value| value != NOT_A_DIGIT)
}

/// The number of digits that `size_bytes` bytes take.
pub(crate) const fn digits_len(size_bytes: usize) -> usize {
    (size_bytes * 8).div_ceil(5)
}

/// Reads as many digits as `N` bytes take. Bits beyond the last byte must be zero.
pub(crate) fn decode<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != digits_len(N) {
        return None;
    }
    let mut bytes = [0_u8; N];
    for (n, &digit) in digits.iter().rev().enumerate() {
        let bit = n * 5;
        let [low, high] = (u16::from(value(digit)?) << (bit % 8)).to_le_bytes();
        bytes[bit / 8] |= low;
        match bytes.get_mut(bit / 8 + 1) {
            Some(byte) => *byte |= high,
            None if high != 0 => return None,
            None => {}
        }
    }
    Some(bytes)
}

/// Writes bytes as digits.
pub(crate) fn encode(bytes: &[u8]) -> String {
    (0..digits_len(bytes.len()))
        .rev()
        .map(|n| {
            let bit = n * 5;
            let high = bytes.get(bit / 8 + 1).copied().unwrap_or(0);
            let pair = u16::from_le_bytes([bytes[bit / 8], high]);
            char::from(DIGITS[usize::from(pair >> (bit % 8)) % DIGITS.len()])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nix_writes_the_same_digits() {
        // `nix-hash --type sha256 --to-base32` of the SHA-256 of no bytes.
        let empty = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
            0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b,
            0x78, 0x52, 0xb8, 0x55,
        ];
        let digits = "0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73";
        assert_eq!(encode(&empty), digits);
        assert_eq!(decode::<32>(digits.as_bytes()), Some(empty));
    }

    #[test]
    fn bits_beyond_the_last_byte_are_refused() {
        let most = format!("1{}", "z".repeat(51));
        assert_eq!(decode::<32>(most.as_bytes()), Some([0xff; 32]));
        let more = format!("2{}", "0".repeat(51));
        assert_eq!(decode::<32>(more.as_bytes()), None);
    }

    #[test]
    fn other_letters_and_lengths_are_refused() {
        for digits in ["e", "o", "t", "u", "A", "-", "\u{e9}"] {
            let text = format!("0{digits}{}", "0".repeat(51 - digits.len()));
            assert_eq!(text.len(), 52);
            assert_eq!(decode::<32>(text.as_bytes()), None, "{text}");
        }
        assert_eq!(decode::<32>("0".repeat(51).as_bytes()), None);
        assert_eq!(decode::<32>("0".repeat(53).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn round_trips(bytes: [u8; 32], short: [u8; 20]) {
            prop_assert_eq!(decode::<32>(encode(&bytes).as_bytes()), Some(bytes));
            prop_assert_eq!(encode(&short).len(), 32);
            prop_assert_eq!(decode::<20>(encode(&short).as_bytes()), Some(short));
        }
    }
}
