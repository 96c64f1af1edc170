//! What a path in the store holds that was given as `IMAGE`, by itself or as the output of an installable.
//!
//! An output that an image is made from, a plan for one, is that, and one that is an image is refused. Anything else, a
//! package's directory or a file of whatever content, is the root of a closure. Files can be of any size, so that as little
//! is read as tells.

use crate::commands::program;
use crate::document::Document;
use crate::error::{CliError, ExitStatus};
use crate::input::{Input, cannot_read, read_bytes, read_file};
use crate::nix;
use crate::other_tools;
use crate::stored::layout_open_error;
use nixply_image::{ImageSpec, Plan};
use nixply_layout::is_image;
use nixply_store::{Closure, ClosureForm, read_closure};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Enough for the first line of a closure, and for the header of a tar.
const HEAD_BYTES: u64 = 512;

/// The scripts and programs that name an image are a few lines.
const SCRIPT_MAX_BYTES: u64 = 1 << 16;

/// What an installable stands for, which must be built: its output where that says what an image is made from, else the
/// output's closure.
pub(crate) fn of_installable(installable: &str) -> Result<Input, CliError> {
    let closure = nix::closure_of(&[installable.to_owned()])?;
    match only_root(&closure) {
        // In a store of another place the path may not be there.
        Some(path) if path.exists() => {
            let input = of_path(installable, &path)?;
            Ok(input.unwrap_or(Input::Closure(closure)))
        }
        _ => Ok(Input::Closure(closure)),
    }
}

/// The path that leads to all others; of several outputs none does.
fn only_root(closure: &Closure) -> Option<PathBuf> {
    let mut roots = closure
        .indices()
        .filter(|&idx| closure.referrers(idx).len() == 0);
    let only = roots.next().filter(|_| roots.next().is_none())?;
    let path = &closure.info(only).path;
    Some(PathBuf::from(closure.store_dir().display(path)))
}

/// What a file or a directory in the store says that an image is made from; none where it says nothing.
pub(crate) fn of_path(image: &str, path: &Path) -> Result<Option<Input>, CliError> {
    if is_image(path).map_err(|error| layout_open_error(&error))? {
        return Err(image_instead(image, path));
    }
    if path.is_dir() {
        return match only_program(path) {
            Some(program) => of_file(image, &program),
            None => Ok(None),
        };
    }
    of_file(image, path)
}

/// The file of a directory that holds one program in `bin` and nothing else, as `push` and `load` of an image do.
fn only_program(directory: &Path) -> Option<PathBuf> {
    let only = |directory: &Path| {
        let mut entries = fs::read_dir(directory).ok()?;
        let entry = entries.next()?.ok()?;
        entries.next().is_none().then(|| entry.path())
    };
    let bin = only(directory).filter(|bin| bin.ends_with("bin"))?;
    only(&bin).filter(|file| file.is_file())
}

fn of_file(image: &str, path: &Path) -> Result<Option<Input>, CliError> {
    let head = read_start(path, HEAD_BYTES)?;
    let bytes = match head.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => read_file(path)?,
        Some(b'/') if ClosureForm::detect(&head).is_ok() => read_file(path)?,
        Some(b'#') => read_start(path, SCRIPT_MAX_BYTES)?,
        _ => return Ok(None),
    };
    if Document::of(&bytes) == Some(Document::Manifest) {
        return Err(manifest_instead(image, path));
    }
    if !is_known(&bytes) {
        return Ok(None);
    }
    read_bytes(&bytes, image, path.parent().unwrap_or(Path::new("/"))).map(Some)
}

fn is_known(bytes: &[u8]) -> bool {
    let is_closure = match ClosureForm::detect(bytes) {
        // A list of store paths begins as a registration does.
        Ok(ClosureForm::Registration) => read_closure(bytes).is_ok(),
        Ok(_) => true,
        Err(_) => false,
    };
    is_closure
        || Plan::is_plan(bytes)
        || ImageSpec::is_spec(bytes)
        || program::is_program(bytes)
        || other_tools::is_known(bytes)
}

fn read_start(path: &Path, max_bytes: u64) -> Result<Vec<u8>, CliError> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(max_bytes).read_to_end(&mut start))
        .map_err(|error| cannot_read(path, &error))?;
    Ok(start)
}

fn image_instead(image: &str, path: &Path) -> CliError {
    CliError::new(
        ExitStatus::Input,
        format!(
            "`{image}` is an image that exists already{}, not a closure or a plan",
            place(image, path)
        ),
    )
    .hint(format!(
        "give what it was made from: the image rather than its `archive` or `ociLayout`, the `conf` or `stream` of dockerTools. \
         `nixply inspect` and `skopeo copy` take the path; {AS_IT_IS}"
    ))
}

fn manifest_instead(image: &str, path: &Path) -> CliError {
    CliError::new(
        ExitStatus::Input,
        format!(
            "`{image}` is the manifest of an image{}, not a closure or a plan",
            place(image, path)
        ),
    )
    .hint(format!(
        "give the image itself rather than its `manifest`; {AS_IT_IS}"
    ))
}

/// The way for those who want the file in an image.
const AS_IT_IS: &str =
    "`nix path-info --json -r PATH | nixply push - REF` packs what lies there as it is";

/// The path in the store, where it is not what was given.
fn place(image: &str, path: &Path) -> String {
    if Path::new(image) == path {
        String::new()
    } else {
        format!(" (`{}`)", path.display())
    }
}
