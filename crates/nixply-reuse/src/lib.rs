//! The reuse laboratory: what a fleet of images moves over time, under every packer.

mod compose;
mod error;
mod figures;
mod fleet;
mod identity;
mod ledger;
mod moved_layers;
pub mod planners;
mod read;
mod replay;
mod run;

pub use error::ReuseError;
pub use figures::{Figures, Moved};
pub use fleet::{Fleet, Images, Pin, Project, Sets};
pub use moved_layers::MovedLayers;
pub use planners::Planner;
pub use read::read_projects;
pub use replay::{NoClock, Settings, Watch, replay};
pub use run::{Insertion, Run};
