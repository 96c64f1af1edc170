//! One file a command.

pub(crate) mod base;
pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod catalog;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod index;
pub(crate) mod inspect;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod push;
pub(crate) mod stream;
pub(crate) mod verify;
