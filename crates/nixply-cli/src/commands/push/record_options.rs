//! Where a push learns what layers are before it makes them.

use super::observer::Named;
use crate::error::{CliError, ExitStatus};
use crate::stored::parse_reference;
use nixply_oci::ImageReference;
use nixply_registry::{LayerIndexPlace, PushOptions};

/// The sources of layer records (`docs/records.md`).
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Record options")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own, and clap tells which exclude each other"
)]
pub(crate) struct RecordOptions {
    /// Reuse the layers of this image: mount them where its registry is the same (can be repeated)
    #[arg(long, value_name = "REF", conflicts_with = "no_records")]
    reuse_from: Vec<String>,
    /// Where the layer index is, for a whole fleet [default: the tag `nixply-layers` of the repository]
    #[arg(long, value_name = "REF", conflicts_with_all = ["no_layer_index", "no_records"])]
    layer_index: Option<String>,
    /// Neither read nor write a layer index
    #[arg(long)]
    no_layer_index: bool,
    /// Neither use nor keep records on this machine
    #[arg(long)]
    no_cache: bool,
    /// Use no records at all: make every layer
    #[arg(long)]
    no_records: bool,
    /// Make every layer that is known all the same, and fail if one differs from its record
    #[arg(long, conflicts_with = "no_records")]
    verify_records: bool,
}

impl RecordOptions {
    /// True if this machine's records are used.
    pub(crate) fn uses_this_machine(&self) -> bool {
        !self.no_cache && !self.no_records
    }

    /// The images whose layers are reused.
    pub(crate) fn reuse_from(&self) -> Result<Vec<ImageReference>, CliError> {
        self.reuse_from
            .iter()
            .map(|text| parse_reference(text.strip_prefix("docker://").unwrap_or(text)))
            .collect()
    }

    /// The sources that the user named.
    pub(super) fn named(&self) -> Result<Named, CliError> {
        Ok(Named::new(self.reuse_from()?, self.layer_index.is_some()))
    }

    /// Tells a push which sources it has.
    pub(crate) fn apply(&self, options: &mut PushOptions<'_>) -> Result<(), CliError> {
        options.reuse_from = self.reuse_from()?;
        options.read_tags = !self.no_records;
        options.verify_records = self.verify_records;
        options.layer_index = match &self.layer_index {
            _ if self.no_layer_index || self.no_records => LayerIndexPlace::Off,
            None => LayerIndexPlace::SameRepository,
            Some(text) => {
                let index = parse_reference(text)?;
                if index.digest().is_some() {
                    return Err(CliError::new(
                        ExitStatus::Usage,
                        format!(
                            "--layer-index: `{text}` names a digest, and every push writes the index anew: expected a tag, or none"
                        ),
                    ));
                }
                LayerIndexPlace::At(index)
            }
        };
        Ok(())
    }
}
