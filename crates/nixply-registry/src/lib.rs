//! Pushes images to a registry and reads them back (OCI distribution-spec v1.1.1).
//!
//! # Duty
//!
//! This crate owns everything between an [`Image`](nixply_oci::Image) and a registry: credentials, tokens, records of what
//! layers are, the order of requests, uploads while a layer is being made, and the words for what went wrong. It knows no
//! Nix and no store: layers are lazy, repeatable bytes to it.
//!
//! # Invariants
//!
//! - No byte of a layer is made whose record is known and which the registry has, in this repository or in another one
//!   that is known.
//! - Blobs go first, then the config, then the manifest by digest, then the tags in the order given. A push that fails
//!   has moved no tag; if it is a tag that failed, those before it are moved back.
//! - Records spare work and decide nothing: what the registry tells and what was made count more.
//! - Memory is bounded by [`PushOptions`], not by the size of a layer.
//! - What is read is checked against the digest that named it before it ends.
//! - No password, token or query of a URL stands in an error or in the `Debug` form of a value.
//! - The public functions block and own their runtime; they must not be called from inside an asynchronous task.
//!
//! # Design
//!
//! [`Survey::take`] asks what is known of an image's layers; [`push`] runs a future for every layer on one thread and
//! the makers, which turn layers into bytes, on others. All that is done with registries goes through one [`Client`]:
//! connections, tokens, retries and limits are its business (`docs/decisions/0007-own-client.md`).

mod authenticate;
mod blob;
mod buffer;
mod challenge;
mod client;
mod credentials;
mod engine;
mod error;
mod exchange;
mod host;
mod host_certificates;
mod image_index;
mod interrupt;
mod keychain;
mod known_upload;
mod limit;
mod log_in;
mod options;
mod outgoing;
mod payload;
mod push;
mod read;
mod records;
mod redact;
mod refusal;
mod report;
mod repository;
mod request;
mod retry;
mod segment;
mod send;
mod stream_upload;
mod tags;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod upload;

pub use blob::open_layer;
pub use client::{Client, ClientOptions, RequestEvent, RequestObserver, Traffic};
pub use credentials::Credentials;
pub use error::RegistryError;
pub use image_index::{IndexOptions, IndexPart, IndexReport, create_index};
pub use interrupt::Interrupt;
pub use keychain::{
    AuthFileFormat, AuthFileSource, ConfiguredKeychain, CredentialsError, FixedKeychain,
    GivenCredentials, HelperPrograms, KeptIn, Keychain, KeychainSources, LoginFile, LoginKey,
};
pub use log_in::LoginCheck;
pub use options::{LAYER_INDEX_TAG, LayerIndexPlace, PushOptions};
pub use push::{push, push_surveyed};
pub use read::{RegistryImage, StoredIndex, read_index};
pub use records::{KnownLayer, RecordStore, StoredRecord, Survey};
pub use refusal::{ApiError, Refusal, Subject};
pub use report::{
    LayerOutcome, PushEvent, PushObserver, PushReport, PushedLayer, RecordSource, SilentObserver,
};
