//! The order of draws: `draw-7` comes before `draw-11`.

use std::cmp::Ordering;

/// Compares names with their numbers by value, else by bytes.
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    parts(a).cmp(&parts(b)).then_with(|| a.cmp(b))
}

/// Alternately what is no digit, and a number: its length without leading zeros, then its digits.
fn parts(name: &str) -> Vec<(&str, usize, &str)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit();
        let (word, after) = rest.split_at(rest.find(is_digit).unwrap_or(rest.len()));
        let end = after.find(|c| !is_digit(c)).unwrap_or(after.len());
        let (number, next) = after.split_at(end);
        let number = number.trim_start_matches('0');
        parts.push((word, number.len(), number));
        rest = next;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value() {
        let mut names = [
            "draw-11", "b", "draw-23", "draw-7", "draw-007", "a1b2", "a1b", "",
        ];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(
            names,
            [
                "", "a1b", "a1b2", "b", "draw-007", "draw-7", "draw-11", "draw-23"
            ]
        );
    }
}
