//! Replays a fleet under several planners side by side and counts what moves.

use crate::ReuseError;
use crate::compose::{Image, Version};
use crate::fleet::{Fleet, Images, Pin, Sets};
use crate::planners::Planner;
use crate::run::{Run, Runner};
use nixply_store::StorePath;
use std::collections::BTreeMap;

/// What a replay does beside following the pins.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many versions of each image follow its first at every pin, with nothing but its own paths renewed.
    pub deploys: usize,
    /// NAR sizes of the paths that are added to every image at the last pin, one after another.
    pub leaves_nar_size_bytes: Vec<u64>,
    /// Whether planners are told which paths are an image's own, as a front end with `--volatile` would.
    pub names_own_paths: bool,
    /// What a path counts for where it is not its NAR size: its compressed size where that is known.
    pub path_bytes: BTreeMap<StorePath, u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            deploys: 2,
            leaves_nar_size_bytes: vec![40_000, 1_000_000, 10_000_000],
            names_own_paths: true,
            path_bytes: BTreeMap::new(),
        }
    }
}

/// Looks on while a fleet is replayed: gives the time, hears of progress.
pub trait Watch {
    /// The time since some moment that stays the same, in nanoseconds.
    fn now_nanos(&mut self) -> u64;

    /// A pin begins.
    fn pin_begins(&mut self, _pin: &str) {}
}

/// A watch without hands: every plan takes no time, so that equal replays give equal reports.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoClock;

impl Watch for NoClock {
    fn now_nanos(&mut self) -> u64 {
        0
    }
}

/// Replays a fleet under each planner. The runs stand in the order of the planners.
///
/// At every pin, in order: each image's first version is planned, pushed to a registry that keeps everything, and pulled
/// by a host that has the image's last version of the pin before; then each deploy's versions likewise; then every image
/// of the pin is pulled by a host that has another one. At the last pin every image gets the new leaves.
pub fn replay(
    fleet: &Fleet,
    planners: Vec<Box<dyn Planner>>,
    settings: &Settings,
    watch: &mut dyn Watch,
) -> Result<Vec<Run>, ReuseError> {
    let mut runners: Vec<Runner<'_>> = planners
        .into_iter()
        .map(|planner| Runner::new(planner, fleet.pins.len(), settings))
        .collect();
    let versions_a_pin = settings.deploys + 1;
    for (pin_idx, pin) in fleet.pins.iter().enumerate() {
        watch.pin_begins(&pin.name);
        let images = Image::all(fleet, pin)?;
        let sets = shared_sets(fleet, pin, &images);
        for runner in &mut runners {
            runner.begin_pin(pin_idx, pin, &sets, watch)?;
        }
        for deploy in 0..versions_a_pin {
            for image in &images {
                let number = pin_idx * versions_a_pin + deploy;
                let version = match deploy {
                    0 => image.first_version(number)?,
                    _ if !image.can_deploy() => continue,
                    _ => image.next_version(number, None)?,
                };
                for runner in &mut runners {
                    runner.deploy(pin, &image.name, &version, deploy > 0, watch)?;
                }
            }
        }
        for runner in &mut runners {
            runner.pull_across_images();
        }
        if pin_idx + 1 == fleet.pins.len() {
            insert_leaves(
                pin,
                &images,
                fleet.pins.len() * versions_a_pin,
                settings,
                &mut runners,
            )?;
        }
    }
    Ok(runners.into_iter().map(Runner::finish).collect())
}

/// The sets that a catalog is made of. Where sets are images, an image's own root is in none: a catalog that held it would
/// take it for something that images share.
fn shared_sets(fleet: &Fleet, pin: &Pin, images: &[Image]) -> Sets {
    if matches!(fleet.images, Images::Projects(_)) {
        return pin.sets.clone();
    }
    let below: Sets = images
        .iter()
        .map(|image| (image.name.clone(), image.shared_roots()))
        .filter(|(_, roots)| !roots.is_empty())
        .collect();
    if below.is_empty() {
        pin.sets.clone()
    } else {
        below
    }
}

/// Adds each leaf to the last version of each image; a leaf that is added does not stay.
fn insert_leaves(
    pin: &Pin,
    images: &[Image],
    number: usize,
    settings: &Settings,
    runners: &mut [Runner<'_>],
) -> Result<(), ReuseError> {
    for &bytes in &settings.leaves_nar_size_bytes {
        for image in images {
            let version: Version = image.next_version(number, Some(bytes))?;
            for runner in &mut *runners {
                runner.insert_leaf(pin, &image.name, &version, bytes)?;
            }
        }
    }
    Ok(())
}
