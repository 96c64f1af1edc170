//! What `IMAGE` on the command line is, told by its content.

use crate::commands::program;
use crate::document::Document;
use crate::error::{CliError, ExitStatus};
use crate::nix;
use crate::other_tools;
use crate::store_output;
use nixply_image::{ImageContents, ImageSpec, Plan};
use nixply_oci::ImageReference;
use nixply_store::{Closure, ClosureForm, StorePath, read_closure};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Something that an image can be made from.
#[derive(Debug)]
pub(crate) enum Input {
    /// A closure, from a file, standard input or Nix.
    Closure(Closure),
    /// A plan.
    Plan(Box<Plan>),
    /// A plan by another tool's file, which says nothing of how layers are compressed.
    Decided(Box<Plan>),
    /// An image specification and the directory that its paths are relative to.
    Spec(Box<ImageSpec>, PathBuf),
}

/// Where an image exists already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoredPlace {
    /// `docker://REF`.
    Registry(String),
    /// An OCI layout directory or an archive.
    Disk(PathBuf),
}

/// Reads whatever an image can be made from: a closure, a plan, a specification, a store path or an installable.
pub(crate) fn read_input(image: &str) -> Result<Input, CliError> {
    if image == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .map_err(|error| {
                CliError::context(ExitStatus::Failed, "cannot read standard input", &error)
            })?;
        return read_bytes(&bytes, "standard input", Path::new("."));
    }
    if image.starts_with("docker://") {
        return Err(stored_instead(image));
    }
    let path = Path::new(image);
    // A device or a pipe is read as standard input is: /dev/null, /dev/stdin, what `<(…)` stands for.
    if path
        .metadata()
        .is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
    {
        return read_bytes(&read_file(path)?, image, Path::new("."));
    }
    let canonical = match path.canonicalize() {
        Ok(canonical) => canonical,
        // `.#x`, `nixpkgs#hello` and the like; a plain word or a path is a misspelt file.
        Err(_) if image.contains('#') => {
            return store_output::of_installable(image);
        }
        Err(_) if store_path_of(path).is_some() => {
            return store_output::of_installable(image);
        }
        Err(error) => {
            let hint = if image.parse::<ImageReference>().is_ok() {
                format!("an image in a registry is written `docker://{image}`")
            } else {
                "an installable is written with `#`, for example `.#runtime`".to_owned()
            };
            let failed =
                CliError::context(ExitStatus::Failed, format!("cannot open `{image}`"), &error);
            let is_file_name = path.extension().is_some() && !image.contains(':');
            return Err(if is_file_name {
                failed
            } else {
                failed.hint(hint)
            });
        }
    };
    if let Some(store_path) = store_path_of(&canonical) {
        return match store_output::of_path(image, &canonical)? {
            Some(input) => Ok(input),
            None => nix::closure_of(&[store_path]).map(Input::Closure),
        };
    }
    // Outside the store, whatever is no flake must be something that an image can be made from.
    if stored_place(image)?.is_some() {
        return Err(stored_instead(image));
    }
    if canonical.is_file() {
        let directory = canonical.parent().unwrap_or(Path::new("/"));
        return read_bytes(&read_file(&canonical)?, image, directory);
    }
    if canonical.join("flake.nix").is_file() {
        // The absolute path: a bare name would be looked up in Nix's registry of flakes.
        return store_output::of_installable(&canonical.display().to_string());
    }
    Err(CliError::new(
        ExitStatus::Input,
        format!("`{image}` is a directory that is neither a store path nor a flake"),
    ))
}

/// The closure that an argument stands for: itself, or that of the image that a plan decides. None where an argument is an
/// image specification.
pub(crate) fn read_input_closure(image: &str) -> Result<Option<Closure>, CliError> {
    let plan = match read_input(image)? {
        Input::Closure(closure) => return Ok(Some(closure)),
        Input::Plan(plan) | Input::Decided(plan) => plan,
        Input::Spec(..) => return Ok(None),
    };
    let contents = ImageContents::of_plan(&plan)
        .map_err(|error| CliError::from_error(ExitStatus::Input, &error))?;
    let paths = closure_paths(&contents);
    if paths.is_empty() {
        let message = format!("`{image}` is a plan without store paths, so it has no closure");
        return Err(CliError::new(ExitStatus::Input, message));
    }
    nix::closure_of(&paths).map(Some)
}

