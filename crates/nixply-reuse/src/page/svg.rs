//! The few shapes that the charts are made of. Lengths are in tenths of a pixel.

use super::html::escape;
use super::scale::Tenths;
use std::fmt::{self, Write as _};

/// A picture in the making.
#[derive(Debug)]
pub(super) struct Svg {
    head: String,
    body: String,
}

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A length as SVG has it.
struct Px(Tenths);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 10)?;
        if self.0.is_multiple_of(10) {
            Ok(())
        } else {
            write!(f, ".{}", self.0 % 10)
        }
    }
}

impl Svg {
    /// An empty picture; `title` names it and `description` says what it shows, for those who do not see it.
    pub(super) fn new(width: Tenths, height: Tenths, title: &str, description: &str) -> Self {
        let (width, height) = (Px(width), Px(height));
        Self {
            head: format!(
                "<svg role=\"img\" viewBox=\"0 0 {width} {height}\" aria-label=\"{}\">\
                 <desc>{}</desc>\n",
                escape(title),
                escape(description)
            ),
            body: String::new(),
        }
    }

    /// A rectangle; a tip shows its text when it is pointed at.
    pub(super) fn rect(
        &mut self,
        at: (Tenths, Tenths),
        size: (Tenths, Tenths),
        class: &str,
        tip: &str,
    ) {
        if size.0 > 0 && size.1 > 0 {
            let _ = writeln!(
                self.body,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\">{}</rect>",
                Px(at.0),
                Px(at.1),
                Px(size.0),
                Px(size.1),
                tooltip(tip)
            );
        }
    }

    /// A circle.
    pub(super) fn circle(&mut self, at: (Tenths, Tenths), radius: Tenths, class: &str, tip: &str) {
        let _ = writeln!(
            self.body,
            "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\">{}</circle>",
            Px(at.0),
            Px(at.1),
            Px(radius),
            tooltip(tip)
        );
    }

    /// A line.
    pub(super) fn line(&mut self, from: (Tenths, Tenths), to: (Tenths, Tenths), class: &str) {
        let _ = writeln!(
            self.body,
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            Px(from.0),
            Px(from.1),
            Px(to.0),
            Px(to.1)
        );
    }

    /// A line through several points.
    pub(super) fn path(&mut self, points: &[(Tenths, Tenths)], class: &str) {
        let points: Vec<String> = points
            .iter()
            .map(|&(x, y)| format!("{},{}", Px(x), Px(y)))
            .collect();
        let _ = writeln!(
            self.body,
            "<polyline class=\"{class}\" points=\"{}\"/>",
            points.join(" ")
        );
    }

    /// A text.
    pub(super) fn text(&mut self, at: (Tenths, Tenths), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            Px(at.0),
            Px(at.1),
            escape(text)
        );
    }

    /// The whole element.
    pub(super) fn finish(self) -> String {
        format!("{}{}</svg>\n", self.head, self.body)
    }
}

fn tooltip(tip: &str) -> String {
    if tip.is_empty() {
        String::new()
    } else {
        format!("<title>{}</title>", escape(tip))
    }
}
