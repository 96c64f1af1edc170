//! The packers by name.

use std::fmt;
use std::str::FromStr;

/// An algorithm that packs a closure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Packer {
    /// Bytes alone, small paths on their users, what changes with every deployment on top; needs nothing but the closure.
    Solo,
    /// As [`Packer::Solo`], grouped by the package sets of a fleet's [`Catalog`](crate::Catalog).
    Fleet,
    /// A large path with the dependencies that nothing else uses; the default of nixpkgs' dockerTools since November 2024.
    AutoLayer,
    /// The most used paths alone, the rest together; the default of nixpkgs' dockerTools before that.
    Popularity,
    /// nix2container's variant of the popularity count.
    Nix2container,
    /// The largest paths alone, the rest together.
    Size,
    /// One layer per path.
    PerPath,
    /// The steps of a [`Pipeline`](crate::Pipeline). It is not among [`Packer::ALL`] and no name is read as it: who has a
    /// pipeline has chosen it.
    Pipeline,
}

/// A packer and the version of its result: equal ids give equal packings of equal closures and budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackerId {
    /// The name, as on the command line.
    pub name: &'static str,
    /// Counts up whenever a packing changes for any input.
    pub version: u32,
}

/// A name that no packer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a packer: expected `auto`, {}", names())]
pub struct UnknownPacker {
    /// The name that was read.
    pub name: String,
}

impl Packer {
    /// Every packer that can be named, in the order in which messages and tables list them.
    pub const ALL: [Self; 7] = [
        Self::Solo,
        Self::Fleet,
        Self::AutoLayer,
        Self::Popularity,
        Self::Nix2container,
        Self::Size,
        Self::PerPath,
    ];

    /// What the name `auto` stands for.
    #[must_use]
    pub const fn auto(with_catalog: bool) -> Self {
        if with_catalog {
            Self::Fleet
        } else {
            Self::Solo
        }
    }

    /// Reads a name as the command line takes it: a packer's own, or `auto` for [`Packer::auto`].
    pub fn resolve(name: &str, with_catalog: bool) -> Result<Self, UnknownPacker> {
        if name == "auto" {
            Ok(Self::auto(with_catalog))
        } else {
            name.parse()
        }
    }

    /// The name, as on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Solo => "solo",
            Self::Fleet => "fleet",
            Self::AutoLayer => "auto-layer",
            Self::Popularity => "popularity",
            Self::Nix2container => "nix2container",
            Self::Size => "size",
            Self::PerPath => "per-path",
            Self::Pipeline => "pipeline",
        }
    }

    /// Name and version, as a plan records them.
    #[must_use]
    pub const fn id(self) -> PackerId {
        PackerId {
            name: self.name(),
            version: 1,
        }
    }
}

impl FromStr for Packer {
    type Err = UnknownPacker;

    fn from_str(name: &str) -> Result<Self, UnknownPacker> {
        let mut all = Self::ALL.into_iter();
        all.find(|packer| packer.name() == name)
            .ok_or_else(|| UnknownPacker {
                name: name.to_owned(),
            })
    }
}

impl fmt::Display for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names for a message: `` `a`, `b` or `c` ``.
fn names() -> String {
    let [first @ .., last] = Packer::ALL.map(|packer| format!("`{packer}`"));
    format!("{} or {last}", first.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for packer in Packer::ALL {
            assert_eq!(packer.to_string().parse(), Ok(packer));
            assert_eq!(Packer::resolve(packer.name(), true), Ok(packer));
            assert_eq!(packer.id().name, packer.name());
        }
    }

    #[test]
    fn auto_is_a_name_on_the_command_line_only() {
        assert_eq!(Packer::resolve("auto", false), Ok(Packer::Solo));
        assert_eq!(Packer::resolve("auto", true), Ok(Packer::Fleet));
        assert!("auto".parse::<Packer>().is_err());
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = Packer::resolve("Popularity", false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`Popularity` is not a packer: expected `auto`, `solo`, `fleet`, `auto-layer`, `popularity`, `nix2container`, `size` or `per-path`"
        );
    }
}
