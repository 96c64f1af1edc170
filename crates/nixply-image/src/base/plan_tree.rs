//! What the layers of a plan hold, as far as an image that is built on it could damage it.

use super::accounts::is_account_file;
use super::{BaseError, BaseTree, TreeReader};
use crate::linking::StoreView;
use crate::{LinkedContent, Plan, PlanError, PlannedLayer, RootFileSpec};
use nixply_layer::{
    FileContent, Nix2containerPath, RootFile, RootFileKind, StoreRoot, StoredEntry,
    StoredEntryKind, TarPlacement, read_nix2container_entries, read_placed_entries,
};
use nixply_oci::{DiffId, Digest};
use std::fs::File;
use std::path::Path;

#[cfg(test)]
mod tests;

/// The tree of a plan's layers; none where nobody has looked into one of them and nobody can.
pub(super) fn tree_of(
    plan: &Plan,
    store: Option<&StoreRoot>,
) -> Result<Option<BaseTree>, BaseError> {
    let is_base = |layer: &PlannedLayer| matches!(layer, PlannedLayer::Base(_));
    let store_dir = plan.store_dir().unwrap_or_default();
    let reader = if plan.layers.iter().any(is_base) {
        // It is the tree of the whole base, layers of its plan included; that these are laid over it again changes nothing.
        match plan.base.as_ref().and_then(|base| base.tree.as_ref()) {
            Some(tree) => TreeReader::above(tree, store_dir),
            None => return Ok(None),
        }
    } else {
        TreeReader::new(store_dir)
    };
    let mut layers = LayerReader { reader, store };
    for (layer_idx, layer) in plan.layers.iter().enumerate() {
        if !layers.read(layer_idx, layer)? {
            return Ok(None);
        }
        layers.reader.end_layer();
    }
    Ok(Some(layers.reader.finish()))
}

/// The tree of the base of a plan and of the plan's own layers so far, `base_layers` being the first of these; none where
/// nobody has looked into the base.
pub(crate) fn tree_below(plan: &Plan, base_layers: usize) -> Result<Option<BaseTree>, BaseError> {
    let store_dir = plan.store_dir().unwrap_or_default();
    let reader = match &plan.base {
        Some(base) => match &base.tree {
            Some(tree) => TreeReader::above(tree, store_dir),
            None => return Ok(None),
        },
        None => TreeReader::new(store_dir),
    };
    let mut layers = LayerReader {
        reader,
        store: None,
    };
    for (layer_idx, layer) in plan.layers.iter().enumerate().skip(base_layers) {
        if !layers.read(layer_idx, layer)? {
            return Ok(None);
        }
        layers.reader.end_layer();
    }
    Ok(Some(layers.reader.finish()))
}

/// Reads the layers of a plan.
struct LayerReader<'a> {
    reader: TreeReader,
    store: Option<&'a StoreRoot>,
}

