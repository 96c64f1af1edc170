//! One planner's part in a replay.

use crate::ReuseError;
use crate::compose::Version;
use crate::figures::{Figures, Moved};
use crate::fleet::{Pin, Sets};
use crate::ledger::{Ledger, Stack};
use crate::moved_layers::{MovedLayers, Movements};
use crate::planners::Planner;
use crate::replay::{Settings, Watch};
use nixply_pack::PackError;
use nixply_store::PathIdx;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a fleet moved under one planner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The planner.
    pub planner: String,
    /// The most layers of store paths that it might use; none where it has no limit.
    pub max_layers: Option<usize>,
    /// All pins together. The pushes of the first pin stand apart, in `first_push`, unless it is the only one: there
    /// everything is new.
    pub total: Figures,
    /// The pushes of the first pin.
    pub first_push: Moved,
    /// Each pin.
    pub pins: Vec<Figures>,
    /// What new leaves made move.
    pub insertions: Vec<Insertion>,
    /// The most layers of any image.
    pub most_layers: usize,
    /// The layers of the first versions of all images, together.
    pub layers: usize,
    /// How many plans `layers` counts.
    pub layered_plans: usize,
    /// The layers of updates.
    pub moved_layers: Vec<MovedLayers>,
    /// How many plans were made and timed.
    pub plans: u32,
    /// The time that they took together, in nanoseconds.
    pub plan_nanos: u64,
    /// The time that catalogs took together, in nanoseconds.
    pub catalog_nanos: u64,
}

/// What a new leaf made move: a path of an image's own that nothing but its environment refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Insertion {
    /// The NAR size of the leaf.
    pub leaf_nar_size_bytes: u64,
    /// How many images got it.
    pub images: u64,
    /// Bytes that moved again beyond it and the image's own paths, all images together.
    pub again_bytes: u64,
}

impl Insertion {
    /// The mean of an image.
    #[must_use]
    pub fn again_bytes_an_image(&self) -> Option<u64> {
        self.again_bytes.checked_div(self.images)
    }
}

