//! The command as people meet it: its help, its output, its errors and exit codes, and what it makes.

mod errors;
mod help;
mod images;
mod plan;
mod registry;
mod support;
