//! Registries to test against: the real one, and one that answers as a test wants.

mod http;
mod process;
mod recording;

pub use http::{Answer, Request};
pub use process::{RegistryProcess, TEST_PASSWORD, TEST_USER};
pub use recording::RecordingRegistry;
