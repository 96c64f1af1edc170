//! `nixply diff`: what an update moves, and which packages are behind it.

mod describe;
mod packing;
mod report;
mod title;

use crate::contents::{self, Known, Reading, References, references};
use crate::error::{CliError, ExitStatus, output};
use crate::options::{PlanOptions, StoreOptions};
use crate::registries::RegistryOptions;
use crate::stored::OpenArgs;
use crate::text;
use nixply_image::{Comparison, SizeMeasure, compare};
use nixply_layer::Compression;
use std::io::Write as _;

/// Shows what an update moves, and which packages are behind it
///
/// The plan options are for NEW, and for OLD where it is no image and no plan: give what the image is pushed with.
///
/// Exit codes: 0 whether or not the images differ; 1 with --exit-code, if they do; 5 if more would move than --max-push or
/// --max-pull allow.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(crate) struct Args {
    /// The image that is there: a `docker://REF`, an OCI layout, an archive, a plan, or whatever a plan can be made from
    old: String,
    /// The image that is to follow it, likewise
    new: String,
    /// The closure of NEW, for its references, where NEW is an image or a plan: a file, a store path or an installable
    #[arg(long, value_name = "CLOSURE")]
    closure: Option<String>,
    /// Name every package and every layer
    #[arg(long)]
    all: bool,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Read layers that do not say which store paths they hold
    #[arg(long)]
    read_layers: bool,
    /// Exit with 1 if the images differ
    #[arg(long)]
    exit_code: bool,
    /// Fail if a registry that has OLD needs more than this for NEW: bytes, or a number with KiB, MiB, GiB, kB, MB or GB
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    max_push: Option<u64>,
    /// Fail if a client that has OLD needs more than this for NEW
    #[arg(long, value_name = "BYTES", value_parser = byte_count)]
    max_pull: Option<u64>,
    #[command(flatten)]
    plan: PlanOptions,
    #[command(flatten)]
    open: OpenArgs,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    store: StoreOptions,
}

/// Two images and what tells them apart.
#[derive(Debug)]
struct Diff<'a> {
    args: &'a Args,
    old: &'a Known,
    new: &'a Known,
    references: &'a References,
    comparison: &'a Comparison,
}

pub(crate) fn run(args: &Args) -> Result<(), CliError> {
    let plain = Compression::default();
    let closure = args.closure.as_deref().unwrap_or_default();
    let images = [&args.new, &args.old, args.plan.prior(), closure];
    let registries = args.registry.registries(&images)?;
    let reading = Reading {
        open: &args.open,
        registries: &registries,
        plan: &args.plan,
        store: &args.store,
        read_layers: args.read_layers,
    };
    let old = contents::read(&args.old, reading, plain)?;
    // What is planned here is compared as it would be pushed over the old image.
    let compression = old.compression.unwrap_or(plain);
    let mut new = contents::read(&args.new, reading, compression)?;
    contents::check_options(&args.plan, &[(&args.old, &old), (&args.new, &new)])?;
    let references = references(&args.new, &mut new, args.closure.as_deref())?;
    let comparison = compare(&old.contents, &new.contents, references.closure());
    let diff = Diff {
        args,
        old: &old,
        new: &new,
        references: &references,
        comparison: &comparison,
    };
    let text = if args.json {
        report::json(&diff)?
    } else {
        describe::describe(&diff)
    };
    std::io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(|error| output(&error))?;
    verdict(&diff)
}

/// The exit code that was asked for.
fn verdict(diff: &Diff<'_>) -> Result<(), CliError> {
    let limits = [
        ("push", diff.args.max_push, diff.comparison.push),
        ("pull", diff.args.max_pull, diff.comparison.pull),
    ];
    for (what, limit, traffic) in limits {
        if let Some(limit) = limit.filter(|limit| traffic.size_bytes > *limit) {
            let message = format!(
                "{} {} to {what} is more than --max-{what} allows: {}",
                text::size(traffic.size_bytes),
                measure(diff.new.contents.measure),
                text::size(limit),
            );
            return Err(
                CliError::new(ExitStatus::Verification, message).maybe_hint(packing::note(diff))
            );
        }
    }
    if diff.args.exit_code && diff.differ() {
        return Err(CliError::silent(ExitStatus::Failed));
    }
    Ok(())
}

impl Diff<'_> {
    /// Two images with one digest are one image; with two digests they differ in something that nobody looked at.
    fn differ(&self) -> bool {
        match (self.old.contents.digest, self.new.contents.digest) {
            (Some(old), Some(new)) => old != new,
            _ => self.comparison.differ(),
        }
    }
}

/// What a size is, behind the size.
fn measure(measure: SizeMeasure) -> &'static str {
    match measure {
        SizeMeasure::NarSize => "of NAR",
        SizeMeasure::StoredSize => "as stored",
    }
}

/// A number of bytes with an optional unit.
fn byte_count(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim_start() {
        "" | "B" => 1,
        "K" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("expected bytes, or a number with KiB, MiB, GiB, kB, MB or GB".to_owned()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| {
            "expected a whole number of bytes, KiB, MiB or GiB, for example 200MiB".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_counts_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17B", 17),
            ("2K", 2048),
            ("200MiB", 200 << 20),
            ("200 MiB", 200 << 20),
            ("3GB", 3_000_000_000),
        ] {
            assert_eq!(byte_count(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1.5GiB", "-1", "1TiB", "99999999999GiB", "1 2"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
    }
}
