//! Which level suits a fleet.

/// Placeholder.
#[derive(Debug, Clone, Copy)]
pub struct LevelProposal;
