//! Owners and modes of store path entries as a plan holds them.

use crate::root_file::{mode_text, parse_mode};
use nixply_layer::EntryPermissions;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Entries of one store path that have the same mode and owner, other than all others have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPermissions {
    /// Octal digits, `4755` for example.
    pub mode: String,
    /// The numeric owner.
    pub uid: u64,
    /// The numeric group.
    pub gid: u64,
    /// The entries, relative to the store path and in byte order; empty for the store path itself.
    pub entries: Vec<String>,
}

impl PlannedPermissions {
    /// Puts together what has the same mode and owner.
    pub(crate) fn group(permissions: &[EntryPermissions]) -> Vec<Self> {
        let mut groups: BTreeMap<(u32, u64, u64), Vec<String>> = BTreeMap::new();
        for EntryPermissions {
            path,
            mode,
            uid,
            gid,
        } in permissions
        {
            let entries = groups.entry((*mode, *uid, *gid)).or_default();
            entries.push(path.clone());
        }
        let groups = groups.into_iter();
        groups
            .map(|((mode, uid, gid), mut entries)| {
                entries.sort_unstable();
                Self {
                    mode: mode_text(mode),
                    uid,
                    gid,
                    entries,
                }
            })
            .collect()
    }
}

/// Each entry for itself, as a layer takes it; none where a mode is no mode.
#[must_use]
pub fn entry_permissions(groups: &[PlannedPermissions]) -> Option<Vec<EntryPermissions>> {
    let mut permissions = Vec::new();
    for group in groups {
        let mode = parse_mode(&group.mode)?;
        permissions.extend(group.entries.iter().map(|path| EntryPermissions {
            path: path.clone(),
            mode,
            uid: group.uid,
            gid: group.gid,
        }));
    }
    Some(permissions)
}
