//! Layers of a plan that are not packed: store paths that somebody else has put together, tars that somebody else made or
//! wrote down how to make.

use crate::{Plan, PlannedLayer, PlannedPath, PlannedTarPlacement};
use nixply_layer::{
    FinishedTar, LayerContents, Nix2containerPath, Nix2containerTar, StorePathContent,
};
use nixply_oci::{DiffId, History};
use nixply_store::StoreDir;

impl Plan {
    /// The same plan without store paths of its own: links into the store lead to what a container has mounted there.
    #[must_use]
    pub fn without_store_layers(mut self) -> Self {
        let is_kept = |layer: &PlannedLayer| {
            !matches!(
                layer,
                PlannedLayer::Store { .. } | PlannedLayer::Database { .. }
            )
        };
        self.layers.retain(is_kept);
        self.roots.clear();
        self.volatile.clear();
        self
    }

    /// A layer of store paths in the order that they have to be written in; `contents` are the same paths.
    pub(crate) fn given_layer(
        &self,
        store_dir: StoreDir,
        paths: Vec<PlannedPath>,
        contents: Vec<StorePathContent>,
    ) -> PlannedLayer {
        let contents = LayerContents::Store {
            store_dir,
            paths: contents,
        };
        PlannedLayer::Store {
            key: self.layer_spec(contents).key(),
            nar_size_bytes: paths
                .iter()
                .map(|path| path.nar_size_bytes)
                .fold(0, u64::saturating_add),
            reason: None,
            head: None,
            sets: Vec::new(),
            set_count: None,
            paths,
        }
    }

    /// A layer that nix2container wrote down how to make.
    pub(crate) fn nix2container_layer(
        &self,
        paths: Vec<Nix2containerPath>,
        diff_id: DiffId,
        size_bytes: u64,
        history: Option<History>,
    ) -> PlannedLayer {
        let contents = LayerContents::Nix2container(Nix2containerTar {
            paths: paths.clone(),
            diff_id,
            size_bytes,
        });
        PlannedLayer::Nix2container {
            key: self.layer_spec(contents).key(),
            diff_id,
            size_bytes,
            history,
            paths,
        }
    }

    /// A layer that is a tar which exists already.
    pub(crate) fn tar_layer(&self, tar: FinishedTar) -> PlannedLayer {
        let FinishedTar {
            path,
            diff_id,
            size_bytes,
            placement,
        } = tar.clone();
        PlannedLayer::Tar {
            key: self.layer_spec(LayerContents::Tar(tar)).key(),
            diff_id,
            path,
            size_bytes,
            placed: PlannedTarPlacement::of(placement),
        }
    }
}
