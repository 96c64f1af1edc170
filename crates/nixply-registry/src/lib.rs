//! Pushes images to a registry and reads them back (OCI distribution-spec v1.1.1).
//!
//! # Duty
//!
//! This crate owns everything between an [`Image`](nixply_oci::Image) and a registry: credentials, tokens, the order
//! of requests, uploads while a layer is being made, and the words for what went wrong. It knows no Nix and no store:
//! layers are lazy, repeatable bytes to it.
//!
//! # Invariants
//!
//! - No byte of a layer is made whose record is known and whose digest the registry already has.
//! - Blobs go first, then the config, then the manifest by digest, then the tags in the order given. A push that fails
//!   has moved no tag, unless it is the tag itself that failed, which then leaves the earlier ones moved.
//! - Memory is bounded by [`PushOptions`], not by the size of a layer.
//! - What is read is checked against the digest that named it before it ends.
//! - No password, token or query of a URL stands in an error or in the `Debug` form of a value.
//! - The public functions block on the client's runtime; they must not be called from inside an asynchronous task.
//!
//! # Design
//!
//! [`push`] runs two kinds of threads: makers, which turn layers into bytes, and senders, which speak HTTP. A
//! scheduler hands work to both, biggest layer first. All that is done with registries goes through one [`Client`]:
//! connections, tokens, retries and limits are its business (`docs/decisions/0007-own-client.md`).

#![expect(dead_code, reason = "the engine does not mount, resume and spool yet")]

mod authenticate;
mod blob;
mod buffer;
mod challenge;
mod client;
mod credentials;
mod error;
mod host;
mod keychain;
mod limit;
mod outgoing;
mod push;
mod read;
mod records;
mod redact;
mod refusal;
mod report;
mod repository;
mod request;
mod retry;
mod schedule;
mod stream_upload;
mod token;
mod transport;
mod upload;

pub use client::{Client, ClientOptions, RequestEvent, RequestObserver, Traffic};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use keychain::{
    AuthFileFormat, AuthFileSource, ConfiguredKeychain, CredentialsError, FixedKeychain,
    GivenCredentials, HelperPrograms, KeptIn, Keychain, KeychainSources, LoginFile, LoginKey,
};
pub use push::push;
pub use read::RegistryImage;
pub use records::read_records;
pub use refusal::{ApiError, Refusal, Subject};
pub use report::{
    LayerOutcome, PushEvent, PushObserver, PushOptions, PushReport, PushedLayer, SilentObserver,
};
