//! From a spec to bytes: the tar alone, or the layer with both hashes.

use crate::compress::Compressor;
use crate::compression::Compression;
use crate::compression_pool::CompressionPool;
use crate::error::WriteLayerError;
use crate::finished_tar::{check_diff_id, write_finished_tar};
use crate::header::{BLOCK_BYTES, Entry, EntryKind, HeaderStyle};
use crate::nix2container::write_nix2container;
use crate::read_ahead::ReadAhead;
use crate::root_files::write_root_files;
use crate::spec::{LayerContents, LayerFormat, LayerSpec, StorePathContent, StoreRoot};
use crate::store_tree::{SiblingOrder, write_store_path};
use crate::tar_writer::{PlainSink, TarSink, TarWriter};
use nixply_oci::{BlobHasher, DiffId, HashingWriter, LayerDigest, LayerRecord};
use nixply_store::StoreDir;
use std::collections::BTreeSet;
use std::io::{self, Write};

/// The mode of the directories above the store paths, in both formats.
const MODE_STORE_DIR: u32 = 0o755;

/// The time of every entry in nixply's own format: one second after the epoch, as Nix gives to files of the store.
const MTIME_SECS: u64 = 1;

/// dockerTools ends a tar at a multiple of this size (Python, `tarfile.RECORDSIZE`).
const DOCKER_TOOLS_RECORD_BYTES: u64 = 10240;

/// Makes a layer's bytes, compressed, and tells both of their hashes. One pass; `pool` compresses.
pub fn write_layer(
    spec: &LayerSpec,
    store: &StoreRoot,
    pool: &CompressionPool,
    out: &mut dyn Write,
) -> Result<LayerRecord, WriteLayerError> {
    let record = |diff_id, digest, size_bytes| LayerRecord {
        diff_id: DiffId::from_bytes(diff_id),
        digest: LayerDigest::from_bytes(digest),
        size_bytes,
        media_type: spec.compression.media_type(),
    };
    let wire = HashingWriter::new(out);
    if spec.compression == Compression::None {
        // The blob is the tar, and so are their hashes.
        let mut sink = PlainSink(wire);
        write_tar(spec, store, &mut sink)?;
        let (out, sha256, size_bytes) = sink.0.finish();
        check_diff_id(spec, DiffId::from_bytes(sha256))?;
        out.flush().map_err(WriteLayerError::Sink)?;
        return Ok(record(sha256, sha256, size_bytes));
    }
    let mut sink = CompressingSink {
        tar: BlobHasher::new(),
        compressor: Compressor::new(spec.compression, pool.clone(), wire),
    };
    write_tar(spec, store, &mut sink)?;
    let (diff_id, _) = sink.tar.finish();
    check_diff_id(spec, DiffId::from_bytes(diff_id))?;
    let wire = sink.compressor.finish().map_err(WriteLayerError::Sink)?;
    let (_, digest, size_bytes) = wire.finish();
    Ok(record(diff_id, digest, size_bytes))
}

/// Hashes a tar and hands it to a compressor in the buffers that it was made in.
struct CompressingSink<W: Write> {
    tar: BlobHasher,
    compressor: Compressor<W>,
}

impl<W: Write> TarSink for CompressingSink<W> {
    const FULL_BUFFERS: bool = true;

    fn begin_entry(&mut self, _entry: &Entry<'_>, _header_offset: u64, _header_bytes: u64) {}

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tar.update(bytes);
        self.compressor.write_all(bytes)
    }

    fn first_buffer(&self) -> Vec<u8> {
        self.compressor.new_buffer()
    }

    fn take_buffer(&mut self, buffer: &mut Vec<u8>, size_bytes: usize) -> io::Result<()> {
        self.tar.update(&buffer[..size_bytes]);
        self.compressor.write_buffer(buffer, size_bytes)
    }
}

/// Makes the uncompressed tar of a layer.
pub fn write_layer_tar(
    spec: &LayerSpec,
    store: &StoreRoot,
    out: &mut dyn Write,
) -> Result<(), WriteLayerError> {
    write_tar(spec, store, &mut PlainSink(&mut *out))?;
    out.flush().map_err(WriteLayerError::Sink)
}

