//! Files that appear whole or not at all.

use crate::LayoutError;
use crate::unfinished::Unfinished;
use std::fs::{self, File, Permissions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What a new file may be, before the umask takes its part.
const NEW_FILE_MODE: u32 = 0o666;

/// Writes a file under a temporary name beside it and renames it when `write` is done; on failure nothing is left behind
/// and an older file stays as it was.
///
/// What exists and is no regular file (a pipe, `/dev/null`) is written to directly. A symbolic link is followed.
///
/// # Errors
///
/// [`LayoutError::File`], with the path, where the file system refuses; every other error of `write` as it is.
pub fn write_file_atomically<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, LayoutError>,
) -> Result<T, LayoutError> {
    let path = match fs::canonicalize(path) {
        Ok(existing) => existing,
        Err(_) => path.to_owned(),
    };
    if fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
        let file = File::options()
            .write(true)
            .open(&path)
            .map_err(LayoutError::file("write to", &path))?;
        return buffered(&file, &path, write);
    }
    let temporary = Unfinished::begin(|| {
        tempfile::Builder::new()
            .prefix(".nixply-")
            .permissions(Permissions::from_mode(NEW_FILE_MODE))
            .tempfile_in(parent_of(&path))
    })
    .map_err(LayoutError::file("create a file beside", &path))?;
    let file = temporary.thing().as_file();
    let value = buffered(file, &path, write)?;
    // Else a crash could leave the name with an empty file behind it.
    file.sync_all().map_err(LayoutError::file("write", &path))?;
    temporary
        .finish(|temporary| temporary.persist(&path))
        .map_err(|error| LayoutError::file("replace", &path)(error.error))?;
    Ok(value)
}

fn buffered<T>(
    file: &File,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<T, LayoutError>,
) -> Result<T, LayoutError> {
    let mut out = BufWriter::new(file);
    let value = write(&mut out).map_err(|error| match error {
        LayoutError::Output(source) => LayoutError::file("write", path)(source),
        error => error,
    })?;
    out.flush().map_err(LayoutError::file("write", path))?;
    Ok(value)
}

/// The directory that holds `path`.
pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
