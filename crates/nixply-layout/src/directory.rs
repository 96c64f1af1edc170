//! Writing OCI layout directories (OCI image-spec v1.1.1, `image-layout.md`).
//!
//! A new layout is made beside its place and renamed. In one that exists, blobs are added first, each renamed from a
//! temporary name, and the index last, so that a reader at any moment sees a whole layout.

use crate::atomic::{parent_of, write_file_atomically};
use crate::documents::{
    BLOBS, INDEX, OCI_LAYOUT, OCI_LAYOUT_CONTENT, add_to_index, index_entries, new_index,
};
use crate::layers::{LayerSink, check_same, lower_twins, write_layer};
use crate::names::ImageNames;
use crate::open::check_layout_directory;
use crate::pipeline::{Pace, Stop, make_in_order};
use crate::report::{LayerOutcome, WriteObserver, WriteReport, WrittenLayer};
use crate::unfinished::Unfinished;
use crate::{LayoutError, WriteOptions};
use nixply_oci::{BlobHasher, Descriptor, Digest, Image, Layer, LayerDigest, LayerRecord};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Writes an image into an OCI layout directory, which is made or, where it is an OCI layout already, added to.
///
/// Blobs that are there already are read and kept where they have their digest, and a layer that is known beforehand and
/// there is not made. The image takes the place of the one of its platform that had the same name; other images stay.
///
/// # Errors
///
/// [`LayoutError::DirectoryInUse`] where the directory holds something else; a layer that cannot be made; a name that is
/// none; a file system that refuses. A new directory then does not appear; in an older one some blobs may have been added
/// that nothing names yet.
pub fn write_oci_dir(
    image: &dyn Image,
    names: &ImageNames,
    dir: &Path,
    options: &WriteOptions,
    observer: &dyn WriteObserver,
) -> Result<WriteReport, LayoutError> {
    let names = names.parse()?;
    let target = Target::prepare(dir)?;
    let layers = target.write_layers(image, options, observer)?;
    let records: Vec<LayerRecord> = layers.iter().map(|layer| layer.record.clone()).collect();
    let finished = image.finish(&records)?;
    target.write_blob(&finished.config_descriptor, &finished.config)?;
    target.write_blob(&finished.manifest_descriptor, &finished.manifest)?;
    let entries = index_entries(&finished.manifest_descriptor, image.platform(), &names);
    target.finish(&entries)?;
    Ok(WriteReport {
        manifest_digest: finished.manifest_descriptor.digest,
        config_digest: finished.config_descriptor.digest,
        layers,
    })
}

/// How much of a blob is read at once to check it.
const READ_BYTES: usize = 64 << 10;

/// A layer whose blob is in its place.
enum Placed {
    /// A layer of its own.
    Layer(LayerRecord, LayerOutcome),
    /// The same as this lower layer.
    SameAs(usize),
}

/// A layout that is being written.
struct Target {
    /// Holds what is not finished, and is gone at the end. On the same file system as `root`.
    staging: Unfinished<tempfile::TempDir>,
    /// The layout itself.
    root: PathBuf,
    /// Where a new layout goes in the end; none for one that existed.
    rename_to: Option<PathBuf>,
    /// The layers' blobs that were not there before. Held while a blob gets its name, so that of two equal layers, made at
    /// the same time, neither takes the other's blob for an older one.
    added: Mutex<BTreeSet<LayerDigest>>,
}

