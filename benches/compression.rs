//! nixply's compressed layers against what others make: the same bytes through each, in one run.
//!
//! `cargo bench -p nixply-bench --bench compression`. Compare within a group; the times of two runs, or of two machines,
//! say nothing. The pool has one thread, so that every line is the speed of one core. The sizes are printed first.

#![expect(clippy::print_stderr, reason = "criterion reports no sizes")]

use criterion::{BenchmarkId, Criterion, Throughput};
use nixply_layer::{Compression, CompressionPool, Compressor};
use nixply_testkit::sample::store_like_bytes;
use std::io::{self, Write};
use std::time::Duration;

/// Several members of each kind, and a last one that is not full.
const INPUT_SIZE_BYTES: usize = (16 << 20) + 12_345;

type Encoder<'a> = (String, Box<dyn Fn(&[u8]) -> io::Result<Vec<u8>> + 'a>);

fn nixply(compression: Compression, pool: &CompressionPool) -> Encoder<'_> {
    let encode = move |input: &[u8]| {
        let mut compressor = Compressor::new(compression, pool.clone(), Vec::new());
        compressor.write_all(input)?;
        compressor.finish()
    };
    (format!("nixply {compression}"), Box::new(encode))
}

fn flate2(level: u32) -> Encoder<'static> {
    let encode = move |input: &[u8]| {
        let level = flate2::Compression::new(level);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(input)?;
        encoder.finish()
    };
    (format!("flate2 gzip:{level}"), Box::new(encode))
}

fn one_frame(level: i32) -> Encoder<'static> {
    let encode = move |input: &[u8]| zstd::stream::encode_all(input, level);
    (format!("one frame zstd:{level}"), Box::new(encode))
}

fn compare(criterion: &mut Criterion, group: &str, input: &[u8], encoders: &[Encoder<'_>]) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Bytes(input.len() as u64));
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    for (name, encode) in encoders {
        match encode(input) {
            Ok(output) => eprintln!("{name}: {} bytes from {}", output.len(), input.len()),
            Err(error) => eprintln!("{name}: {error}"),
        }
        group.bench_with_input(
            BenchmarkId::from_parameter(name),
            input,
            |bencher, input| {
                bencher.iter(|| encode(input));
            },
        );
    }
    group.finish();
}

fn main() -> io::Result<()> {
    let pool = CompressionPool::new(1)?;
    let input = store_like_bytes(7, INPUT_SIZE_BYTES);
    let gzip = |level| nixply(Compression::Gzip { level }, &pool);
    let zstd = |level| nixply(Compression::Zstd { level }, &pool);
    let mut criterion = Criterion::default().configure_from_args();
    let gzips = [gzip(1), gzip(6), flate2(1), flate2(6)];
    compare(&mut criterion, "gzip", &input, &gzips);
    let zstds = [zstd(1), zstd(3), one_frame(1), one_frame(3)];
    compare(&mut criterion, "zstd", &input, &zstds);
    criterion.final_summary();
    Ok(())
}
