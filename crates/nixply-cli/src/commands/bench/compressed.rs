//! What the paths of a fleet weigh when they are compressed, as far as this machine has them.

use super::steps::Steps;
use crate::error::{CliError, ExitStatus};
use crate::image;
use crate::options::StoreOptions;
use nixply_layer::{
    Compression, LayerContents, LayerFormat, LayerSpec, StorePathContent, write_layer,
};
use nixply_reuse::{ByteKind, Fleet};
use nixply_store::{PathInfo, StorePath};
use std::collections::BTreeMap;

/// Whether bytes are those on the wire.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Byte options")]
pub(crate) struct CompressedOptions {
    /// Count a path as its compressed size where the store has it, as gzip[:LEVEL] or zstd[:LEVEL]; else as its NAR size
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "gzip")]
    compressed: Option<Compression>,
    #[command(flatten)]
    store: StoreOptions,
}

/// Compressed sizes.
pub(crate) struct CompressedSizes {
    pub(crate) path_bytes: BTreeMap<StorePath, u64>,
    pub(crate) kind: ByteKind,
}

/// Makes a layer of each path that the store has, and keeps its size.
pub(crate) fn sizes(
    options: &CompressedOptions,
    fleet: &Fleet,
    quiet: bool,
) -> Result<Option<CompressedSizes>, CliError> {
    let (Some(compression), Some(first)) = (options.compressed, fleet.pins.first()) else {
        return Ok(None);
    };
    let store_dir = first.closure.store_dir().clone();
    let store = options.store.root(store_dir.clone());
    let pool = image::pool(crate::environment::threads())?;
    let all = fleet.pins.iter().flat_map(|pin| pin.closure.paths());
    let paths: BTreeMap<&StorePath, &PathInfo> = all.map(|info| (&info.path, info)).collect();
    let mut steps = Steps::new("compressing", paths.len(), quiet);
    let mut path_bytes = BTreeMap::new();
    let mut unknown_paths = 0;
    for (path, info) in paths {
        steps.begin(path.base_name());
        // A symbolic link may point anywhere: it is there all the same.
        if store.locate(path).symlink_metadata().is_err() {
            unknown_paths += 1;
            continue;
        }
        let spec = LayerSpec {
            contents: LayerContents::Store {
                store_dir: store_dir.clone(),
                paths: vec![StorePathContent {
                    path: path.clone(),
                    nar_hash: info.nar_hash,
                    permissions: Vec::new(),
                    nar_size_bytes: info.nar_size_bytes,
                }],
            },
            format: LayerFormat::Nixply,
            compression,
        };
        let made = write_layer(&spec, &store, &pool, &mut std::io::sink())
            .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
        path_bytes.insert(path.clone(), made.size_bytes);
    }
    let kind = ByteKind::Compressed {
        known_paths: path_bytes.len(),
        unknown_paths,
    };
    Ok(Some(CompressedSizes { path_bytes, kind }))
}
