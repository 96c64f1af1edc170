//! What is known of the layers on their way, and the lines that tell it. No clock and no terminal: times are given.

use super::meter::Meter;
use crate::text;
use std::fmt::Write as _;
use std::time::Duration;

/// The most lines of layers at once; more would push everything else out of the window.
const MOST_ROWS: usize = 8;

/// How long nothing is said of the time left: the first layers tell little.
const NO_ESTIMATE_BEFORE: Duration = Duration::from_secs(2);

/// The share of the work below which nothing is said of the time left.
const NO_ESTIMATE_BELOW: f64 = 0.01;

/// How small layers become where none has told yet: gzip and zstd leave about 40 % (docs/benchmarks.md).
const USUAL_RATIO: f64 = 0.4;

/// How a layer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// Its bytes are being made.
    Making,
    /// All of it was made and waits for the network or goes out.
    Made,
    /// It was made and is where it has to be.
    Done,
    /// Nothing had to be made.
    Spared,
}

#[derive(Debug)]
struct Layer {
    title: String,
    weight_bytes: u64,
    phase: Phase,
    made_bytes: u64,
    sent_bytes: u64,
    /// The bytes that it has in the end.
    size_bytes: Option<u64>,
    meter: Meter,
}

/// All layers.
#[derive(Debug)]
pub(crate) struct Model {
    verb: &'static str,
    /// True if layers are sent once they are made, false if they are where they have to be then.
    sends: bool,
    layers: Vec<Layer>,
    meter: Meter,
}

impl Model {
    /// Nothing has begun. `verb` says what happens, "pushing" for example; `weights_bytes` are those of the layers.
    pub(crate) fn new(verb: &'static str, sends: bool, weights_bytes: &[u64]) -> Self {
        let layer = |weight_bytes: &u64| Layer {
            title: String::new(),
            weight_bytes: *weight_bytes,
            phase: Phase::Waiting,
            made_bytes: 0,
            sent_bytes: 0,
            size_bytes: None,
            meter: Meter::default(),
        };
        Self {
            verb,
            sends,
            layers: weights_bytes.iter().map(layer).collect(),
            meter: Meter::default(),
        }
    }

    /// A layer is being made, perhaps once more.
    pub(crate) fn started(&mut self, layer_idx: usize, title: &str) {
        if let Some(layer) = self.layers.get_mut(layer_idx) {
            short_title(title).clone_into(&mut layer.title);
            if layer.phase != Phase::Making {
                layer.sent_bytes = 0;
            }
            layer.phase = Phase::Making;
            layer.made_bytes = 0;
            layer.meter = Meter::default();
        }
    }

    /// Sending a layer broke off; it is made once more and sent from here on.
    pub(crate) fn restarted(&mut self, layer_idx: usize, resumed_at_bytes: u64) {
        if let Some(layer) = self.layers.get_mut(layer_idx) {
            layer.phase = Phase::Making;
            layer.made_bytes = 0;
            layer.sent_bytes = resumed_at_bytes;
        }
    }

    /// More bytes of a layer were made.
    pub(crate) fn made_bytes(&mut self, layer_idx: usize, n_bytes: u64) {
        if let Some(layer) = self.layers.get_mut(layer_idx) {
            layer.made_bytes += n_bytes;
        }
    }

    /// A layer was made, and has this size.
    pub(crate) fn made(&mut self, layer_idx: usize, size_bytes: u64) {
        if let Some(layer) = self.layers.get_mut(layer_idx) {
            layer.phase = Phase::Made;
            layer.made_bytes = size_bytes;
            layer.size_bytes = Some(size_bytes);
        }
    }

    /// More bytes of a layer were sent.
    pub(crate) fn sent_bytes(&mut self, layer_idx: usize, n_bytes: u64) {
        if let Some(layer) = self.layers.get_mut(layer_idx) {
            if layer.sent_bytes == 0 {
                layer.meter = Meter::default();
            }
            layer.sent_bytes += n_bytes;
        }
    }

    /// A layer is where it has to be; `spared` if nothing had to be made for that.
    pub(crate) fn done(&mut self, layer_idx: usize, size_bytes: u64, spared: bool) {
        if let Some(layer) = self.layers.get_mut(layer_idx) {
            layer.phase = if spared { Phase::Spared } else { Phase::Done };
            layer.size_bytes = Some(size_bytes);
        }
    }

