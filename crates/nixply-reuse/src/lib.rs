//! The reuse laboratory: what a fleet of images moves over time, under every packer.
//!
//! # Duty
//!
//! A [`Fleet`] is a list of pins (what there is to package at one moment) and the images that are made of it. [`replay`]
//! plans every image at every pin under several planners ([`planners`]), follows a registry and hosts through time, and
//! counts the bytes that move; a [`Report`] is what it found, as JSON and as one HTML [`page`]. The crate reads bytes that
//! somebody else read ([`Pin::read`], [`read_draws`], [`FleetFile`]) and learns the time from a [`Watch`].
//!
//! # What is counted
//!
//! A layer is its set of store paths, and weighs what its paths weigh. Every figure stands beside what one layer per path
//! would have moved ([`Moved`]): no packing that keeps paths whole moves less. `docs/reuse.md` defines each measure.
//!
//! # Invariants
//!
//! * Equal fleets, planners and settings give equal reports, times aside.
//! * No figure is below its bound.

mod compose;
mod draw;
mod error;
mod figures;
mod fleet;
mod fleet_file;
pub mod gates;
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
