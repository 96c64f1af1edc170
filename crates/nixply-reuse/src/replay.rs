//! Replays a fleet under one planner and counts what moves.

use crate::ReuseError;
use crate::compose::{Base, NewLeaf};
use crate::fleet::Fleet;
use crate::ledger::{Ledger, Stack};
use crate::planners::Planner;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that a planner's images moved, and those that one layer per path would have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Under the planner.
    pub bytes: u64,
    /// With one layer per path: no planner that keeps paths whole does better.
    pub bound_bytes: u64,
}

impl Moved {
    fn add(&mut self, bytes: u64, bound_bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bound_bytes = self.bound_bytes.saturating_add(bound_bytes);
    }

    /// The ratio of both.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown with a few digits")]
    pub fn ratio(&self) -> f64 {
        self.bytes as f64 / self.bound_bytes as f64
    }
}

/// What moved in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Layers that the registry had not, at the first pin.
    pub first_push: Moved,
    /// The same at all later pins.
    pub push: Moved,
    /// Layers that a host with an image's version before lacks.
    pub pull: Moved,
    /// All layers from the first that differs from the version before.
    pub chain: Moved,
    /// Pulls of a version with nothing but private paths renewed.
    pub deploy: Moved,
    /// The same, all layers from the first that differs.
    pub deploy_chain: Moved,
    /// Pulls of an image onto a host that has another image of the pin.
    pub cross: Moved,
    /// Bytes pushed again beyond a new leaf, for each of the three leaves.
    pub insertion: [u64; 3],
    /// The most layers of an image.
    pub layers: usize,
}

/// NAR sizes of the leaves that are added for [`Totals::insertion`].
const LEAVES: [u64; 3] = [40_000, 1_000_000, 10_000_000];

/// Replays a fleet.
pub fn replay(
    fleet: &Fleet,
    planner: &mut dyn Planner,
    deploys: usize,
) -> Result<Totals, ReuseError> {
    let mut totals = Totals::default();
    let mut ledger = Ledger::default();
    let mut registry = (BTreeSet::new(), BTreeSet::new());
    let mut last: BTreeMap<String, Stack> = BTreeMap::new();
    for (pin_idx, pin) in fleet.pins.iter().enumerate() {
        let failed = |image: &str, packer: &dyn Planner, source| ReuseError::Pack {
            packer: packer.name().to_owned(),
            image: image.to_owned(),
            pin: pin.name.clone(),
            source,
        };
        if let Err(source) = planner.begin_pin(pin) {
            return Err(failed("", planner, source));
        }
        let images = Base::all(fleet, pin)?;
        let mut of_pin = Vec::new();
        for deploy in 0..=deploys {
            for image in &images {
                let version = image.version(pin_idx * (deploys + 1) + deploy, None)?;
                let layers = match planner.plan(&image.name, &version.closure, &version.volatile) {
                    Ok(layers) => layers,
                    Err(source) => return Err(failed(&image.name, planner, source)),
                };
                totals.layers = totals.layers.max(layers.len());
                let stack = ledger.stack(&version.closure, &layers);
                let push = missing(&ledger, &stack, &registry.0, &registry.1);
                registry.0.extend(stack.layers.iter().copied());
                registry.1.extend(stack.paths.iter().copied());
                if deploy == 0 {
                    let push_total = if pin_idx == 0 {
                        &mut totals.first_push
                    } else {
                        &mut totals.push
                    };
                    push_total.add(push.0, push.1);
                }
                if let Some(before) = last.get(&image.name) {
                    let layers: BTreeSet<usize> = before.layers.iter().copied().collect();
                    let paths: BTreeSet<usize> = before.paths.iter().copied().collect();
                    let pull = missing(&ledger, &stack, &layers, &paths);
                    let same = before
                        .layers
                        .iter()
                        .zip(&stack.layers)
                        .take_while(|(a, b)| a == b)
                        .count();
                    let chain = stack.layers[same..]
                        .iter()
                        .map(|&l| ledger.layer_bytes(l))
                        .sum();
                    if deploy == 0 {
                        totals.pull.add(pull.0, pull.1);
                        totals.chain.add(chain, pull.1);
                    } else {
                        totals.deploy.add(pull.0, pull.1);
                        totals.deploy_chain.add(chain, pull.1);
                    }
                }
                if deploy == 0 {
                    of_pin.push(stack.clone());
                }
                last.insert(image.name.clone(), stack);
            }
        }
        for (x_idx, x) in of_pin.iter().enumerate() {
            let layers: BTreeSet<usize> = x.layers.iter().copied().collect();
            let paths: BTreeSet<usize> = x.paths.iter().copied().collect();
            for (y_idx, y) in of_pin.iter().enumerate() {
                if x_idx != y_idx {
                    let (bytes, bound) = missing(&ledger, y, &layers, &paths);
                    totals.cross.add(bytes, bound);
                }
            }
        }
        if pin_idx + 1 == fleet.pins.len() {
            for (i, leaf) in LEAVES.into_iter().enumerate() {
                for (image, before) in images.iter().zip(&of_pin) {
                    let version = image.version(
                        (pin_idx + 1) * (deploys + 1),
                        Some(NewLeaf {
                            nar_size_bytes: leaf,
                        }),
                    )?;
                    let layers =
                        match planner.plan(&image.name, &version.closure, &version.volatile) {
                            Ok(layers) => layers,
                            Err(source) => return Err(failed(&image.name, planner, source)),
                        };
                    let stack = ledger.stack(&version.closure, &layers);
                    let layers: BTreeSet<usize> = before.layers.iter().copied().collect();
                    let paths: BTreeSet<usize> = before.paths.iter().copied().collect();
                    let (bytes, bound) = missing(&ledger, &stack, &layers, &paths);
                    totals.insertion[i] += bytes - bound;
                }
            }
        }
    }
    Ok(totals)
}

/// The bytes of the layers, and of the paths, that somebody lacks.
fn missing(
    ledger: &Ledger,
    stack: &Stack,
    layers: &BTreeSet<usize>,
    paths: &BTreeSet<usize>,
) -> (u64, u64) {
    let new_layers = stack.layers.iter().filter(|layer| !layers.contains(layer));
    let new_paths = stack.paths.iter().filter(|path| !paths.contains(path));
    (
        new_layers.map(|&layer| ledger.layer_bytes(layer)).sum(),
        new_paths.map(|&path| ledger.path_bytes(path)).sum(),
    )
}
