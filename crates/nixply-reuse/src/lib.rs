//! The reuse laboratory: what a fleet of images moves over time, under every packer.

mod compose;
mod draw;
mod error;
mod figures;
mod fleet;
mod fleet_file;
mod identity;
mod ledger;
mod moved_layers;
mod page;
pub mod planners;
mod read;
mod replay;
mod report;
mod run;

pub use draw::draw_projects;
pub use error::ReuseError;
pub use figures::{Figures, Moved};
pub use fleet::{Draws, Fleet, Images, Pin, Project, Sets};
pub use fleet_file::FleetFile;
pub use moved_layers::MovedLayers;
pub use page::page;
pub use planners::Planner;
pub use read::read_draws;
pub use replay::{NoClock, Settings, Watch, replay};
pub use report::{ByteKind, ImageSummary, PinSummary, Report};
pub use run::{Insertion, Run};
