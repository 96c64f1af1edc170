//! The report of a replay: the fleet, how it was replayed, and every run.

use crate::ReuseError;
use crate::fleet::{Fleet, Images};
use crate::replay::Settings;
use crate::run::Run;
use serde::Serialize;

/// What bytes are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ByteKind {
    /// NAR sizes.
    Nar,
    /// Compressed sizes where they are known, NAR sizes elsewhere.
    Compressed {
        /// Paths whose compressed size is known.
        known_paths: usize,
        /// Paths whose compressed size is not known.
        unknown_paths: usize,
    },
}

/// A pin in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PinSummary {
    /// Its name.
    pub name: String,
    /// How many paths its sets hold together.
    pub paths: usize,
    /// Their NAR sizes together.
    pub nar_size_bytes: u64,
    /// How many sets it has.
    pub sets: usize,
}

/// An image in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Its name.
    pub name: String,
    /// The package sets that it is composed of; empty where it is used as it is.
    pub sets: Vec<String>,
}

/// Everything that a replay found, in the schema `nixply.reuse/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `nixply.reuse/1`.
    pub schema: &'static str,
    /// What was replayed, in a few words.
    pub title: String,
    /// The pins, oldest first. Lists of figures a pin stand in this order.
    pub pins: Vec<PinSummary>,
    /// The images.
    pub images: Vec<ImageSummary>,
    /// How many deploys followed each pin.
    pub deploys: usize,
    /// Whether planners were told which paths are an image's own.
    pub names_own_paths: bool,
    /// What bytes are counted in.
    pub bytes: ByteKind,
    /// The runs.
    pub runs: Vec<Run>,
}

impl Report {
    /// Puts a report together.
    #[must_use]
    pub fn new(
        title: &str,
        fleet: &Fleet,
        settings: &Settings,
        bytes: ByteKind,
        runs: Vec<Run>,
    ) -> Self {
        let pins = fleet.pins.iter().map(|pin| PinSummary {
            name: pin.name.clone(),
            paths: pin.closure.paths().len(),
            nar_size_bytes: pin.closure.nar_size_bytes(),
            sets: pin.sets.len(),
        });
        let images = match &fleet.images {
            Images::Projects(projects) => projects
                .iter()
                .map(|project| ImageSummary {
                    name: project.name.clone(),
                    sets: project.sets.clone(),
                })
                .collect(),
            Images::Sets => {
                let names: std::collections::BTreeSet<&String> =
                    fleet.pins.iter().flat_map(|pin| pin.sets.keys()).collect();
                let summary = |name: &String| ImageSummary {
                    name: name.clone(),
                    sets: Vec::new(),
                };
                names.into_iter().map(summary).collect()
            }
        };
        Self {
            schema: "nixply.reuse/1",
            title: title.to_owned(),
            pins: pins.collect(),
            images,
            deploys: settings.deploys,
            names_own_paths: settings.names_own_paths,
            bytes,
            runs,
        }
    }

    /// The numbers of layers that were compared, in the order of the runs; one without a limit where no run has any.
    #[must_use]
    pub fn limits(&self) -> Vec<Option<usize>> {
        let mut limits = Vec::new();
        for limit in self.runs.iter().map(|run| run.max_layers) {
            if limit.is_some() && !limits.contains(&limit) {
                limits.push(limit);
            }
        }
        if limits.is_empty() && !self.runs.is_empty() {
            limits.push(None);
        }
        limits
    }

    /// The runs with so many layers, and those without a limit.
    #[must_use]
    pub fn runs_of(&self, limit: Option<usize>) -> Vec<&Run> {
        let mut runs: Vec<&Run> = Vec::new();
        for run in &self.runs {
            let fits = run.max_layers.is_none() || run.max_layers == limit;
            // A planner without a limit may have run once for each number of layers, always with the same result.
            if fits && !runs.iter().any(|other| other.planner == run.planner) {
                runs.push(run);
            }
        }
        runs
    }

    /// Whether any image was deployed with nothing but its own paths renewed: one that is used as it is and has several
    /// roots has none of its own.
    #[must_use]
    pub fn has_deploys(&self) -> bool {
        let deploys = self.runs.iter().map(|run| run.total.deploy.bound_bytes);
        deploys.max().unwrap_or(0) > 0
    }

    /// The report as JSON, with a newline at its end.
    pub fn to_json(&self) -> Result<String, ReuseError> {
        let text = serde_json::to_string_pretty(self).map_err(|source| ReuseError::Json {
            document: self.title.clone(),
            expected: "a report",
            source,
        })?;
        Ok(text + "\n")
    }
}
