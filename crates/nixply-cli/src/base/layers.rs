//! The bytes of base layers, where a sink has to have them: from the registry or the file that the plan names.

use crate::environment;
use crate::registries::Registries;
use nixply_layout::{LayoutError, OpenOptions, OpenedImage, open_image};
use nixply_oci::{Descriptor, ImageReference, LayerPlace, LayerSource, SourceError};
use nixply_registry::{Client, RegistryError, open_layer};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Opens registries and files when they are needed, each once.
#[derive(Debug)]
pub(crate) struct BaseLayers {
    registries: Registries,
    /// A client of its own: an upload that waits for a base layer holds its place in the limit of requests, and must not
    /// keep the layer from coming.
    client: Mutex<Option<Client>>,
    opened: Mutex<BTreeMap<(PathBuf, String), Arc<OpenedImage>>>,
}

impl BaseLayers {
    /// Opens nothing yet.
    pub(crate) fn new(registries: &Registries) -> Self {
        Self {
            registries: registries.clone(),
            client: Mutex::new(None),
            opened: Mutex::default(),
        }
    }

    fn client(&self) -> Result<Client, RegistryError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        Ok(client.insert(self.registries.new_client()?).clone())
    }

    fn open(&self, path: &Path, image: &str) -> Result<Arc<OpenedImage>, LayoutError> {
        // Kept locked meanwhile: an archive that is compressed as a whole is uncompressed once.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (path.to_owned(), image.to_owned());
        if let Some(found) = opened.get(&key) {
            return Ok(Arc::clone(found));
        }
        let options = OpenOptions {
            platform: None,
            reference: Some(image),
            spool_dir: &environment::temporary_dir(),
        };
        let found = Arc::new(open_image(path, &options)?);
        opened.insert(key, Arc::clone(&found));
        Ok(found)
    }
}

impl LayerSource for BaseLayers {
    fn read_layer(
        &self,
        place: &LayerPlace,
        stored: &Descriptor,
        take: &mut dyn FnMut(&mut dyn Read),
    ) -> Result<(), SourceError> {
        match place {
            LayerPlace::Registry { registry } => {
                let reference: ImageReference = registry.parse().map_err(failed)?;
                let client = self.client().map_err(failed)?;
                let mut bytes = open_layer(&client, &reference, stored).map_err(failed)?;
                take(&mut bytes);
            }
            LayerPlace::Disk { path, image, layer } => {
                let opened = self.open(path, image).map_err(failed)?;
                let mut bytes = opened.read_layer(*layer).map_err(failed)?;
                take(&mut bytes);
            }
        }
        Ok(())
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    SourceError(Box::new(error))
}