/// A planner at work.
pub(crate) struct Runner<'a> {
    planner: Box<dyn Planner>,
    settings: &'a Settings,
    ledger: Ledger,
    registry_layers: BTreeSet<usize>,
    registry_paths: BTreeSet<usize>,
    /// The last version of each image.
    last: BTreeMap<String, Stack>,
    /// The first versions of the pin.
    of_pin: Vec<Stack>,
    pin_idx: usize,
    movements: Movements,
    run: Run,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(planner: Box<dyn Planner>, pins: usize, settings: &'a Settings) -> Self {
        let insertion = |&leaf_nar_size_bytes| Insertion {
            leaf_nar_size_bytes,
            images: 0,
            again_bytes: 0,
        };
        Self {
            run: Run {
                planner: planner.name().to_owned(),
                max_layers: planner.max_layers(),
                total: Figures::default(),
                first_push: Moved::default(),
                pins: vec![Figures::default(); pins],
                insertions: settings
                    .leaves_nar_size_bytes
                    .iter()
                    .map(insertion)
                    .collect(),
                most_layers: 0,
                layers: 0,
                layered_plans: 0,
                moved_layers: Vec::new(),
                plans: 0,
                plan_nanos: 0,
                catalog_nanos: 0,
            },
            planner,
            settings,
            ledger: Ledger::default(),
            registry_layers: BTreeSet::new(),
            registry_paths: BTreeSet::new(),
            last: BTreeMap::new(),
            of_pin: Vec::new(),
            pin_idx: 0,
            movements: Movements::new(pins),
        }
    }

    pub(crate) fn begin_pin(
        &mut self,
        pin_idx: usize,
        pin: &Pin,
        sets: &Sets,
        watch: &mut dyn Watch,
    ) -> Result<(), ReuseError> {
        self.pin_idx = pin_idx;
        self.of_pin.clear();
        let start = watch.now_nanos();
        self.planner
            .begin_pin(&pin.closure, sets)
            .map_err(|source| ReuseError::Catalog {
                planner: self.run.planner.clone(),
                pin: pin.name.clone(),
                source: Box::new(source),
            })?;
        add_nanos(&mut self.run.catalog_nanos, start, watch.now_nanos());
        Ok(())
    }

    /// Plans, pushes and pulls a version.
    pub(crate) fn deploy(
        &mut self,
        pin: &Pin,
        image: &str,
        version: &Version,
        is_deploy: bool,
        watch: &mut dyn Watch,
    ) -> Result<(), ReuseError> {
        let start = watch.now_nanos();
        let layers = self.plan(pin, image, version)?;
        add_nanos(&mut self.run.plan_nanos, start, watch.now_nanos());
        self.run.plans += 1;
        let stack = self.stack(version, &layers);
        let push = self.push(&stack);
        let figures = &mut self.run.pins[self.pin_idx];
        if !is_deploy {
            figures.push += push;
            self.run.most_layers = self.run.most_layers.max(layers.len());
            self.run.layers += layers.len();
            self.run.layered_plans += 1;
        }
        if let Some(before) = self.last.get(image) {
            let pull = pull(&self.ledger, before, &stack);
            let chain = Moved {
                bytes: self.ledger.above_first_change(before, &stack),
                ..pull
            };
            if is_deploy {
                figures.deploy += pull;
                figures.deploy_chain += chain;
            } else {
                figures.pull += pull;
                figures.chain += chain;
                self.movements
                    .add(self.pin_idx, &self.ledger, before, &stack);
            }
        }
        if !is_deploy {
            self.of_pin.push(stack.clone());
        }
        self.last.insert(image.to_owned(), stack);
        Ok(())
    }

    /// What the registry lacks, which it then has.
    fn push(&mut self, stack: &Stack) -> Moved {
        let push = Moved {
            bytes: self
                .ledger
                .missing_layers(stack, |layer| self.registry_layers.contains(&layer)),
            bound_bytes: self
                .ledger
                .missing_paths(stack, |path| self.registry_paths.contains(&path)),
        };
        self.registry_layers.extend(&stack.layers);
        self.registry_paths.extend(&stack.paths);
        push
    }

    /// Pulls each image of the pin onto a host that has another.
    pub(crate) fn pull_across_images(&mut self) {
        let cross = &mut self.run.pins[self.pin_idx].cross;
        for (here, host) in self.of_pin.iter().enumerate() {
            for (there, image) in self.of_pin.iter().enumerate() {
                if here != there {
                    *cross += pull(&self.ledger, host, image);
                }
            }
        }
    }

    /// Notes what a version moves that has a leaf which the image's last version has not.
    pub(crate) fn insert_leaf(
        &mut self,
        pin: &Pin,
        image: &str,
        version: &Version,
        leaf_nar_size_bytes: u64,
    ) -> Result<(), ReuseError> {
        let Some(before) = self.last.get(image).cloned() else {
            return Ok(());
        };
        let layers = self
            .planner
            .plan_apart(image, &version.closure, self.own(version));
        let layers = layers.map_err(|source| self.cannot_pack(pin, image, source))?;
        let stack = self.stack(version, &layers);
        let moved = pull(&self.ledger, &before, &stack);
        let mut insertions = self.run.insertions.iter_mut();
        let this = insertions.find(|one| one.leaf_nar_size_bytes == leaf_nar_size_bytes);
        if let Some(insertion) = this {
            insertion.images += 1;
            insertion.again_bytes = insertion.again_bytes.saturating_add(moved.extra_bytes());
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Run {
        for (idx, figures) in self.run.pins.iter().enumerate() {
            self.run.total += *figures;
            if idx == 0 {
                self.run.first_push = figures.push;
            }
            if idx == 1 {
                self.run.total.push = figures.push;
            }
        }
        self.run.moved_layers = self.movements.finish();
        self.run
    }

    fn plan(
        &mut self,
        pin: &Pin,
        image: &str,
        version: &Version,
    ) -> Result<Vec<Vec<PathIdx>>, ReuseError> {
        let own = self.own(version);
        let layers = self.planner.plan(image, &version.closure, own);
        layers.map_err(|source| self.cannot_pack(pin, image, source))
    }

    /// What the planner is told of an image's own paths.
    fn own<'v>(&self, version: &'v Version) -> &'v [PathIdx] {
        if self.settings.names_own_paths {
            &version.own
        } else {
            &[]
        }
    }

    fn stack(&mut self, version: &Version, layers: &[Vec<PathIdx>]) -> Stack {
        let bytes = |idx| {
            let info = version.closure.info(idx);
            let path = match &version.renewed {
                Some((new, old)) if *new == info.path => old,
                _ => &info.path,
            };
            let known = self.settings.path_bytes.get(path);
            known.copied().unwrap_or(info.nar_size_bytes)
        };
        let numbers = self.ledger.number_paths(&version.closure, bytes);
        self.ledger.stack(&numbers, layers)
    }

    fn cannot_pack(&self, pin: &Pin, image: &str, source: PackError) -> ReuseError {
        ReuseError::Plan {
            planner: self.run.planner.clone(),
            image: image.to_owned(),
            pin: pin.name.clone(),
            source,
        }
    }
}

/// What a host that has one image pulls for another.
fn pull(ledger: &Ledger, host: &Stack, image: &Stack) -> Moved {
    Moved {
        bytes: ledger.missing_layers(image, |layer| host.has_layer(layer)),
        bound_bytes: ledger.missing_paths(image, |path| host.has_path(path)),
    }
}

fn add_nanos(sum: &mut u64, start: u64, end: u64) {
    *sum = sum.saturating_add(end.saturating_sub(start));
}
