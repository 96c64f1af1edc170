//! Prints the digest of an input's compressed form at every level: the same lines must come out on every CPU.
//!
//! `compress_digest < FILE` takes standard input, `compress_digest --sample` the input of the golden test
//! (`tests/compress.rs`). `docs/decisions/0003-compression.md` says how it is run under emulated CPUs.

#![expect(clippy::print_stdout, reason = "printing is what this program does")]

use nixply_layer::{Compression, CompressionPool, Compressor};
use nixply_oci::LayerDigest;
use nixply_testkit::sample::store_like_bytes;
use std::error::Error;
use std::io::{Read, Write};

fn main() -> Result<(), Box<dyn Error>> {
    let inputs = if std::env::args().nth(1).as_deref() == Some("--sample") {
        // The lengths and the seed of the golden test.
        [0, 1, 10_000, 100_000, 200_000, 2_200_000]
            .map(|len| store_like_bytes(7, len))
            .to_vec()
    } else {
        let mut input = Vec::new();
        std::io::stdin().read_to_end(&mut input)?;
        vec![input]
    };
    let pool = CompressionPool::new(0)?;
    let gzip = (1..=9).map(|level| Compression::Gzip { level });
    let zstd = (1..=19).map(|level| Compression::Zstd { level });
    for compression in gzip.chain(zstd) {
        let mut output = Vec::new();
        for input in &inputs {
            let mut compressor = Compressor::new(compression, pool.clone(), output);
            compressor.write_all(input)?;
            output = compressor.finish()?;
        }
        let digest = LayerDigest::of(&output);
        println!("{compression} {} {digest}", output.len());
    }
    Ok(())
}
