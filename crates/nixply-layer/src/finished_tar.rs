//! Tars that exist already: streamed as they are, or with entries in other places, and checked.

use crate::error::WriteLayerError;
use crate::header::{Entry, EntryKind};
use crate::placed_tar::PlacedTar;
use crate::spec::{FinishedTar, LayerContents, LayerSpec, StoreRoot, tar_title};
use crate::tar_writer::TarSink;
use nixply_oci::DiffId;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};

/// How much is read at once of a tar whose entries are looked at. Chosen, not measured: far above the cost of a call.
const PLACED_BUFFER_BYTES: usize = 128 << 10;

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
    let is_placed = !tar.placement.is_empty();
    if found_bytes != tar.size_bytes && !is_placed {
        return Err(WriteLayerError::TarContent {
            path,
            expected: format!("{} bytes", tar.size_bytes),
            found: format!("{found_bytes} bytes"),
        });
    }
    let mut reader = if is_placed {
        let buffered = BufReader::with_capacity(PLACED_BUFFER_BYTES, &mut file);
        Contents::Placed(PlacedTar::new(buffered, &tar.placement))
    } else {
        uncompressed(&mut file).map_err(read_error)?
    };
    let whole_bytes = match reader {
        Contents::Plain(_) | Contents::Placed(_) => tar.size_bytes,
        // Nobody knows; it goes on to the end.
        Contents::Compressed(_) => u64::MAX >> 1,
    };
    // What it holds is not looked at: whoever compares it sees one entry, the tar.
    let name = tar_title(&tar.path);
    let whole = Entry {
        name: name.as_bytes(),
        kind: EntryKind::File {
            size_bytes: whole_bytes,
        },
        mode: 0,
        uid: 0,
        gid: 0,
        capabilities: None,
    };
    sink.begin_entry(&whole, 0, 0);
    let mut buffer = sink.first_buffer();
    let mut total_bytes = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match reader.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        let is_last = filled < buffer.len();
        total_bytes += filled as u64;
        if filled > 0 {
            sink.take_buffer(&mut buffer, filled)
                .map_err(WriteLayerError::Sink)?;
        }
        if is_last {
            break;
        }
    }
    let is_of_known_size = !matches!(reader, Contents::Compressed(_));
    if is_of_known_size && total_bytes != tar.size_bytes {
        return Err(WriteLayerError::TarContent {
            path,
            expected: format!("{} bytes", tar.size_bytes),
            found: format!("{total_bytes} bytes"),
        });
    }
    Ok(())
}

/// What a file gives.
enum Contents<'a> {
    /// Its own bytes.
    Plain(&'a mut File),
    /// What it decompresses to.
    Compressed(Box<dyn Read + 'a>),
    /// Its tar with entries in other places.
    Placed(PlacedTar<'a, BufReader<&'a mut File>>),
}

impl Read for Contents<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(into),
            Self::Compressed(reader) => reader.read(into),
            Self::Placed(reader) => reader.read(into),
        }
    }
}

/// The tar in a file that may be compressed, as layers are that nix2container pulled: told by its first bytes, which no tar
/// begins with.
fn uncompressed(file: &mut File) -> io::Result<Contents<'_>> {
    let mut head = Vec::new();
    (&mut *file).take(4).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(if head.starts_with(b"\x1f\x8b") {
        let buffered = BufReader::new(file);
        Contents::Compressed(Box::new(flate2::bufread::MultiGzDecoder::new(buffered)))
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") {
        Contents::Compressed(Box::new(zstd::stream::read::Decoder::new(file)?))
    } else {
        Contents::Plain(file)
    })
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
