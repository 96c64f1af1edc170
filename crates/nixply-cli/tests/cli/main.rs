//! The command as people meet it: its help, its output, its errors and exit codes, and what it makes.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as expected"
)]

mod base;
mod base_accounts;
mod base_tree;
mod build;
mod cache;
mod catalog;
mod credentials;
mod diff;
mod errors;
mod explain;
mod fleet;
mod help;
mod images;
mod index;
mod killed;
mod login;
mod login_tools;
mod network;
mod other_tools;
mod outputs;
mod over_base;
mod plan;
mod pull_image;
mod push;
mod registry;
mod reuse;
mod secrets;
mod signals;
mod support;
mod terminal;
mod weeks;