    /// The lines to show: one for each active layer, and the total.
    pub(crate) fn lines(&mut self, now: Duration) -> Vec<String> {
        let sends = self.sends;
        let moved = self.layers.iter().map(|layer| {
            if sends {
                layer.sent_bytes
            } else {
                layer.made_bytes
            }
        });
        let moved = moved.sum();
        self.meter.sample(now, moved);
        let mut lines = Vec::new();
        let mut n_hidden = 0;
        for layer in &mut self.layers {
            if !matches!(layer.phase, Phase::Making | Phase::Made) {
                continue;
            }
            if lines.len() == MOST_ROWS {
                n_hidden += 1;
                continue;
            }
            layer.meter.sample(now, layer.moved_bytes());
            lines.push(layer.line());
        }
        if n_hidden > 0 {
            lines.push(format!("  and {}", text::count(n_hidden, "more layer")));
        }
        lines.push(self.total_line(now, moved));
        lines
    }

    fn total_line(&self, now: Duration, moved_bytes: u64) -> String {
        let is_done = |layer: &&Layer| matches!(layer.phase, Phase::Done | Phase::Spared);
        let n_done = self.layers.iter().filter(is_done).count();
        let mut line = format!(
            "{} {n_done} of {}, {}",
            self.verb,
            text::count(self.layers.len(), "layer"),
            text::size(moved_bytes)
        );
        if let Some(rate) = self.meter.bytes_per_second() {
            let _ = write!(line, ", {}/s", text::size(rate));
        }
        if let Some(left) = self.time_left(now) {
            let _ = write!(line, ", {} left", text::duration(left));
        }
        line
    }

    /// How long the rest takes at the pace so far. Layers that turn out to be spared make it shorter.
    fn time_left(&self, now: Duration) -> Option<Duration> {
        let ratio = self.ratio();
        let worked = self
            .layers
            .iter()
            .filter(|layer| layer.phase != Phase::Spared);
        let (mut done, mut all) = (0.0, 0.0);
        for layer in worked {
            let weight = as_f64(layer.weight_bytes);
            all += weight;
            done += weight * layer.share(ratio, self.sends);
        }
        if now < NO_ESTIMATE_BEFORE || done < all * NO_ESTIMATE_BELOW || done <= 0.0 || done >= all
        {
            return None;
        }
        Duration::try_from_secs_f64(now.as_secs_f64() * (all - done) / done).ok()
    }

    /// How small the layers become that were made.
    fn ratio(&self) -> f64 {
        let (mut size, mut weight) = (0.0, 0.0);
        for layer in &self.layers {
            if let (Phase::Made | Phase::Done, Some(bytes)) = (layer.phase, layer.size_bytes) {
                size += as_f64(bytes);
                weight += as_f64(layer.weight_bytes);
            }
        }
        if weight > 0.0 {
            size / weight
        } else {
            USUAL_RATIO
        }
    }
}

impl Layer {
    /// The bytes that its line tells.
    fn moved_bytes(&self) -> u64 {
        if self.sent_bytes > 0 {
            self.sent_bytes
        } else {
            self.made_bytes
        }
    }

    /// How much of the work is done: making and sending count the same.
    fn share(&self, ratio: f64, sends: bool) -> f64 {
        match self.phase {
            Phase::Waiting => 0.0,
            Phase::Done | Phase::Spared => 1.0,
            Phase::Making | Phase::Made => {
                let size = match self.size_bytes {
                    Some(size_bytes) => as_f64(size_bytes),
                    None => as_f64(self.weight_bytes) * ratio,
                };
                if size <= 0.0 {
                    return 0.0;
                }
                let made = (as_f64(self.made_bytes) / size).min(1.0);
                let sent = (as_f64(self.sent_bytes) / size).min(1.0);
                if sends { made.midpoint(sent) } else { made }
            }
        }
    }

    /// What it is comes last: a narrow terminal cuts it off.
    fn line(&self) -> String {
        let (what, bytes) = if self.sent_bytes > 0 {
            ("sending", self.sent_bytes)
        } else if self.phase == Phase::Made {
            ("waiting", self.made_bytes)
        } else {
            ("making", self.made_bytes)
        };
        let of = match self.size_bytes {
            Some(size_bytes) if what == "sending" => format!(" of {}", text::size(size_bytes)),
            _ => String::new(),
        };
        let rate = match self.meter.bytes_per_second() {
            _ if what == "waiting" => String::new(),
            // A made layer may wait for its turn; one that is sent shows that it stands still.
            Some(rate) if rate > 0 || what == "sending" => format!(", {}/s", text::size(rate)),
            _ => String::new(),
        };
        format!("  {what:7} {}{of}{rate}  {}", text::size(bytes), self.title)
    }
}

