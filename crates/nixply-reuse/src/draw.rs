//! Composes projects out of package sets by a seed.

use crate::fleet::{Pin, Project};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// A project takes so many sets at least, and up to [`SETS_SPREAD`] - 1 more: 4 to 12, what projects of real fleets take.
const SETS_LEAST: u64 = 4;
const SETS_SPREAD: u64 = 9;

/// Applications are so large at least, and up to [`APP_SPREAD_BYTES`] larger.
const APP_LEAST_BYTES: u64 = 1_000_000;
const APP_SPREAD_BYTES: u64 = 32_000_000;

/// Composes so many projects of the sets that every pin has. Equal seeds and sets give equal projects.
#[must_use]
pub fn draw_projects(pins: &[Pin], seed: u64, projects: usize) -> Vec<Project> {
    let mut sets: Option<BTreeSet<&String>> = None;
    for pin in pins {
        let of_pin: BTreeSet<&String> = pin.sets.keys().collect();
        sets = Some(match sets {
            None => of_pin,
            Some(before) => before.intersection(&of_pin).copied().collect(),
        });
    }
    let sets = sets.unwrap_or_default();
    let project = |number: usize| {
        let name = format!("project{number:02}");
        let count = SETS_LEAST + die(seed, &[&name, "sets"]) % SETS_SPREAD;
        let mut drawn: Vec<(u64, &String)> = sets
            .iter()
            .map(|&set| (die(seed, &[&name, "set", set]), set))
            .collect();
        drawn.sort_unstable();
        drawn.truncate(usize::try_from(count).unwrap_or(usize::MAX));
        let mut names: Vec<String> = drawn.into_iter().map(|(_, set)| set.clone()).collect();
        names.sort_unstable();
        Project {
            sets: names,
            app_nar_size_bytes: APP_LEAST_BYTES + die(seed, &[&name, "app"]) % APP_SPREAD_BYTES,
            name,
        }
    };
    (0..projects).map(project).collect()
}

/// A number that the seed and some words decide.
fn die(seed: u64, words: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for word in words {
        // Lengths keep words apart.
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (first, _) = digest.split_at(8);
    first
        .iter()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}
