//! What an image runs on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An operating system and an architecture, in Go's words (OCI image-spec v1.1.1, `image-index.md`, "platform").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, for example.
    pub os: String,
    /// `amd64` or `arm64`, for example.
    pub architecture: String,
    /// `v7` for `arm`, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform: expected `OS/ARCHITECTURE` or `OS/ARCHITECTURE/VARIANT`")]
pub struct PlatformError {
    /// The text that was read.
    pub text: String,
}

impl Platform {
    /// A Linux platform without a variant.
    #[must_use]
    pub fn linux(architecture: &str) -> Self {
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }

    /// The platform of a Nix system such as `x86_64-linux`, where there is one.
    #[must_use]
    pub fn of_nix_system(system: &str) -> Option<Self> {
        let (architecture, os) = system.rsplit_once('-')?;
        let (architecture, variant) = match architecture {
            "x86_64" => ("amd64", None),
            "i686" => ("386", None),
            "aarch64" => ("arm64", None),
            "armv7l" => ("arm", Some("v7")),
            "armv6l" => ("arm", Some("v6")),
            "powerpc64le" => ("ppc64le", None),
            "riscv64" => ("riscv64", None),
            "s390x" => ("s390x", None),
            "loongarch64" => ("loong64", None),
            _ => return None,
        };
        (os == "linux").then(|| Self {
            variant: variant.map(str::to_owned),
            ..Self::linux(architecture)
        })
    }

    /// True where an image for `self` is what is meant by `wanted`.
    ///
    /// Both are compared as containerd does it (`platforms.NewMatcher` after `platforms.Normalize`): a variant that an
    /// architecture has by default counts as written. `linux/arm64` is `linux/arm64/v8`, `linux/arm` is `linux/arm/v7`,
    /// `linux/amd64` is `linux/amd64/v1`. Another variant is another platform, even where the machine could run both.
    #[must_use]
    pub fn serves(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && self.whole_variant() == wanted.whole_variant()
    }

    /// The variant, or the one that goes without saying.
    fn whole_variant(&self) -> &str {
        let unsaid = match self.architecture.as_str() {
            "amd64" => "v1",
            "arm" => "v7",
            "arm64" => "v8",
            _ => "",
        };
        match self.variant.as_deref() {
            None | Some("") => unsaid,
            Some(variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError {
            text: text.to_owned(),
        };
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if !parts.iter().all(|part| word(part)) {
            return Err(error());
        }
        match parts.as_slice() {
            [os, architecture] => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: None,
            }),
            [os, architecture, variant] => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: Some((*variant).to_owned()),
            }),
            _ => Err(error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn variants_that_go_without_saying_count_as_written() {
        for (found, wanted, serves) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/arm64", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64/v9", "linux/arm64", false),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm", "linux/arm/v7", true),
            ("linux/arm/v6", "linux/arm", false),
            ("linux/arm", "linux/arm/v6", false),
            ("linux/arm/v6", "linux/arm/v6", true),
            ("linux/amd64/v1", "linux/amd64", true),
            ("linux/amd64/v3", "linux/amd64", false),
            ("linux/riscv64/x", "linux/riscv64", false),
        ] {
            let platform = |text: &str| text.parse::<Platform>().unwrap();
            assert_eq!(
                platform(found).serves(&platform(wanted)),
                serves,
                "{found} for {wanted}"
            );
        }
        let empty = Platform {
            variant: Some(String::new()),
            ..Platform::linux("arm64")
        };
        assert!(empty.serves(&Platform::linux("arm64")));
    }

    #[test]
    fn nix_systems() {
        assert_eq!(
            Platform::of_nix_system("aarch64-linux")
                .unwrap()
                .to_string(),
            "linux/arm64"
        );
        assert_eq!(
            Platform::of_nix_system("armv7l-linux").unwrap().to_string(),
            "linux/arm/v7"
        );
        assert_eq!(Platform::of_nix_system("x86_64-darwin"), None);
    }
}