impl Target {
    fn prepare(dir: &Path) -> Result<Self, LayoutError> {
        let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let is_new = match fs::read_dir(&dir) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(LayoutError::file("read", dir)(error)),
        };
        let staging_parent = if is_new { parent_of(&dir) } else { dir.clone() };
        if !is_new && check_layout_directory(&dir).is_err() {
            return Err(LayoutError::DirectoryInUse { path: dir });
        }
        let staging = Unfinished::begin(|| {
            tempfile::Builder::new()
                .prefix(".nixply-")
                .tempdir_in(&staging_parent)
        })
        .map_err(LayoutError::file("create a directory in", &staging_parent))?;
        let target = if is_new {
            Self {
                root: staging.thing().path().join("layout"),
                rename_to: Some(dir),
                staging,
                added: Mutex::default(),
            }
        } else {
            Self {
                staging,
                root: dir,
                rename_to: None,
                added: Mutex::default(),
            }
        };
        let blobs = target.root.join(BLOBS);
        fs::create_dir_all(&blobs).map_err(LayoutError::file("create", &blobs))?;
        Ok(target)
    }

    fn write_layers(
        &self,
        image: &dyn Image,
        options: &WriteOptions,
        observer: &dyn WriteObserver,
    ) -> Result<Vec<WrittenLayer>, LayoutError> {
        let layers = image.layers();
        let twins = lower_twins(layers);
        let weights: Vec<u64> = layers.iter().map(|layer| layer.weight_bytes()).collect();
        // Nothing waits in memory here, so that the heaviest of all layers may come first.
        let pace = Pace {
            jobs: options.jobs,
            look_ahead: layers.len(),
        };
        let make = |layer_idx: usize, stop: &Stop| match twins[layer_idx] {
            Some(twin) => Ok(Placed::SameAs(twin)),
            None => self.write_layer(layer_idx, &*layers[layer_idx], stop, observer),
        };
        let mut seen = BTreeSet::new();
        let mut written: Vec<WrittenLayer> = Vec::with_capacity(layers.len());
        make_in_order(&weights, pace, &make, |layer_idx, placed| {
            let (record, outcome) = match placed {
                Placed::Layer(record, outcome) => (record, outcome),
                Placed::SameAs(twin) => (written[twin].record.clone(), LayerOutcome::Repeated),
            };
            let layer = WrittenLayer {
                title: layers[layer_idx].title(),
                outcome: if seen.insert(record.digest) {
                    outcome
                } else {
                    LayerOutcome::Repeated
                },
                record,
            };
            observer.layer_done(layer_idx, &layer);
            written.push(layer);
            Ok(())
        })?;
        Ok(written)
    }

    fn write_layer(
        &self,
        layer_idx: usize,
        layer: &dyn Layer,
        stop: &Stop,
        observer: &dyn WriteObserver,
    ) -> Result<Placed, LayoutError> {
        let known = layer.known();
        if let Some(record) = &known
            && let Some(outcome) = self.outcome_if_there(record).0
        {
            return Ok(Placed::Layer(record.clone(), outcome));
        }
        observer.layer_started(layer_idx, &layer.title(), layer.weight_bytes());
        let temporary = self
            .staging
            .thing()
            .path()
            .join(format!("layer-{layer_idx}"));
        let file = File::create_new(&temporary).map_err(LayoutError::file("create", &temporary))?;
        let mut out = StoppableFile { file, stop };
        let mut sink = LayerSink {
            out: &mut out,
            layer_idx,
            observer,
        };
        let record = write_layer(layer_idx, layer, &mut sink)?;
        if let Some(known) = &known {
            check_same(layer_idx, layer, known, &record)?;
        }
        // Else a crash could leave a name with half a blob behind it.
        out.file
            .sync_all()
            .map_err(LayoutError::file("write", &temporary))?;
        let (outcome, mut added) = self.outcome_if_there(&record);
        if let Some(outcome) = outcome {
            fs::remove_file(&temporary).map_err(LayoutError::file("remove", &temporary))?;
            return Ok(Placed::Layer(record, outcome));
        }
        let blob = self.blob_path(record.digest.into());
        fs::rename(&temporary, &blob).map_err(LayoutError::file("create", &blob))?;
        added.insert(record.digest);
        Ok(Placed::Layer(record, LayerOutcome::Written))
    }

    fn lock_added(&self) -> MutexGuard<'_, BTreeSet<LayerDigest>> {
        self.added.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a layer's blob came to be there, none where it is not there, and the lock under which that stays true.
    fn outcome_if_there(
        &self,
        record: &LayerRecord,
    ) -> (Option<LayerOutcome>, MutexGuard<'_, BTreeSet<LayerDigest>>) {
        // Read without the lock, so that blobs are read side by side. One that appears meanwhile is among the added.
        let is_there = self.has_blob(record.digest.into(), record.size_bytes);
        let added = self.lock_added();
        let outcome = if added.contains(&record.digest) {
            Some(LayerOutcome::Written)
        } else {
            is_there.then_some(LayerOutcome::AlreadyThere)
        };
        (outcome, added)
    }

    /// True where the blob is there and whole. A name and a size prove neither that it was written whole nor that no disk
    /// or tool has changed it since; what cannot be read is written anew.
    fn has_blob(&self, digest: Digest, size_bytes: u64) -> bool {
        let Ok(mut file) = File::open(self.blob_path(digest)) else {
            return false;
        };
        let has_size = file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() == size_bytes);
        if !has_size {
            return false;
        }
        let mut hasher = BlobHasher::new();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Digest::from_bytes(hasher.finish().0) == digest,
                Ok(n_bytes) => hasher.update(&buffer[..n_bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.root.join(BLOBS).join(digest.hex())
    }

    fn write_blob(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), LayoutError> {
        if self.has_blob(descriptor.digest, descriptor.size_bytes) {
            return Ok(());
        }
        write_whole(&self.blob_path(descriptor.digest), bytes)
    }

    fn finish(self, entries: &[Descriptor]) -> Result<(), LayoutError> {
        let marker = self.root.join(OCI_LAYOUT);
        let index = self.root.join(INDEX);
        let index_error = |source| LayoutError::Index {
            path: self.root.clone(),
            source,
        };
        let Some(dir) = &self.rename_to else {
            // Another nixply may be adding to the same layout; the marker is the one file that is never replaced.
            let lock = File::open(&marker).map_err(LayoutError::file("read", &marker))?;
            lock.lock().map_err(LayoutError::file("lock", &marker))?;
            let bytes = match fs::read(&index) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    new_index(&[]).map_err(index_error)?
                }
                Err(error) => return Err(LayoutError::file("read", index)(error)),
            };
            let old = serde_json::from_slice(&bytes).map_err(|source| LayoutError::Json {
                path: self.root.clone(),
                member: INDEX.to_owned(),
                source,
            })?;
            return write_whole(&index, &add_to_index(old, entries).map_err(index_error)?);
        };
        write_whole(&marker, OCI_LAYOUT_CONTENT)?;
        write_whole(&index, &new_index(entries).map_err(index_error)?)?;
        self.staging
            .finish(|_staging| fs::rename(&self.root, dir))
            .map_err(LayoutError::file("create", dir))
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
    write_file_atomically(path, |out| Ok(out.write_all(bytes)?))
}

/// Ends a layer early once another has failed.
struct StoppableFile<'a> {
    file: File,
    stop: &'a Stop,
}

impl Write for StoppableFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(io::Error::other("another layer has failed"));
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