/// The store paths whose closure an image has: its roots where they are recorded, else all that it holds.
pub(crate) fn closure_paths(contents: &ImageContents) -> Vec<String> {
    let display = |path: &StorePath| contents.store_dir.display(path);
    if contents.roots.is_empty() {
        contents.paths().map(|held| display(&held.path)).collect()
    } else {
        contents.roots.iter().map(display).collect()
    }
}

/// The closure of a specification: its file, or what Nix says of its store paths and contents; none where it names neither.
pub(crate) fn spec_closure(spec: &ImageSpec, base: &Path) -> Result<Option<Closure>, CliError> {
    if let Some(file) = &spec.closure {
        let path = base.join(file);
        return closure_from(&read_file(&path)?, &path.display().to_string()).map(Some);
    }
    let paths = paths_for_nix(spec);
    if paths.is_empty() {
        return Ok(None);
    }
    nix::closure_of(&paths).map(Some)
}

/// The store paths and installables that Nix is asked for: those of the specification, and those that its root leads to.
fn paths_for_nix(spec: &ImageSpec) -> Vec<String> {
    let mut paths = spec.store_paths.clone();
    for path in spec.root_targets() {
        let store_path = store_path_of(Path::new(path));
        paths.extend(store_path.filter(|path| !paths.contains(path)));
    }
    paths
}

/// The place of an image that exists already, where `IMAGE` is one.
pub(crate) fn stored_place(image: &str) -> Result<Option<StoredPlace>, CliError> {
    if let Some(reference) = image.strip_prefix("docker://") {
        return Ok(Some(StoredPlace::Registry(reference.to_owned())));
    }
    let path = Path::new(image);
    if path.is_dir() {
        let is_layout = path.join("oci-layout").is_file();
        return Ok(is_layout.then(|| StoredPlace::Disk(path.to_owned())));
    }
    if !path.is_file() {
        return Ok(None);
    }
    let head = read_head(path)?;
    let is_tar = head.get(257..262) == Some(b"ustar".as_slice());
    let is_compressed = head.starts_with(b"\x1f\x8b") || head.starts_with(b"\x28\xb5\x2f\xfd");
    Ok((is_tar || is_compressed).then(|| StoredPlace::Disk(path.to_owned())))
}

/// The absolute store path that a path is or lies in: the part up to a store path's base name below a directory
/// called `store`.
pub(crate) fn store_path_of(path: &Path) -> Option<String> {
    let found = path.ancestors().filter(|ancestor| {
        let base_name = ancestor.file_name().and_then(|name| name.to_str());
        let parent = ancestor.parent().and_then(Path::file_name);
        base_name.is_some_and(|name| StorePath::new(name).is_ok())
            && parent.is_some_and(|parent| parent == "store")
    });
    found.last()?.to_str().map(str::to_owned)
}

/// True for the forms that a closure shows in its first bytes. To look for a schema is to read all of a document, and
/// closures are the big ones. A derivation's attributes are any JSON object, so they are not told so early.
fn is_surely_closure(bytes: &[u8]) -> bool {
    ClosureForm::detect(bytes).is_ok_and(|form| form != ClosureForm::DerivationAttrs)
}

