//! Ending a push from outside.

use std::sync::Arc;
use tokio::sync::watch;

/// A switch that ends a push: thrown by a signal handler, seen by every part of the push. Clones are the same switch.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<watch::Sender<bool>>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Interrupt {
    /// Ends the push; more than once is like once.
    pub fn throw(&self) {
        self.0.send_replace(true);
    }

    /// Resolves once the switch is thrown.
    pub(crate) async fn thrown(&self) {
        let mut thrown = self.0.subscribe();
        // The sender lives as long as this switch.
        let _ = thrown.wait_for(|thrown| *thrown).await;
    }
}
