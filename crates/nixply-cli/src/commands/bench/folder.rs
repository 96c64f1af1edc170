//! A folder of pins: `DATE.json` and `DATE.images.json`, and `projects.json` for draws.

use super::reuse::failed;
use crate::error::{CliError, ExitStatus};
use crate::input::read_file;
use crate::text;
use nixply_reuse::{Draws, FleetFile, Pin, read_draws};
use std::collections::BTreeSet;
use std::path::Path;

/// What the files of a pin's package sets end in.
const IMAGES: &str = ".images.json";

/// Whether a folder has the package sets of any pin.
pub(super) fn holds_pins(folder: &Path) -> bool {
    let is_sets = |name: &std::ffi::OsStr| name.to_string_lossy().ends_with(IMAGES);
    std::fs::read_dir(folder)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_sets(&entry.file_name())))
}

/// Every `X.json` that has an `X.images.json`, in the order of names.
pub(super) fn read_folder(folder: &Path) -> Result<FleetFile, CliError> {
    let failed_to_read = |error: &std::io::Error| {
        let message = format!("cannot read `{}`", folder.display());
        CliError::context(ExitStatus::Failed, message, error)
    };
    let mut with_sets = BTreeSet::new();
    let mut with_closure = BTreeSet::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed_to_read(&error))? {
        let entry = entry.map_err(|error| failed_to_read(&error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(pin) = name.strip_suffix(IMAGES) {
            with_sets.insert(pin.to_owned());
        } else if let Some(pin) = name.strip_suffix(".json").filter(|pin| *pin != "projects") {
            with_closure.insert(pin.to_owned());
        }
    }
    let half: Vec<&String> = with_closure.difference(&with_sets).collect();
    if with_sets.is_empty() {
        return Err(no_pins(folder, half.first().copied()));
    }
    for pin in half {
        text::note(
            &format!(
                "`{}` is left out: there is no `{pin}{IMAGES}` beside it",
                folder.join(format!("{pin}.json")).display()
            ),
            None,
        );
    }
    let mut pins = Vec::new();
    for name in with_sets {
        let file = folder.join(format!("{name}.json"));
        if !with_closure.contains(&name) {
            return Err(CliError::new(
                ExitStatus::Input,
                format!(
                    "`{}` is missing: `{name}{IMAGES}` has no closure",
                    file.display()
                ),
            )
            .hint(FORM));
        }
        let closure = read_file(&file)?;
        let sets = read_file(&folder.join(format!("{name}{IMAGES}")))?;
        pins.push(Pin::read(&name, &closure, &sets).map_err(|error| failed(&error))?);
    }
    let projects = folder.join("projects.json");
    let draws = if projects.is_file() {
        let document = projects.display().to_string();
        read_draws(&document, &read_file(&projects)?).map_err(|error| failed(&error))?
    } else {
        Draws::new()
    };
    Ok(FleetFile { pins, draws })
}

/// What the two files of a pin are.
const FORM: &str = "DATE.json holds a closure as `nix path-info --json -r` prints it, DATE.images.json \
                    {\"NAME\": [\"/nix/store/…\"]}";

fn no_pins(folder: &Path, half: Option<&String>) -> CliError {
    let message = match half {
        Some(pin) => format!(
            "`{}` is missing: `{pin}.json` has no package sets",
            folder.join(format!("{pin}{IMAGES}")).display()
        ),
        None => format!(
            "`{}` has no DATE.images.json, and it is no flake",
            folder.display()
        ),
    };
    CliError::new(ExitStatus::Input, message).hint(FORM)
}
