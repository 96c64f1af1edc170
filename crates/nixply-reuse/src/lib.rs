//! The reuse laboratory: what a fleet of images moves over time, under every packer.

mod compose;
mod error;
mod fleet;
mod identity;
mod ledger;
pub mod planners;
mod read;
mod replay;

pub use error::ReuseError;
pub use fleet::{Fleet, Images, Pin, Project, Sets};
pub use planners::Planner;
pub use read::read_projects;
pub use replay::{Moved, Totals, replay};
