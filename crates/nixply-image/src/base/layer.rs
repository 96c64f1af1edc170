//! A base layer as a sink takes it.

use super::{BaseError, PlannedBaseLayer};
use nixply_layer::{Compression, CompressionPool, Compressor};
use nixply_oci::{
    BlobHasher, Descriptor, Digest, HashingWriter, Layer, LayerDigest, LayerError, LayerKey,
    LayerRecord, LayerSource, MediaType, RepositoryName,
};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// How much is copied at once. Chosen, not measured: far above the cost of a call.
const COPY_BYTES: usize = 128 << 10;

/// A finished layer of another image: its bytes as they are, or a tar that is compressed on the way.
#[derive(Debug)]
pub struct BaseLayer {
    planned: PlannedBaseLayer,
    compression: Compression,
    pool: CompressionPool,
    /// None where nothing can give the bytes; a sink that has them need not ask.
    source: Option<Arc<dyn LayerSource>>,
}

impl BaseLayer {
    /// Joins a layer of a plan to what gives its bytes; a tar is compressed on `pool`.
    #[must_use]
    pub fn new(
        planned: PlannedBaseLayer,
        compression: Compression,
        pool: CompressionPool,
        source: Option<Arc<dyn LayerSource>>,
    ) -> Self {
        Self {
            planned,
            compression,
            pool,
            source,
        }
    }

    /// Copies the bytes that `stored` names, or compresses them.
    fn copy(
        &self,
        stored: &Descriptor,
        from: &mut dyn Read,
        out: &mut dyn Write,
    ) -> Result<LayerRecord, LayerError> {
        if let Some(record) = self.planned.record() {
            copy_checked(from, out, stored.digest)?;
            out.flush().map_err(LayerError::Sink)?;
            return Ok(record);
        }
        let wire = HashingWriter::new(out);
        let mut compressor = Compressor::new(self.compression, self.pool.clone(), wire);
        copy_checked(from, &mut compressor, stored.digest)?;
        let wire = compressor.finish().map_err(LayerError::Sink)?;
        let (_, digest, size_bytes) = wire.finish();
        Ok(LayerRecord {
            diff_id: self.planned.diff_id,
            digest: LayerDigest::from_bytes(digest),
            size_bytes,
            media_type: self.compression.media_type(),
        })
    }
}

impl Layer for BaseLayer {
    fn key(&self) -> Option<LayerKey> {
        self.planned.key
    }

    fn known(&self) -> Option<LayerRecord> {
        self.planned.record()
    }

    fn held_by(&self) -> Option<RepositoryName> {
        self.planned.source.repository()
    }

    fn media_type(&self) -> MediaType {
        match &self.planned.descriptor {
            Some(descriptor) => descriptor.media_type.clone(),
            None => self.compression.media_type(),
        }
    }

    fn weight_bytes(&self) -> u64 {
        self.planned.stored().size_bytes
    }

    fn title(&self) -> String {
        title(&self.planned)
    }

    fn write_blob(&self, out: &mut dyn Write) -> Result<LayerRecord, LayerError> {
        let make_error = |error| LayerError::Make(Box::new(error));
        let source = self
            .source
            .as_ref()
            .ok_or_else(|| make_error(BaseError::NoSource))?;
        let stored = self.planned.stored();
        let mut copied = None;
        source
            .read_layer(&self.planned.source, &stored, &mut |from| {
                copied = Some(self.copy(&stored, from, out));
            })
            .map_err(|error| LayerError::Make(error.0))?;
        copied.unwrap_or_else(|| Err(make_error(BaseError::NoSource)))
    }
}

/// A few words for progress and errors: a base layer has no other name than its hash.
pub(crate) fn title(planned: &PlannedBaseLayer) -> String {
    let hex = match &planned.descriptor {
        Some(descriptor) => descriptor.digest.hex(),
        None => planned.diff_id.hex(),
    };
    format!("base layer {}", &hex[..12])
}

/// Copies all of `from`, which must have this digest; the last bytes are written before that is known.
fn copy_checked(
    from: &mut dyn Read,
    out: &mut dyn Write,
    expected: Digest,
) -> Result<(), LayerError> {
    let mut hasher = BlobHasher::new();
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(LayerError::Make(read_error(error))),
        };
        hasher.update(&buffer[..n]);
        out.write_all(&buffer[..n]).map_err(LayerError::Sink)?;
    }
    let found = Digest::from_bytes(hasher.finish().0);
    if found == expected {
        return Ok(());
    }
    Err(LayerError::Make(Box::new(BaseError::Bytes {
        expected,
        found,
    })))
}

/// The reader's own error says more than the I/O error that carries it.
fn read_error(error: io::Error) -> Box<dyn std::error::Error + Send + Sync> {
    if error.get_ref().is_none() {
        return error.into();
    }
    let kind = error.kind();
    error
        .into_inner()
        .unwrap_or_else(|| io::Error::from(kind).into())
}