/// Makes the uncompressed tar of a layer, entry by entry.
pub(crate) fn write_tar<S: TarSink>(
    spec: &LayerSpec,
    store: &StoreRoot,
    sink: &mut S,
) -> Result<(), WriteLayerError> {
    match (&spec.format, &spec.contents) {
        (LayerFormat::Nixply, LayerContents::Root { files }) => {
            let mut tar = TarWriter::new(nixply_style(), sink);
            write_root_files(files, store, &mut tar)?;
            tar.finish(BLOCK_BYTES as u64)
        }
        (LayerFormat::Nixply, LayerContents::Store { store_dir, paths }) => {
            let mut sorted: Vec<&StorePathContent> = paths.iter().collect();
            sorted.sort_by(|a, b| a.path.cmp(&b.path));
            let mut tar = TarWriter::new(nixply_style(), sink);
            write_parents(store_dir.as_str(), (0, 0), &mut tar)?;
            write_store_paths(
                &sorted,
                store_dir,
                store,
                (0, 0),
                SiblingOrder::Bytes,
                &mut tar,
            )?;
            tar.finish(BLOCK_BYTES as u64)
        }
        (LayerFormat::DockerTools(header), LayerContents::Store { store_dir, paths }) => {
            let as_given: Vec<&StorePathContent> = paths.iter().collect();
            let style = HeaderStyle {
                absolute: true,
                mtime_secs: header.mtime_secs,
                uname: header.uname.clone(),
                gname: header.gname.clone(),
            };
            let owner = (header.uid, header.gid);
            let mut tar = TarWriter::new(style, sink);
            // These two, wherever the store is: `archive_paths_to` in stream_layered_image.py.
            write_parents("/nix/store", owner, &mut tar)?;
            write_store_paths(
                &as_given,
                store_dir,
                store,
                owner,
                SiblingOrder::Python,
                &mut tar,
            )?;
            tar.finish(DOCKER_TOOLS_RECORD_BYTES)
        }
        (LayerFormat::DockerTools(_), LayerContents::Root { .. }) => {
            Err(WriteLayerError::RootFilesInDockerTools)
        }
        (_, LayerContents::Tar(tar)) => write_finished_tar(tar, store, sink),
        (_, LayerContents::Nix2container(layer)) => write_nix2container(layer, store, sink),
    }
}

/// What headers of nixply's own format have in common.
pub(crate) fn nixply_style() -> HeaderStyle {
    HeaderStyle {
        absolute: false,
        mtime_secs: MTIME_SECS,
        uname: String::new(),
        gname: String::new(),
    }
}

/// Writes a directory and its parents, outermost first.
fn write_parents<S: TarSink>(
    directory: &str,
    (uid, gid): (u64, u64),
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    let relative = &directory[1..];
    let ends = relative.match_indices('/').map(|(at, _)| at);
    for end in ends.chain([relative.len()]) {
        tar.header(&Entry {
            name: &relative.as_bytes()[..end],
            kind: EntryKind::Directory,
            mode: MODE_STORE_DIR,
            uid,
            gid,
            capabilities: None,
        })?;
    }
    Ok(())
}

fn write_store_paths<S: TarSink>(
    paths: &[&StorePathContent],
    store_dir: &StoreDir,
    store: &StoreRoot,
    owner: (u64, u64),
    order: SiblingOrder,
    tar: &mut TarWriter<'_, S>,
) -> Result<(), WriteLayerError> {
    if store_dir != store.store_dir() {
        return Err(WriteLayerError::OtherStoreDir {
            expected: store_dir.clone(),
            found: store.store_dir().clone(),
        });
    }
    let located = paths.iter().map(|content| store.locate(&content.path));
    let mut ahead = ReadAhead::new(located.collect(), order);
    let mut seen = BTreeSet::new();
    for content in paths {
        if !seen.insert(&content.path) {
            return Err(WriteLayerError::DuplicateStorePath {
                path: content.path.clone(),
            });
        }
        let name = store_dir.display(&content.path).as_bytes()[1..].to_vec();
        write_store_path(
            content,
            store.locate(&content.path),
            name,
            owner,
            order,
            &mut ahead,
            tar,
        )?;
    }
    Ok(())
}
