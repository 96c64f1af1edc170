//! The compressed bytes: that they read back, that they never depend on threads or chunks, and that an encoder that
//! changes them is noticed.
#![allow(clippy::unwrap_used, reason = "a test whose set-up fails has failed")]

use flate2::read::MultiGzDecoder;
use nixply_layer::{Compression, CompressionPool, Compressor};
use nixply_oci::LayerDigest;
use nixply_testkit::sample::store_like_bytes;
use proptest::prelude::*;
use rayon::prelude::*;
use std::io::{self, Read, Write};

const MIB: usize = 1 << 20;

fn pool(threads: usize) -> CompressionPool {
    CompressionPool::new(threads).unwrap()
}

fn compress(compression: Compression, pool: &CompressionPool, chunks: &[&[u8]]) -> Vec<u8> {
    let mut compressor = Compressor::new(compression, pool.clone(), Vec::new());
    for chunk in chunks {
        compressor.write_all(chunk).unwrap();
    }
    compressor.finish().unwrap()
}

fn decompress(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    match compression {
        Compression::None => output.extend_from_slice(bytes),
        Compression::Gzip { .. } => {
            MultiGzDecoder::new(bytes).read_to_end(&mut output).unwrap();
        }
        Compression::Zstd { .. } => output = zstd::decode_all(bytes).unwrap(),
    }
    output
}

/// The cheap levels of every kind: what is tested with them holds for the others.
fn kinds() -> [Compression; 3] {
    [
        Compression::None,
        Compression::Gzip { level: 1 },
        Compression::Zstd { level: 1 },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn any_input_in_any_chunks_reads_back_and_has_the_same_bytes(
        seed: u64,
        // Around the member sizes, where the cuts are.
        len in prop_oneof![0..5_000_usize, MIB - 2..MIB + 2, 2 * MIB - 2..2 * MIB + 2, 0..4 * MIB],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        kind in prop::sample::select(kinds().to_vec()),
        threads in prop::sample::select(vec![1_usize, 2, 16]),
    ) {
        let input = store_like_bytes(seed, len);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]).collect();

        let compressed = compress(kind, &pool(threads), &chunks);
        prop_assert!(decompress(kind, &compressed) == input);
        prop_assert!(compressed == compress(kind, &pool(1), &[&input]));
    }
}

#[test]
fn members_are_cut_where_the_documents_say() {
    let input = store_like_bytes(3, 2 * MIB + MIB / 2);
    let gzip = Compression::Gzip { level: 1 };
    let whole = compress(gzip, &pool(2), &[&input]);
    let parts: Vec<u8> = input
        .chunks(MIB)
        .flat_map(|part| compress(gzip, &pool(1), &[part]))
        .collect();
    assert_eq!(LayerDigest::of(&whole), LayerDigest::of(&parts));

    // RFC 1952 section 2.3: magic, deflate, no flags, no time, the fastest method, an unknown system.
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
    assert_eq!(whole[..10], header);
    assert!(whole.windows(10).filter(|window| *window == header).count() >= 3);

    // RFC 8878 section 3.1.1: magic; a window and a size in 4 bytes, no checksum, no dictionary; then the two.
    let zstd = compress(Compression::Zstd { level: 1 }, &pool(2), &[&input]);
    assert_eq!(zstd[..5], [0x28, 0xb5, 0x2f, 0xfd, 0b1000_0000]);
    let frame_size_bytes: [u8; 4] = zstd[6..10].try_into().unwrap();
    assert_eq!(u32::from_le_bytes(frame_size_bytes), 2 << 20);
}

#[test]
fn an_empty_input_makes_one_valid_empty_member() {
    for kind in kinds() {
        for chunks in [&[][..], &[&[][..]][..]] {
            let compressed = compress(kind, &pool(1), chunks);
            assert_eq!(decompress(kind, &compressed), b"");
            assert_eq!(compressed.is_empty(), kind == Compression::None);
        }
    }
}

