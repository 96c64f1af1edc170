//! What can go wrong in the laboratory.

use nixply_pack::{CatalogError, PackError};
use nixply_store::{ClosureError, ReadError, StoreDir, StoreDirError, StorePath, StorePathError};

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
    /// A document is of another schema.
    #[error("`{document}` has the schema `{schema}`: expected `{expected}`")]
    Schema {
        /// What was read.
        document: String,
        /// The schema that it names.
        schema: String,
        /// The schema that is known.
        expected: &'static str,
    },
    /// A document names a position outside its list of paths.
    #[error("`{document}` names path {position} of {paths}, counted from 0")]
    Position {
        /// What was read.
        document: String,
        /// The position.
        position: usize,
        /// How many paths there are.
        paths: usize,
    },
    /// A closure in one of Nix's forms is broken.
    #[error("`{document}` is not a closure")]
    ReadClosure {
        /// What was read.
        document: String,
        /// What is wrong with it.
        #[source]
        source: Box<ReadError>,
    },
    /// A text is not a store directory.
    #[error("`{document}` names no store directory")]
    StoreDir {
        /// What was read.
        document: String,
        /// What is wrong with it.
        #[source]
        source: StoreDirError,
    },
    /// The images of a pin lie in several store directories.
    #[error(
        "the paths of `{image}` lie in `{store_dir}`: expected `{expected}`, as those of the other images"
    )]
    StoreDirs {
        /// The image.
        image: String,
        /// Where its paths lie.
        store_dir: StoreDir,
        /// Where the paths of the images before it lie.
        expected: StoreDir,
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
        source: Box<ClosureError>,
    },
    /// Two pins say different things of one path.
    #[error(
        "pin `{pin}` has `{path}` with another NAR size or other references than a pin before it"
    )]
    Disagree {
        /// The path.
        path: StorePath,
        /// The later pin.
        pin: String,
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
    /// A planner could not make a catalog of a pin's package sets.
    #[error("`{planner}` cannot make a catalog of pin `{pin}`")]
    Catalog {
        /// The planner.
        planner: String,
        /// The pin.
        pin: String,
        /// Why.
        #[source]
        source: Box<CatalogError>,
    },
    /// A planner could not plan an image.
    #[error("`{planner}` cannot plan image `{image}` of pin `{pin}`")]
    Plan {
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