pub(crate) fn read_bytes(bytes: &[u8], name: &str, base: &Path) -> Result<Input, CliError> {
    let input = |error: &(dyn std::error::Error + 'static)| {
        CliError::context(ExitStatus::Input, format!("cannot use `{name}`"), error)
    };
    if is_surely_closure(bytes) {
        return closure_from(bytes, name).map(Input::Closure);
    }
    if Plan::is_plan(bytes) {
        let plan = Plan::from_json(bytes).map_err(|error| input(&error))?;
        return Ok(Input::Plan(Box::new(plan)));
    }
    if ImageSpec::is_spec(bytes) {
        let spec = ImageSpec::from_json(bytes).map_err(|error| input(&error))?;
        return Ok(Input::Spec(Box::new(spec), base.to_owned()));
    }
    if program::is_program(bytes) {
        return plan_of_program(bytes, name);
    }
    if let Some(plan) = other_tools::plan(bytes, name)? {
        return Ok(Input::Decided(Box::new(plan)));
    }
    closure_from(bytes, name).map(Input::Closure)
}

/// A program of nixply pushes, loads or streams an image, and that is the image which is meant.
fn plan_of_program(program: &[u8], name: &str) -> Result<Input, CliError> {
    let Some(file) = program::plan_of(program, name)? else {
        let message = format!("`{name}` is a program of nixply that names no plan");
        return Err(CliError::new(ExitStatus::Input, message));
    };
    let bytes = read_file(&file)?;
    let name = file.display().to_string();
    // A program of a program could be itself.
    if program::is_program(&bytes) {
        let message = format!("`{name}` is a program of nixply, expected a plan");
        return Err(CliError::new(ExitStatus::Input, message));
    }
    read_bytes(&bytes, &name, file.parent().unwrap_or(Path::new("/")))
}

fn closure_from(bytes: &[u8], name: &str) -> Result<Closure, CliError> {
    read_closure(bytes).map_err(|error| {
        let failed = CliError::context(ExitStatus::Input, format!("cannot use `{name}`"), &error)
            .maybe_hint(error.hint());
        match Document::of(bytes) {
            // Of these the error itself says more.
            None | Some(Document::Closure | Document::Nothing) => failed,
            Some(other) => other.instead_of("a closure", failed),
        }
    })
}

/// As many bytes as the header of a tar has.
fn read_head(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(512).read_to_end(&mut head))
        .map_err(|error| cannot_read(path, &error))?;
    Ok(head)
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| cannot_read(path, &error))
}

pub(crate) fn cannot_read(path: &Path, error: &std::io::Error) -> CliError {
    CliError::context(
        ExitStatus::Failed,
        format!("cannot read `{}`", path.display()),
        error,
    )
}

fn stored_instead(image: &str) -> CliError {
    CliError::new(
        ExitStatus::Input,
        format!("`{image}` is an image that exists already, not a closure or a plan"),
    )
    .hint("`nixply inspect` and `nixply verify` read images; `skopeo copy` copies them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nix_is_asked_for_what_the_root_leads_to() {
        let base = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz";
        let spec = format!(
            r#"{{"schema":"nixply.image/1","store_paths":[".#x","{base}-a"],"contents":["{base}-a/share","{base}-b"],
                "root":{{"shell":"{base}-c/bin/sh","links":{{"/x":"../y","/z":"{base}-c"}}}}}}"#
        );
        let spec = ImageSpec::from_json(spec.as_bytes()).unwrap();
        let expected = [".#x".to_owned()].into_iter();
        let expected = expected.chain(["a", "b", "c"].map(|name| format!("{base}-{name}")));
        assert_eq!(paths_for_nix(&spec), expected.collect::<Vec<_>>());
    }

    #[test]
    fn store_paths_are_found_in_paths() {
        let base = "0123456789abcdfghijklmnpqrsvwxyz-a";
        for (path, expected) in [
            (
                format!("/nix/store/{base}"),
                Some(format!("/nix/store/{base}")),
            ),
            (
                format!("/nix/store/{base}/bin/x"),
                Some(format!("/nix/store/{base}")),
            ),
            (
                format!("/mnt/nix/store/{base}/store/{base}"),
                Some(format!("/mnt/nix/store/{base}")),
            ),
            (format!("/tmp/{base}"), None),
            ("/nix/store".to_owned(), None),
        ] {
            assert_eq!(store_path_of(Path::new(&path)), expected, "{path}");
        }
    }
}