#[test]
fn flushing_does_not_show() {
    let input = store_like_bytes(5, 10_000);
    for kind in kinds() {
        let mut compressor = Compressor::new(kind, pool(1), Vec::new());
        for chunk in input.chunks(999) {
            compressor.write_all(chunk).unwrap();
            compressor.flush().unwrap();
        }
        assert_eq!(
            compressor.finish().unwrap(),
            compress(kind, &pool(1), &[&input])
        );
    }
}

#[test]
fn compressors_that_share_one_thread_all_finish() {
    let pool = pool(1);
    let input = store_like_bytes(11, 7 * MIB);
    let expected = compress(Compression::default(), &pool, &[&input]);
    std::thread::scope(|scope| {
        let layers: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| compress(Compression::default(), &pool, &[&input])))
            .collect();
        for layer in layers {
            assert!(layer.join().unwrap() == expected);
        }
    });
}

#[test]
fn a_failed_stream_never_finishes() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(bytes.len())
                .ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let input = store_like_bytes(17, 12 * MIB);
    for kind in kinds() {
        let mut compressor = Compressor::new(kind, pool(1), Full(1_500_000));
        let error = compressor.write_all(&input).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{kind}");
        compressor.write_all(b"more").unwrap_err();
        compressor.finish().map(|_| ()).unwrap_err();
    }
    // The only member fails when it is asked for.
    let mut compressor = Compressor::new(Compression::Gzip { level: 99 }, pool(1), Vec::new());
    compressor.write_all(b"x").unwrap();
    let error = compressor.finish().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

/// Lengths of the golden inputs: zstd has its own parameters up to 16, 128 and 256 KiB, and the last is several members.
/// `examples/compress_digest.rs` uses the same.
const GOLDEN_LENGTHS: [usize; 6] = [0, 1, 10_000, 100_000, 200_000, 2_200_000];

#[test]
fn an_encoder_that_changes_its_bytes_is_noticed() {
    let pool = pool(2);
    let inputs = GOLDEN_LENGTHS.map(|len| store_like_bytes(7, len));
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let found: Vec<String> = lines
        .par_iter()
        .map(|line| {
            let text = line.split(' ').next().unwrap();
            let compression: Compression = text.parse().unwrap();
            let bytes: Vec<u8> = inputs
                .iter()
                .flat_map(|input| compress(compression, &pool, &[input]))
                .collect();
            format!("{text} {} {}", bytes.len(), LayerDigest::of(&bytes))
        })
        .collect();
    assert_eq!(
        found, lines,
        "the bytes of an encoder changed: every layer gets another digest. If that is wanted, name the new version in \
         Compression::encoder_id, so that no layer key stands for both, and then change the lines here"
    );
}

#[test]
fn every_level_has_a_golden_line() {
    let levels: Vec<String> = GOLDEN
        .lines()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let gzip = (0..=99).map(|level| format!("gzip:{level}"));
    let zstd = (0..=99).map(|level| format!("zstd:{level}"));
    let offered: Vec<String> = gzip
        .chain(zstd)
        .filter(|text| text.parse::<Compression>().is_ok())
        .collect();
    assert_eq!(levels, offered);
}

#[test]
fn the_encoder_ids_name_the_linked_encoders() {
    let zstd = Compression::Zstd { level: 3 }.encoder_id();
    let linked = zstd::zstd_safe::version_string();
    assert_eq!(zstd, format!("zstd/zstd-{linked}/level=3/frame=2097152"));
    // libdeflate cannot be asked for its version, the lock file can: libdeflate-sys 1.26.x holds libdeflate 1.26.
    let gzip = Compression::Gzip { level: 1 }.encoder_id();
    assert_eq!(gzip, "gzip/libdeflate-1.26/level=1/member=1048576");
    let lock = include_str!("../../../Cargo.lock");
    assert!(lock.contains("name = \"libdeflate-sys\"\nversion = \"1.26."));
    assert_eq!(Compression::None.encoder_id(), "none");
}

/// Level, size and digest of the concatenated golden outputs. Made on x86-64, and the same under emulated x86-64 CPUs
/// without SSSE3, AVX2 or BMI2 and on aarch64 (`docs/decisions/0003-compression.md`).
const GOLDEN: &str = include_str!("compress.golden");
