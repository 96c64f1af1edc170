//! What can go wrong in the laboratory.

use nixply_pack::PackError;
use nixply_store::{ClosureError, ReadError, StorePathError};

/// Why a fleet could not be read or replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReuseError {
    /// A document is not the JSON that was expected.
    #[error("`{document}` is not {expected}")]
    Json {
        /// What was read.
        document: String,
        /// What was expected.
        expected: &'static str,
        /// Where it departs.
        #[source]
        source: serde_json::Error,
    },
    /// A closure in one of Nix's forms is broken.
    #[error("`{document}` is not a closure")]
    ReadClosure {
        /// What was read.
        document: String,
        /// What is wrong with it.
        #[source]
        source: ReadError,
    },
    /// A text is not a store path.
    #[error("`{document}` names something that is no store path")]
    StorePath {
        /// What was read.
        document: String,
        /// What is wrong with it.
        #[source]
        source: StorePathError,
    },
    /// Records do not make a closure.
    #[error("the records of `{document}` make no closure")]
    Closure {
        /// The pin or the image.
        document: String,
        /// What is wrong with them.
        #[source]
        source: ClosureError,
    },
    /// A project names a set that a pin does not have.
    #[error("project `{project}` names the package set `{set}`, which pin `{pin}` does not have")]
    UnknownSet {
        /// The project.
        project: String,
        /// The set.
        set: String,
        /// The pin.
        pin: String,
    },
    /// A draw has another name.
    #[error("`{document}` has no draw `{draw}`: expected {known}")]
    UnknownDraw {
        /// What was read.
        document: String,
        /// The name that was asked for.
        draw: String,
        /// The names that it has.
        known: String,
    },
    /// A planner could not make a catalog of a pin's package sets.
    #[error("`{planner}` cannot make a catalog of pin `{pin}`")]
    Catalog {
        /// The planner.
        planner: String,
        /// The pin.
        pin: String,
        /// Why.
        #[source]
        source: PackError,
    },
    /// A planner could not plan an image.
    #[error("`{planner}` cannot plan image `{image}` of pin `{pin}`")]
    Pack {
        /// The planner.
        planner: String,
        /// The image.
        image: String,
        /// The pin.
        pin: String,
        /// Why.
        #[source]
        source: PackError,
    },
}
