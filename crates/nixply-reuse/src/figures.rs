//! Bytes moved, at one pin and in all.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use std::iter::Sum;
use std::ops::AddAssign;

/// Bytes that images moved under a planner, and those that one layer per path would have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Under the planner.
    pub bytes: u64,
    /// With one layer per path: nothing that keeps paths whole moves less.
    pub bound_bytes: u64,
}

impl Moved {
    /// Bytes above the bound: paths that travelled although they were there.
    #[must_use]
    pub const fn extra_bytes(self) -> u64 {
        self.bytes.saturating_sub(self.bound_bytes)
    }

    /// How many times the bound; none where nothing had to move.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "shown with few digits; gates compare integers"
    )]
    pub fn ratio(self) -> Option<f64> {
        (self.bound_bytes > 0).then(|| self.bytes as f64 / self.bound_bytes as f64)
    }

    /// True where the ratio is at most so many thousandths.
    #[must_use]
    pub fn is_within(self, thousandths: u64) -> bool {
        u128::from(self.bytes) * 1000 <= u128::from(self.bound_bytes) * u128::from(thousandths)
    }
}

impl AddAssign for Moved {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.bound_bytes = self.bound_bytes.saturating_add(other.bound_bytes);
    }
}

impl Sum for Moved {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), |mut sum, part| {
            sum += part;
            sum
        })
    }
}

impl Serialize for Moved {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Moved", 3)?;
        object.serialize_field("bytes", &self.bytes)?;
        object.serialize_field("bound_bytes", &self.bound_bytes)?;
        let rounded = self.ratio().map(|ratio| (ratio * 1e4).round() / 1e4);
        object.serialize_field("ratio", &rounded)?;
        object.end()
    }
}

/// What moved at one pin, or in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Layers that the registry did not have, all images one after another.
    pub push: Moved,
    /// Layers that a host lacks which has the image's version of the pin before.
    pub pull: Moved,
    /// All layers from the first that differs from the version before: clients that keep layers as chains.
    pub chain: Moved,
    /// The pull of a version with nothing but the image's own paths renewed.
    pub deploy: Moved,
    /// The same for clients that keep layers as chains.
    pub deploy_chain: Moved,
    /// The pull of an image onto a host that has another image of the pin, all ordered pairs.
    pub cross: Moved,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.push += other.push;
        self.pull += other.pull;
        self.chain += other.chain;
        self.deploy += other.deploy;
        self.deploy_chain += other.deploy_chain;
        self.cross += other.cross;
    }
}