impl LayerReader<'_> {
    /// Reads a layer; false where that needs a store and there is none.
    fn read(&mut self, layer_idx: usize, layer: &PlannedLayer) -> Result<bool, BaseError> {
        match layer {
            PlannedLayer::Base(_) | PlannedLayer::Store { .. } => {
                for path in layer.store_paths() {
                    self.reader.add_store_path(path);
                }
            }
            PlannedLayer::Root {
                files, contents, ..
            } => {
                self.read_root_files(files)?;
                for content in contents {
                    self.read_content(content);
                }
            }
            PlannedLayer::Tar {
                diff_id,
                path,
                placed,
                ..
            } => {
                let Some(store) = self.store else {
                    return Ok(false);
                };
                let placement = (placed.to_layer())
                    .map_err(|path| BaseError::Plan(Box::new(PlanError::Mode { path })))?;
                let path = store.locate_file(path);
                self.read_tar(layer_idx, &path, &placement, *diff_id)?;
            }
            PlannedLayer::Nix2container { paths, .. } => {
                let Some(store) = self.store else {
                    return Ok(false);
                };
                self.read_nix2container(layer_idx, paths, store)?;
            }
            // It tells the store paths of the plan alone, and is left out.
            PlannedLayer::Database { .. } => {}
        }
        Ok(true)
    }

    fn read_root_files(&mut self, files: &[RootFileSpec]) -> Result<(), BaseError> {
        for file in files {
            let file = file
                .to_layer()
                .map_err(|error| BaseError::Plan(Box::new(error.into())))?;
            self.add(file);
        }
        Ok(())
    }

    fn read_content(&mut self, content: &LinkedContent) {
        for file in content.root_files() {
            // What stands by directory are links to files: in the way of a link of ours, and no way to anything.
            let leads_to_file =
                file.kind != RootFileKind::Directory && !content.symlinks.contains_key(&file.path);
            if leads_to_file && !is_account_file(file.path.as_bytes()) {
                self.reader.add(StoredEntry {
                    name: file.path.into_bytes(),
                    kind: StoredEntryKind::Other,
                    mode: file.mode,
                    uid: file.uid,
                    gid: file.gid,
                });
            } else {
                self.add(file);
            }
        }
    }

    fn add(&mut self, file: RootFile) {
        let is_wanted = TreeReader::wants_text(file.path.as_bytes());
        let kind = match file.kind {
            RootFileKind::Directory => StoredEntryKind::Directory,
            RootFileKind::Symlink { target } => self.link(target, is_wanted),
            RootFileKind::File(content) if is_wanted => self.text(content),
            RootFileKind::File(_) => StoredEntryKind::Other,
        };
        self.reader.add(StoredEntry {
            name: file.path.into_bytes(),
            kind,
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
        });
    }

    /// A file with its content, where that can be read here.
    fn text(&self, content: FileContent) -> StoredEntryKind {
        let bytes = match content {
            FileContent::Inline(bytes) => Some(bytes),
            FileContent::Source { path, sha256, .. } => {
                let read = |store: &StoreRoot| std::fs::read(store.locate_file(&path)).ok();
                let is_planned = |bytes: &Vec<u8>| *Digest::of(bytes).as_bytes() == sha256;
                self.store.and_then(read).filter(is_planned)
            }
        };
        bytes.map_or(StoredEntryKind::Other, StoredEntryKind::Text)
    }

    /// A link, or where the store tells that it leads to a file, something else that no file of ours can stand below: its
    /// content where that is wanted.
    fn link(&mut self, target: String, is_wanted: bool) -> StoredEntryKind {
        let found = self
            .store
            .and_then(|store| StoreView::new(store).resolve(&target).ok().flatten());
        match found {
            Some((place, file_type)) if file_type.is_dir() => {
                self.reader.add_store_directory(&place.logical);
            }
            Some((place, _)) => {
                let text = is_wanted.then(|| std::fs::read(place.physical).ok());
                return text
                    .flatten()
                    .map_or(StoredEntryKind::Other, StoredEntryKind::Text);
            }
            None => {}
        }
        StoredEntryKind::Symlink {
            target: target.into_bytes(),
        }
    }

    fn read_tar(
        &mut self,
        layer_idx: usize,
        path: &Path,
        placement: &TarPlacement,
        expected: DiffId,
    ) -> Result<(), BaseError> {
        let failed = |source| BaseError::LookInto { layer_idx, source };
        let tar = File::open(path).map_err(|error| failed(error.into()))?;
        let reader = &mut self.reader;
        let wants_text = TreeReader::wants_text;
        let found = read_placed_entries(tar, placement, wants_text, &mut |entry| reader.add(entry))
            .map_err(|error| failed(error.into()))?;
        if found == expected {
            return Ok(());
        }
        Err(BaseError::Bytes {
            expected: Digest::from_bytes(*expected.as_bytes()),
            found: Digest::from_bytes(*found.as_bytes()),
        })
    }

    fn read_nix2container(
        &mut self,
        layer_idx: usize,
        paths: &[Nix2containerPath],
        store: &StoreRoot,
    ) -> Result<(), BaseError> {
        let reader = &mut self.reader;
        let mut add = |entry| reader.add(entry);
        read_nix2container_entries(paths, store, TreeReader::wants_text, &mut add).map_err(
            |error| BaseError::LookInto {
                layer_idx,
                source: error.into(),
            },
        )
    }
}
