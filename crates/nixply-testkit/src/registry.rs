//! Registries to test against: real ones, one that answers as a test wants, and what stands between them and a client.

mod certificates;
mod child;
mod faults;
mod gate;
mod http;
mod message;
mod nginx;
mod process;
mod proxy;
mod random;
mod recording;
mod relay;
mod serve;
mod tokens;

pub use certificates::{Authority, Identity};
pub use faults::{AnswerFunction, Fault, Phase, Rule};
pub use http::{Answer, Request};
pub use message::{Head, RequestHead};
pub use nginx::Nginx;
pub use process::{RegistryKind, RegistryProcess, RegistrySetup, TEST_PASSWORD, TEST_USER};
pub use proxy::{FaultProxy, Passed};
pub use random::RandomFaults;
pub use recording::RecordingRegistry;
pub use tokens::{TEST_REFRESH_TOKEN, TokenRequest, TokenRules, TokenServer};
