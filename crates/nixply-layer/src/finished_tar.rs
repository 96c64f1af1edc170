//! Tars that exist already: streamed as they are, and checked.

use crate::error::WriteLayerError;
use crate::header::{Entry, EntryKind};
use crate::spec::{FinishedTar, LayerContents, LayerSpec, StoreRoot, tar_title};
use crate::tar_writer::TarSink;
use nixply_oci::DiffId;
use std::fs::File;
use std::io::{self, Read as _};

/// Streams a tar to a sink. Whoever hashes its bytes anyway compares the hash ([`check_diff_id`]).
pub(crate) fn write_finished_tar<S: TarSink>(
    tar: &FinishedTar,
    store: &StoreRoot,
    sink: &mut S,
) -> Result<(), WriteLayerError> {
    let path = store.locate_file(&tar.path);
    let read_error = |source| WriteLayerError::Read {
        path: path.clone(),
        source,
    };
    let mut file = File::open(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => WriteLayerError::MissingTar { path: path.clone() },
        _ => read_error(source),
    })?;
    let found_bytes = file.metadata().map_err(read_error)?.len();
    if found_bytes != tar.size_bytes {
        return Err(WriteLayerError::TarContent {
            path,
            expected: format!("{} bytes", tar.size_bytes),
            found: format!("{found_bytes} bytes"),
        });
    }
    // What it holds is not looked at: whoever compares it sees one entry, the tar.
    let name = tar_title(&tar.path);
    let whole = Entry {
        name: name.as_bytes(),
        kind: EntryKind::File {
            size_bytes: tar.size_bytes,
        },
        mode: 0,
        uid: 0,
        gid: 0,
        capabilities: None,
    };
    sink.begin_entry(&whole, 0, 0);
    let mut buffer = sink.first_buffer();
    let mut left_bytes = tar.size_bytes;
    while left_bytes > 0 {
        let want = usize::try_from(left_bytes).map_or(buffer.len(), |left| left.min(buffer.len()));
        file.read_exact(&mut buffer[..want])
            .map_err(|source| match source.kind() {
                io::ErrorKind::UnexpectedEof => WriteLayerError::Shrank {
                    path: path.clone(),
                    expected_bytes: tar.size_bytes,
                    found_bytes: tar.size_bytes - left_bytes,
                },
                _ => read_error(source),
            })?;
        sink.take_buffer(&mut buffer, want)
            .map_err(WriteLayerError::Sink)?;
        left_bytes -= want as u64;
    }
    Ok(())
}

/// A tar that exists already must be the one that was planned. Of other layers nobody knows the diff ID before.
pub(crate) fn check_diff_id(spec: &LayerSpec, found: DiffId) -> Result<(), WriteLayerError> {
    match &spec.contents {
        LayerContents::Tar(tar) if tar.diff_id != found => Err(WriteLayerError::TarContent {
            path: tar.path.clone(),
            expected: tar.diff_id.to_string(),
            found: found.to_string(),
        }),
        LayerContents::Nix2container(layer) if layer.diff_id != found => {
            Err(WriteLayerError::OtherDiffId {
                path: layer.first_path().to_owned(),
                expected: layer.diff_id,
                found,
            })
        }
        _ => Ok(()),
    }
}
