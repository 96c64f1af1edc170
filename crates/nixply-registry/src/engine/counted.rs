//! Telling how far a layer is while it is made.

use crate::segment::SEGMENT_BYTES;
use std::io::{self, Write};

/// Passes bytes on and tells how many, a segment's worth at a time.
pub(super) struct Counted<'a, W> {
    out: &'a mut W,
    tell: &'a dyn Fn(u64),
    untold_bytes: u64,
}

impl<'a, W: Write> Counted<'a, W> {
    /// Nothing has passed yet.
    pub(super) fn new(out: &'a mut W, tell: &'a dyn Fn(u64)) -> Self {
        Self {
            out,
            tell,
            untold_bytes: 0,
        }
    }
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.untold_bytes += written as u64;
        if self.untold_bytes >= SEGMENT_BYTES as u64 {
            (self.tell)(self.untold_bytes);
            self.untold_bytes = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn bytes_are_told_a_segment_at_a_time() {
        let told = RefCell::new(Vec::new());
        let tell = |bytes| told.borrow_mut().push(bytes);
        let mut out = Vec::new();
        let mut counted = Counted::new(&mut out, &tell);
        for _ in 0..3 {
            counted.write_all(&vec![7; SEGMENT_BYTES / 2 + 1]).unwrap();
        }
        assert_eq!(told.into_inner(), [SEGMENT_BYTES as u64 + 2]);
        assert_eq!(out.len(), 3 * (SEGMENT_BYTES / 2 + 1));
    }
}
