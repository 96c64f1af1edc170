//! The laboratory through its public face: small fleets whose figures can be counted by hand, and the fleet of the
//! fixtures.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

mod documents;
mod fixture;
mod page;
mod properties;
mod replay;
mod support;
