//! A fleet over time: what there is to package at each pin, and the images that are made of it.

use nixply_store::{Closure, StorePath};
use std::collections::BTreeMap;

/// Package sets by name, each the store paths that it asks for; its closure is what they reach.
pub type Sets = BTreeMap<String, Vec<StorePath>>;

/// Projects by the name of the draw that composed them.
pub type Draws = BTreeMap<String, Vec<Project>>;

/// The packages at one moment: one revision of nixpkgs, one update.
#[derive(Debug, Clone)]
pub struct Pin {
    /// What tables call it: a date, a revision.
    pub name: String,
    /// Every path of every set.
    pub closure: Closure,
    /// What a fleet's catalog is made from.
    pub sets: Sets,
}

/// An image that is composed of package sets and of an application of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The name, equal at every pin.
    pub name: String,
    /// The names of its sets.
    pub sets: Vec<String>,
    /// The NAR size of the application.
    pub app_nar_size_bytes: u64,
}

/// Where the images of a fleet come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Images {
    /// Each project is an image: the closures of its sets, an application, and an environment above all.
    Projects(Vec<Project>),
    /// Each set is an image, its closure as it is.
    Sets,
}

/// Pins in the order of time, and what is made of them.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// The pins, oldest first.
    pub pins: Vec<Pin>,
    /// The images of every pin.
    pub images: Images,
}
