//! The store as an image sees it: absolute links lead into the store directory, wherever that lies on this machine.

use super::error::LinkError;
use nixply_layer::StoreRoot;
use nixply_store::StorePath;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

/// As many links are followed as Linux follows (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// A place in the store: its name in the image, and where it lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) logical: String,
    pub(crate) physical: PathBuf,
}

impl Place {
    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            logical: format!("{}/{name}", self.logical),
            physical: self.physical.join(name),
        }
    }
}

/// One entry of a directory.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) name: String,
    pub(crate) file_type: FileType,
}

pub(crate) struct StoreView<'a> {
    store: &'a StoreRoot,
}

impl<'a> StoreView<'a> {
    pub(crate) fn new(store: &'a StoreRoot) -> Self {
        Self { store }
    }

    /// The store path that an absolute path is or lies in.
    pub(crate) fn store_path_of(&self, content: &str) -> Result<StorePath, LinkError> {
        let dir = self.store.store_dir();
        let rest = content
            .strip_prefix(dir.as_str())
            .and_then(|rest| rest.strip_prefix('/'));
        let base_name = rest.map_or(content, |rest| rest.split('/').next().unwrap_or(rest));
        let whole = match rest {
            Some(_) => format!("{}/{base_name}", dir.as_str()),
            None => content.to_owned(),
        };
        dir.parse(&whole)
            .map_err(|source| LinkError::NotAStorePath {
                content: content.to_owned(),
                source,
            })
    }

    /// The directory that a content is, links followed; named as it was given.
    pub(crate) fn content_directory(&self, content: &str) -> Result<Place, LinkError> {
        let missing = |physical| LinkError::Missing {
            content: content.to_owned(),
            physical,
        };
        let Some((place, file_type)) = self.resolve(content)? else {
            return Err(missing(self.store.locate_file(Path::new(content))));
        };
        if !file_type.is_dir() {
            return Err(LinkError::NotADirectory {
                content: content.to_owned(),
                found: if file_type.is_file() {
                    "regular file"
                } else {
                    "special file"
                },
            });
        }
        Ok(Place {
            logical: content.to_owned(),
            physical: place.physical,
        })
    }

    /// Whether a path in the store leads to something, maybe by links.
    pub(crate) fn exists(&self, logical: &str) -> bool {
        self.resolve(logical).is_ok_and(|found| found.is_some())
    }

    /// Follows links to what a path in the store leads to; `None` where that is not in the store, or is not there.
    pub(crate) fn resolve(&self, logical: &str) -> Result<Option<(Place, FileType)>, LinkError> {
        let store_dir = self.store.store_dir().as_str();
        let mut todo: Vec<String> = components(logical).rev().collect();
        let mut place = String::new();
        let mut links = 0;
        let mut file_type = None;
        while let Some(component) = todo.pop() {
            if component == ".." {
                place.truncate(place.rfind('/').unwrap_or(0));
                file_type = None;
                continue;
            }
            let next = format!("{place}/{component}");
            // The store directory and what is above it are directories in every image.
            if !next
                .strip_prefix(store_dir)
                .is_some_and(|rest| rest.starts_with('/'))
            {
                if !is_ancestor(&next, store_dir) {
                    return Ok(None);
                }
                place = next;
                file_type = None;
                continue;
            }
            let physical = self.store.locate_file(Path::new(&next));
            let found = match fs::symlink_metadata(&physical) {
                Ok(metadata) => metadata.file_type(),
                Err(error) if is_absent(&error) => return Ok(None),
                Err(source) => return Err(LinkError::Read { physical, source }),
            };
            if !found.is_symlink() {
                place = next;
                file_type = Some(found);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Ok(None);
            }
            let target = read_link(&physical)?;
            if target.starts_with('/') {
                place.clear();
            }
            todo.extend(components(&target).rev());
        }
        let place = Place {
            physical: self.store.locate_file(Path::new(&place)),
            logical: place,
        };
        match file_type {
            Some(file_type) => Ok(Some((place, file_type))),
            // A path that climbed back with `..` ends in a directory.
            None => Ok(fs::symlink_metadata(&place.physical)
                .ok()
                .map(|metadata| (place, metadata.file_type()))),
        }
    }
}

/// True for the store directory and every directory above it.
fn is_ancestor(path: &str, store_dir: &str) -> bool {
    store_dir
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = String> + '_ {
    path.split('/')
        .filter(|component| !matches!(*component, "" | "."))
        .map(str::to_owned)
}

/// A link's target, as it is written.
pub(crate) fn read_link(physical: &Path) -> Result<String, LinkError> {
    let target = fs::read_link(physical).map_err(read_error(physical))?;
    target
        .into_os_string()
        .into_string()
        .map_err(|_| LinkError::NotUtf8 {
            physical: physical.to_owned(),
        })
}

/// The entries of a directory, in no order.
pub(crate) fn list(directory: &Path) -> Result<Vec<Child>, LinkError> {
    let mut children = Vec::new();
    for found in fs::read_dir(directory).map_err(read_error(directory))? {
        let found = found.map_err(read_error(directory))?;
        let file_type = found.file_type().map_err(read_error(directory))?;
        let physical = found.path();
        if !(file_type.is_dir() || file_type.is_file() || file_type.is_symlink()) {
            return Err(LinkError::FileType { physical });
        }
        let name = found
            .file_name()
            .into_string()
            .map_err(|_| LinkError::NotUtf8 { physical })?;
        children.push(Child { name, file_type });
    }
    Ok(children)
}

pub(crate) fn read_error(physical: &Path) -> impl Fn(io::Error) -> LinkError + '_ {
    move |source| LinkError::Read {
        physical: physical.to_owned(),
        source,
    }
}
