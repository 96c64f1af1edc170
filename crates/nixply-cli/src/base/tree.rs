//! What the layers of a base image hold, read from their entries.

use crate::error::{CliError, ExitStatus};
use crate::stored::source_error;
use nixply_image::{BaseError, BaseTree, TreeReader};
use nixply_layer::read_entries;
use nixply_oci::ImageSource;
use nixply_store::StoreDir;

/// Reads every layer of an image once, entry by entry, and checks that each is what the config says. Nothing is kept but
/// names, and the texts of two files.
pub(crate) fn read_tree(source: &dyn ImageSource) -> Result<BaseTree, CliError> {
    let image = source.image();
    let mut reader = TreeReader::new(StoreDir::default());
    for (layer_idx, descriptor) in image.manifest.layers.iter().enumerate() {
        let mut stored = source
            .open_layer(layer_idx)
            .map_err(|error| source_error(layer_idx, &error))?;
        let media_type = &descriptor.media_type;
        let found = read_entries(
            &mut stored,
            media_type,
            TreeReader::wants_text,
            &mut |entry| {
                reader.add(entry);
            },
        )
        .map_err(|error| source_error(layer_idx, &error))?;
        if let Some(&expected) = image.config.rootfs.diff_ids.get(layer_idx)
            && expected != found
        {
            let error = BaseError::DiffId {
                layer_idx,
                expected,
                found,
            };
            return Err(CliError::from_error(ExitStatus::Verification, &error));
        }
        reader.end_layer();
    }
    Ok(reader.finish())
}