/// A title whose first store path has lost its hash.
fn short_title(title: &str) -> &str {
    const HASH_LEN: usize = 32;
    match title.split_at_checked(HASH_LEN) {
        Some((hash, name)) if hash.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            name.strip_prefix('-').unwrap_or(title)
        }
        _ => title,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate needs no more than 15 digits"
)]
fn as_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TITLE: &str = "1111111111111111111111111111111a-app-1.0 and 2 more";

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn layers_are_made_then_sent() {
        let mut model = Model::new("pushing", true, &[100 * MIB, 10 * MIB]);
        assert_eq!(model.lines(seconds(0)), ["pushing 0 of 2 layers, 0 B"]);
        model.started(0, TITLE);
        model.made_bytes(0, 10 * MIB);
        model.done(1, MIB, true);
        model.lines(seconds(0));
        model.made_bytes(0, 10 * MIB);
        assert_eq!(
            model.lines(seconds(1)),
            [
                "  making  20.0 MiB, 10.0 MiB/s  app-1.0 and 2 more",
                "pushing 1 of 2 layers, 0 B, 0 B/s"
            ]
        );
        model.made(0, 40 * MIB);
        model.sent_bytes(0, 10 * MIB);
        model.lines(seconds(2));
        model.sent_bytes(0, 10 * MIB);
        assert_eq!(
            model.lines(seconds(3)),
            [
                "  sending 20.0 MiB of 40.0 MiB, 10.0 MiB/s  app-1.0 and 2 more",
                "pushing 1 of 2 layers, 20.0 MiB, 6.7 MiB/s, 1.0 s left"
            ]
        );
        model.done(0, 40 * MIB, false);
        model.sent_bytes(0, 20 * MIB);
        let lines = model.lines(seconds(4));
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].starts_with("pushing 2 of 2 layers, 40.0 MiB"),
            "{lines:?}"
        );
        assert!(!lines[0].contains("left"), "{lines:?}");
    }

    #[test]
    fn a_made_layer_waits_for_the_network() {
        let mut model = Model::new("pushing", true, &[MIB]);
        model.started(0, "root files");
        assert_eq!(model.lines(seconds(0))[0], "  making  0 B  root files");
        model.made(0, MIB);
        assert_eq!(model.lines(seconds(1))[0], "  waiting 1.0 MiB  root files");
    }

    #[test]
    fn a_layer_that_broke_off_goes_on() {
        let mut model = Model::new("pushing", true, &[100 * MIB]);
        model.started(0, TITLE);
        model.sent_bytes(0, 30 * MIB);
        model.restarted(0, 20 * MIB);
        model.started(0, TITLE);
        model.made_bytes(0, 5 * MIB);
        model.sent_bytes(0, MIB);
        let line = "  sending 21.0 MiB  app-1.0 and 2 more";
        assert_eq!(model.lines(seconds(0))[0], line);
        model.done(0, 40 * MIB, false);
        model.started(0, TITLE);
        let line = "  making  0 B  app-1.0 and 2 more";
        assert_eq!(model.lines(seconds(0))[0], line, "the registry lost it");
    }

    #[test]
    fn more_layers_than_rows_are_counted() {
        let mut model = Model::new("writing", false, &[MIB; 20]);
        for layer_idx in 0..20 {
            model.started(layer_idx, TITLE);
        }
        let lines = model.lines(seconds(1));
        assert_eq!(lines.len(), MOST_ROWS + 2);
        assert_eq!(lines[MOST_ROWS], "  and 12 more layers");
    }

    #[test]
    fn titles_lose_what_is_the_same_everywhere() {
        assert_eq!(short_title(TITLE), "app-1.0 and 2 more");
        let no_dash = "1".repeat(40);
        for title in ["root files", "/etc/passwd", &"ü".repeat(40), &no_dash, ""] {
            assert_eq!(short_title(title), title);
        }
    }
}
