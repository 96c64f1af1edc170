//! Makes the images of a pin: their closures, and the paths that are their own.

use crate::ReuseError;
use crate::fleet::{Fleet, Images, Pin, Project};
use crate::identity::{path_info, store_path};
use nixply_store::{Closure, PathIdx, PathInfo, StorePath};

/// The NAR size of a composed image's environment: links and a profile script.
const ENVIRONMENT_NAR_SIZE_BYTES: u64 = 30_000;

/// An image at one pin, from which its versions are made.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) name: String,
    closure: Closure,
    own: Own,
}

/// What is an image's own: new in every version of it.
#[derive(Debug, Clone)]
enum Own {
    /// An application that refers to the roots of the sets, and an environment that refers to those and to it.
    Application {
        roots: Vec<StorePath>,
        app_nar_size_bytes: u64,
    },
    /// The closure's only root.
    Root(StorePath),
    /// The closure has several roots, and nobody knows which are the image's own.
    Unknown,
}

/// One version of an image.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) closure: Closure,
    /// The image's own paths where it was composed; an image that is used as it is names none.
    pub(crate) own: Vec<PathIdx>,
    /// A path that stands for one of the pin under another hash part, and that one.
    pub(crate) renewed: Option<(StorePath, StorePath)>,
}

/// A version in the making.
type Records = Vec<(PathInfo, Vec<StorePath>)>;

impl Image {
    /// The images of a pin.
    pub(crate) fn all(fleet: &Fleet, pin: &Pin) -> Result<Vec<Self>, ReuseError> {
        match &fleet.images {
            Images::Projects(projects) => projects
                .iter()
                .map(|project| Self::of_project(pin, project))
                .collect(),
            Images::Sets => pin
                .sets
                .iter()
                .map(|(name, roots)| Self::as_it_is(pin, name, roots))
                .collect(),
        }
    }

    fn of_project(pin: &Pin, project: &Project) -> Result<Self, ReuseError> {
        let mut roots = Vec::new();
        for set in &project.sets {
            let Some(paths) = pin.sets.get(set) else {
                return Err(ReuseError::UnknownSet {
                    project: project.name.clone(),
                    set: set.clone(),
                    pin: pin.name.clone(),
                });
            };
            roots.extend(paths.iter().cloned());
        }
        roots.sort();
        roots.dedup();
        Ok(Self {
            name: project.name.clone(),
            closure: reachable(pin, &project.name, &roots)?,
            own: Own::Application {
                roots,
                app_nar_size_bytes: project.app_nar_size_bytes,
            },
        })
    }

    fn as_it_is(pin: &Pin, name: &str, roots: &[StorePath]) -> Result<Self, ReuseError> {
        let closure = reachable(pin, name, roots)?;
        let mut tops = closure
            .indices()
            .filter(|&idx| closure.referrers(idx).next().is_none());
        let own = match (tops.next(), tops.next()) {
            (Some(root), None) => Own::Root(closure.info(root).path.clone()),
            _ => Own::Unknown,
        };
        Ok(Self {
            name: name.to_owned(),
            closure,
            own,
        })
    }

    /// The topmost paths that may be in other images, too: what the only root refers to, else every root.
    pub(crate) fn shared_roots(&self) -> Vec<StorePath> {
        let path = |idx| self.closure.info(idx).path.clone();
        let roots = self
            .closure
            .indices()
            .filter(|&idx| self.closure.referrers(idx).next().is_none());
        match &self.own {
            Own::Root(root) => {
                let root = self.closure.find(root).into_iter();
                root.flat_map(|root| self.closure.references(root))
                    .map(path)
                    .collect()
            }
            Own::Application { .. } | Own::Unknown => roots.map(path).collect(),
        }
    }

    /// Whether a version can be told from the one before by the image's own paths alone.
    pub(crate) fn can_deploy(&self) -> bool {
        !matches!(self.own, Own::Unknown)
    }

    /// The version that comes with a pin.
    pub(crate) fn first_version(&self, number: usize) -> Result<Version, ReuseError> {
        match self.own {
            Own::Application { .. } => self.next_version(number, None),
            Own::Root(_) | Own::Unknown => Ok(Version {
                closure: self.closure.clone(),
                own: Vec::new(),
                renewed: None,
            }),
        }
    }

    /// A version whose own paths are new, and which may have got a path of so many bytes besides. Equal numbers give
    /// equal own paths.
    pub(crate) fn next_version(
        &self,
        number: usize,
        leaf_nar_size_bytes: Option<u64>,
    ) -> Result<Version, ReuseError> {
        let new_path = |name: &str| {
            let seed = format!("{} {number}", self.name);
            store_path(&seed, name).map_err(|source| ReuseError::StorePath {
                document: self.name.clone(),
                source,
            })
        };
        let mut records = self.records();
        let mut new_of_root = Vec::new();
        if let Some(bytes) = leaf_nar_size_bytes {
            let leaf = new_path("leaf")?;
            new_of_root.push(leaf.clone());
            records.push((path_info(leaf, bytes), Vec::new()));
        }
        let mut own = Vec::new();
        let mut renewed_root = None;
        match &self.own {
            Own::Application {
                roots,
                app_nar_size_bytes,
            } => {
                let app = new_path(&format!("{}-app", self.name))?;
                let environment = new_path(&format!("{}-env", self.name))?;
                new_of_root.extend(roots.iter().cloned());
                new_of_root.push(app.clone());
                own.extend([app.clone(), environment.clone()]);
                records.push((path_info(app, *app_nar_size_bytes), roots.clone()));
                let info = path_info(environment, ENVIRONMENT_NAR_SIZE_BYTES);
                records.push((info, new_of_root));
            }
            Own::Root(root) => {
                let renewed = new_path(root.name())?;
                renewed_root = Some((renewed.clone(), root.clone()));
                for (info, references) in &mut records {
                    if info.path == *root {
                        *info = path_info(renewed.clone(), info.nar_size_bytes);
                        references.append(&mut new_of_root);
                    }
                }
            }
            Own::Unknown => {}
        }
        let closure =
            Closure::new(self.closure.store_dir().clone(), records).map_err(|source| {
                ReuseError::Closure {
                    document: self.name.clone(),
                    source: Box::new(source),
                }
            })?;
        let own = own.iter().filter_map(|path| closure.find(path)).collect();
        Ok(Version {
            closure,
            own,
            renewed: renewed_root,
        })
    }

    fn records(&self) -> Records {
        let record = |idx| {
            let references = self.closure.references(idx);
            let references = references.map(|to| self.closure.info(to).path.clone());
            (self.closure.info(idx).clone(), references.collect())
        };
        self.closure.indices().map(record).collect()
    }
}

fn reachable(pin: &Pin, image: &str, roots: &[StorePath]) -> Result<Closure, ReuseError> {
    pin.closure
        .restrict(roots)
        .map_err(|source| ReuseError::Closure {
            document: format!("{image} of {}", pin.name),
            source: Box::new(source),
        })
}
