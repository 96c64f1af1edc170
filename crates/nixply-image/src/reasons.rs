//! Why a plan is as it is: what the packer says of its layers, in the plan's words.
//!
//! Nothing of it reaches a byte of the image. A word that a newer version writes is read as `unknown`.

use nixply_pack::{LayerReason, VolatileReason};
use serde::{Deserialize, Serialize};

/// Why the paths of a layer share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LayerReasonRecord {
    /// One path with what rides on it, or paths that come and go together.
    Group,
    /// Small groups that share a layer because each of its own would cost more than it saves.
    Small,
    /// Groups that are too small for a layer of their own and too large for the small ones' layer.
    Rest,
    /// What the image itself asks for, where it is not known which of it changes with every version.
    AskedFor,
    /// New in every version of the image.
    Volatile,
    /// A layer of the prior image, as it was.
    Prior,
    /// A word of another version.
    #[serde(other)]
    Unknown,
}

impl LayerReasonRecord {
    /// The packer's reason in the plan's words; none for packers that give none.
    pub(crate) fn of(reason: LayerReason) -> Option<Self> {
        match reason {
            LayerReason::Group { .. } => Some(Self::Group),
            LayerReason::Small => Some(Self::Small),
            LayerReason::Rest => Some(Self::Rest),
            LayerReason::AskedFor => Some(Self::AskedFor),
            LayerReason::Volatile => Some(Self::Volatile),
            LayerReason::Prior => Some(Self::Prior),
            _ => None,
        }
    }
}

/// A path that counts as new in every version of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolatilePath {
    /// The absolute path.
    pub path: String,
    /// Why it counts so.
    pub reason: VolatileReasonRecord,
}

/// Why a path counts as new in every version of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VolatileReasonRecord {
    /// The user named it.
    Given,
    /// It uses a volatile path, so its own hash follows.
    UsesVolatile,
    /// It is the closure's only root, or the only one that no package set holds.
    Root,
    /// Only volatile paths use it, and it refers, directly or not, to most of the closure.
    HoldsMost,
    /// Only volatile paths use it, and no package set of the catalog holds it.
    InNoSet,
    /// It is a small root among several.
    SmallRoot,
    /// A word of another version.
    #[serde(other)]
    Unknown,
}

impl From<VolatileReason> for VolatileReasonRecord {
    fn from(reason: VolatileReason) -> Self {
        match reason {
            VolatileReason::Given => Self::Given,
            VolatileReason::UsesVolatile => Self::UsesVolatile,
            VolatileReason::Root => Self::Root,
            VolatileReason::HoldsMost => Self::HoldsMost,
            VolatileReason::InNoSet => Self::InNoSet,
            VolatileReason::SmallRoot => Self::SmallRoot,
            _ => Self::Unknown,
        }
    }
}
