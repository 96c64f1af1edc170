//! A server program that a test starts, and that ends with the test.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a server may take to listen, on a machine that is busy with other tests.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// The most of a server's log that is kept for a message.
const LOG_BYTES: usize = 1 << 16;

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct ServerChild {
    child: Child,
}

impl ServerChild {
    /// Starts the program and waits until `address_in` finds an address in a line of its standard error; the error is
    /// the log of a program that ended or stayed silent instead.
    pub(super) fn start(
        command: &mut Command,
        address_in: fn(&str) -> Option<String>,
    ) -> Result<(Self, String), String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?;
        let log = child.stderr.take();
        let server = Self { child };
        let log = log.ok_or("its standard error is no pipe")?;
        let address = wait_for_address(log, address_in)?;
        Ok((server, address))
    }

    /// The process id.
    #[cfg(test)]
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerChild {
    fn drop(&mut self) {
        // Both fail only for a process that has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log until it names the address, and goes on reading so that the server never waits for a reader.
fn wait_for_address(
    log: impl io::Read + Send + 'static,
    address_in: fn(&str) -> Option<String>,
) -> Result<String, String> {
    let (addresses, address) = mpsc::channel();
    thread::spawn(move || {
        let mut seen = String::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            if let Some(address) = address_in(&line) {
                // Nobody waits any more after the first.
                let _ = addresses.send(Ok(address));
            }
            if seen.len() < LOG_BYTES {
                seen.push_str(&line);
                seen.push('\n');
            }
        }
        let _ = addresses.send(Err(seen));
    });
    address
        .recv_timeout(START_TIMEOUT)
        .unwrap_or_else(|_| Err("nothing in time".to_owned()))
}
