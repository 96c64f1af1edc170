//! From bytes to lengths, and the ticks of an axis.

/// Tenths of a pixel.
pub(super) type Tenths = u64;

/// The largest unit that is not larger than some bytes, and its name.
pub(super) fn unit(bytes: u64) -> (u64, &'static str) {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = (1, UNITS[0]);
    for (power, name) in (0_u32..).zip(UNITS) {
        let unit_bytes = 1000_u64.pow(power);
        if bytes >= unit_bytes {
            unit = (unit_bytes, name);
        }
    }
    unit
}

/// A linear scale from 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    most: u64,
    length: Tenths,
}

impl Scale {
    /// `most` bytes are as long as `length`.
    pub(super) fn new(most: u64, length: Tenths) -> Self {
        Self {
            most: most.max(1),
            length,
        }
    }

    /// How long some bytes are.
    pub(super) fn length(self, bytes: u64) -> Tenths {
        let length = u128::from(bytes) * u128::from(self.length) / u128::from(self.most);
        u64::try_from(length).unwrap_or(u64::MAX)
    }

    /// Round values for an axis, at most five and 0, with their texts.
    pub(super) fn ticks(self) -> Vec<(u64, String)> {
        const STEPS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
        let (unit_bytes, unit) = unit(self.most);
        let step = STEPS
            .into_iter()
            .find(|step| self.most / unit_bytes / step <= 4)
            .unwrap_or(1000);
        (0..=self.most / unit_bytes / step)
            .map(|n| {
                let text = if n == 0 {
                    "0".to_owned()
                } else {
                    format!("{} {unit}", n * step)
                };
                (n * step * unit_bytes, text)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let texts = |most| {
            let ticks = Scale::new(most, 1000).ticks();
            ticks.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        assert_eq!(texts(27_000_000_000), ["0", "10 GB", "20 GB"]);
        assert_eq!(texts(3_000_000), ["0", "1 MB", "2 MB", "3 MB"]);
        assert_eq!(texts(0), ["0", "1 B"]);
        assert!(texts(u64::MAX).len() <= 6);
    }

    #[test]
    fn lengths_are_in_proportion() {
        assert_eq!(Scale::new(200, 1000).length(50), 250);
        assert_eq!(Scale::new(u64::MAX, 1000).length(u64::MAX), 1000);
    }
}
