//! Store paths of a closure as people name them, in an option or in a field of a specification.

use crate::error::{CliError, ExitStatus};
use crate::text;
use nixply_image::Package;
use nixply_store::{Closure, StoreDir, StorePath};

/// How many paths of the closure are named for one that it does not hold.
const MAX_NEAR: usize = 5;

/// Where paths are named.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given {
    /// An option of the command line, with its dashes.
    Option(&'static str),
    /// A field of the specification.
    Field(&'static str),
}

impl Given {
    fn wrong(self, message: &str) -> CliError {
        match self {
            Self::Option(name) => CliError::new(ExitStatus::Usage, format!("{name}: {message}")),
            Self::Field(name) => {
                CliError::new(ExitStatus::Input, format!("field `{name}`: {message}"))
            }
        }
    }
}

/// Reads store paths, each whole or as its base name. With a closure it must hold them.
pub(crate) fn read(
    given: Given,
    texts: &[String],
    store_dir: &StoreDir,
    closure: Option<&Closure>,
) -> Result<Vec<StorePath>, CliError> {
    let read = |text: &String| {
        let near = || closure.and_then(|closure| near(closure, text));
        let path = store_dir.parse(text).or_else(|_| StorePath::new(text));
        let path = path.map_err(|_| {
            given
                .wrong(&format!(
                    "`{text}` is no store path: expected `{store_dir}/HASH-NAME` or `HASH-NAME`"
                ))
                .maybe_hint(near())
        })?;
        if closure.is_some_and(|closure| closure.find(&path).is_none()) {
            return Err(given
                .wrong(&format!("`{path}` is not in the closure"))
                .maybe_hint(near()));
        }
        Ok(path)
    };
    texts.iter().map(read).collect()
}

/// The paths of a closure that a text may mean: those that are called so, or else those with the text in their names.
fn near(closure: &Closure, text: &str) -> Option<String> {
    let base_name = text.trim_end_matches('/').rsplit('/').next()?;
    // Of another version the package's name is the same.
    let name = StorePath::new(base_name).map_or_else(
        |_| base_name.to_owned(),
        |path| Package::of_name(path.name()).name,
    );
    if name.is_empty() {
        return None;
    }
    let called =
        |path: &&StorePath| path.name() == name || Package::of_name(path.name()).name == name;
    let paths = || closure.paths().iter().map(|info| &info.path);
    let mut found: Vec<&StorePath> = paths().filter(called).collect();
    if found.is_empty() {
        found = paths().filter(|path| path.name().contains(&name)).collect();
    }
    let more = match found.len().saturating_sub(MAX_NEAR) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    found.truncate(MAX_NEAR);
    (!found.is_empty()).then(|| format!("the closure holds {}{more}", text::quoted(&found)))
}
