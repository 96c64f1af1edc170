//! An index, which stands for the images of several platforms.

use crate::error::{CliError, ExitStatus};
use crate::text;
use nixply_oci::{Descriptor, Platform};
use nixply_registry::StoredIndex;
use serde::Serialize;

#[derive(Debug, Serialize)]
struct InspectedIndex<'a> {
    digest: String,
    media_type: &'a str,
    annotations: &'a std::collections::BTreeMap<String, String>,
    manifests: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    digest: String,
    media_type: &'a str,
    size_bytes: u64,
    platform: Option<&'a Platform>,
    annotations: &'a std::collections::BTreeMap<String, String>,
}

impl<'a> From<&'a Descriptor> for Entry<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self {
            digest: descriptor.digest.to_string(),
            media_type: descriptor.media_type.as_str(),
            size_bytes: descriptor.size_bytes,
            platform: descriptor.platform.as_ref(),
            annotations: &descriptor.annotations,
        }
    }
}

/// The index as JSON.
pub(super) fn json(stored: &StoredIndex) -> Result<String, CliError> {
    let inspected = InspectedIndex {
        digest: stored.descriptor.digest.to_string(),
        media_type: stored.descriptor.media_type.as_str(),
        annotations: &stored.index.annotations,
        manifests: stored.index.manifests.iter().map(Entry::from).collect(),
    };
    let text = serde_json::to_string_pretty(&inspected)
        .map_err(|error| CliError::from_error(ExitStatus::Failed, &error))?;
    Ok(text + "\n")
}

/// The index as people read it.
pub(super) fn describe(stored: &StoredIndex) -> String {
    let rows: Vec<Vec<String>> = stored
        .index
        .manifests
        .iter()
        .map(|entry| {
            let platform = entry.platform.as_ref().map(Platform::to_string);
            vec![
                text::printable(platform.as_deref().unwrap_or("not said")),
                entry.digest.to_string(),
            ]
        })
        .collect();
    format!(
        "digest  {}\nform    {}\n\n{}\n`--platform OS/ARCHITECTURE` shows one of them\n",
        stored.descriptor.digest,
        text::printable(stored.descriptor.media_type.as_str()),
        text::table(&["platform", "digest"], &[], &rows),
    )
}
