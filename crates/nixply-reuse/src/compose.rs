//! Makes the images of a pin: closures and their volatile paths.

use crate::ReuseError;
use crate::fleet::{Fleet, Images, Pin, Project};
use crate::identity::store_path;
use crate::read::path_info;
use nixply_store::{Closure, PathIdx, PathInfo, StorePath};

/// The NAR size of a composed image's environment: links and a profile script.
const ENVIRONMENT_NAR_SIZE_BYTES: u64 = 30_000;

/// An image of a fleet at one pin, without the paths that change with every version.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    pub(crate) name: String,
    closure: Closure,
    private: Private,
}

#[derive(Debug, Clone)]
enum Private {
    /// An application that refers to these paths, and an environment above it.
    Application {
        roots: Vec<StorePath>,
        app_nar_size_bytes: u64,
    },
    /// The image is used as it is.
    None,
}

/// One version of an image.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) closure: Closure,
    /// What the front end knows to change with every deploy.
    pub(crate) volatile: Vec<PathIdx>,
}

/// A path that an image gets besides, to see what moves for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewLeaf {
    pub(crate) nar_size_bytes: u64,
}

impl Base {
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
                .map(|(name, roots)| {
                    Ok(Self {
                        name: name.clone(),
                        closure: restrict(pin, roots)?,
                        private: Private::None,
                    })
                })
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
            closure: restrict(pin, &roots)?,
            private: Private::Application {
                roots,
                app_nar_size_bytes: project.app_nar_size_bytes,
            },
        })
    }

    /// A version; equal numbers give equal private paths, and a new number new ones.
    pub(crate) fn version(
        &self,
        number: usize,
        leaf: Option<NewLeaf>,
    ) -> Result<Version, ReuseError> {
        let Private::Application {
            roots,
            app_nar_size_bytes,
        } = &self.private
        else {
            return Ok(Version {
                closure: self.closure.clone(),
                volatile: Vec::new(),
            });
        };
        let named = |what: &str| {
            store_path(
                &format!("{} {number}", self.name),
                &format!("{}-{what}", self.name),
            )
            .map_err(|source| ReuseError::StorePath {
                document: self.name.clone(),
                source,
            })
        };
        let (app, environment) = (named("app")?, named("env")?);
        let mut records: Vec<(PathInfo, Vec<StorePath>)> = self
            .closure
            .indices()
            .map(|idx| {
                let references = self.closure.references(idx);
                let references = references.map(|to| self.closure.info(to).path.clone());
                (self.closure.info(idx).clone(), references.collect())
            })
            .collect();
        let mut of_environment = roots.clone();
        if let Some(leaf) = leaf {
            let path = named("leaf")?;
            of_environment.push(path.clone());
            records.push((path_info(path, leaf.nar_size_bytes), Vec::new()));
        }
        of_environment.push(app.clone());
        records.push((path_info(app.clone(), *app_nar_size_bytes), roots.clone()));
        records.push((
            path_info(environment.clone(), ENVIRONMENT_NAR_SIZE_BYTES),
            of_environment,
        ));
        let closure =
            Closure::new(self.closure.store_dir().clone(), records).map_err(|source| {
                ReuseError::Closure {
                    document: self.name.clone(),
                    source,
                }
            })?;
        let volatile = [app, environment]
            .iter()
            .filter_map(|path| closure.find(path))
            .collect();
        Ok(Version { closure, volatile })
    }
}

fn restrict(pin: &Pin, roots: &[StorePath]) -> Result<Closure, ReuseError> {
    pin.closure
        .restrict(roots)
        .map_err(|source| ReuseError::Closure {
            document: pin.name.clone(),
            source,
        })
}
