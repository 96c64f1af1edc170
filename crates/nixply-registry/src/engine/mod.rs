//! The push engine: what becomes of each layer, and who does it.
//!
//! One thread runs a future for every layer, biggest first ([`settle`]); a few threads make layers ([`makers`]). A
//! future asks the repository, has the layer mounted, or has it made and sends it. At most twice as many layers as there
//! are makers have bytes in memory; how many requests run at once is the client's affair.

mod counted;
mod group;
mod makers;
mod publish;
mod send;
mod settle;
mod spool;

pub(crate) use group::{Group, Settled};
pub(crate) use makers::{Made, Makers, Purpose};
pub(crate) use publish::publish;
pub(crate) use settle::Engine;
pub(crate) use spool::{Spool, SpooledLayer};
