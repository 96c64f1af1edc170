//! The registries, the token server and the fault proxy do what tests rely on.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what it did not expect; clippy knows tests only by their attribute"
)]

mod client;
mod proxy;
mod servers;
