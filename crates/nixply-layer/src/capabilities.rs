//! File capabilities: the text that setcap(8) takes, and the extended attribute that Linux reads.

use data_encoding::HEXLOWER;
use std::str::FromStr;

/// Linux' capabilities by number (`include/uapi/linux/capability.h`).
const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// All capabilities.
const ALL: u64 = (1 << NAMES.len()) - 1;

/// `VFS_CAP_REVISION_2` (`include/uapi/linux/capability.h`).
const REVISION_2: u32 = 0x0200_0000;

/// `VFS_CAP_FLAGS_EFFECTIVE`: a program that is run has its permitted capabilities in effect at once.
const FLAG_EFFECTIVE: u32 = 1;

/// The size of the extended attribute `security.capability` in revision 2.
pub(crate) const XATTR_BYTES: usize = 20;

/// The capabilities that a program gets when it is run, from a text such as `cap_net_bind_service+ep`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileCapabilities {
    permitted: u64,
    inheritable: u64,
    is_effective: bool,
}

/// Why a text names no file capabilities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapabilitiesError {
    /// There is no clause, or one without an operator.
    #[error(
        "`{clause}` is not `NAMES` followed by `=`, `+` or `-` and flags, such as `cap_net_raw+ep`"
    )]
    Clause {
        /// The clause.
        clause: String,
    },
    /// No capability has this name.
    #[error("no capability is called `{name}`")]
    Name {
        /// The name.
        name: String,
    },
    /// A flag is none of `e`, `i` and `p`.
    #[error("`{clause}`: `{flag}` is no flag: expected `e`, `i` or `p`")]
    Flag {
        /// The clause.
        clause: String,
        /// The flag.
        flag: char,
    },
    /// A file can only have all of its capabilities in effect, or none of them (capabilities(7), "File capabilities").
    #[error(
        "a file has all of its capabilities in effect or none: give `e` to all of them or to none"
    )]
    PartlyEffective,
    /// The text takes away what it gave.
    #[error("no capability is left")]
    Nothing,
}

impl FileCapabilities {
    /// The value of the extended attribute `security.capability`: `struct vfs_cap_data` of revision 2, little endian.
    #[must_use]
    pub fn to_xattr(self) -> [u8; XATTR_BYTES] {
        let magic = REVISION_2 | (u32::from(self.is_effective) * FLAG_EFFECTIVE);
        let mut xattr = [0; XATTR_BYTES];
        xattr[..4].copy_from_slice(&magic.to_le_bytes());
        let (permitted, inheritable) =
            (self.permitted.to_le_bytes(), self.inheritable.to_le_bytes());
        // The lower 32 bits of both, then the upper ones.
        xattr[4..8].copy_from_slice(&permitted[..4]);
        xattr[8..12].copy_from_slice(&inheritable[..4]);
        xattr[12..16].copy_from_slice(&permitted[4..]);
        xattr[16..].copy_from_slice(&inheritable[4..]);
        xattr
    }

    /// The value of the extended attribute in hexadecimal digits.
    #[must_use]
    pub fn to_hex(self) -> String {
        HEXLOWER.encode(&self.to_xattr())
    }
}

impl FromStr for FileCapabilities {
    type Err = CapabilitiesError;

    /// Reads the text form of `cap_from_text(3)`: clauses, separated by spaces, each a list of names (`all`, or none, for
    /// all of them) and one or more of `=`, `+` and `-` with flags. `NAMES` by number are not taken.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut sets = Sets::default();
        let mut clauses = text.split_whitespace().peekable();
        if clauses.peek().is_none() {
            return Err(CapabilitiesError::Clause {
                clause: text.to_owned(),
            });
        }
        for clause in clauses {
            sets.apply(clause)?;
        }
        let Sets {
            effective,
            inheritable,
            permitted,
        } = sets;
        let all = permitted | inheritable;
        if all == 0 && effective == 0 {
            return Err(CapabilitiesError::Nothing);
        }
        if effective != 0 && effective != all {
            return Err(CapabilitiesError::PartlyEffective);
        }
        Ok(Self {
            permitted,
            inheritable,
            is_effective: effective != 0,
        })
    }
}

/// The three sets that a text builds.
#[derive(Default)]
struct Sets {
    effective: u64,
    inheritable: u64,
    permitted: u64,
}

impl Sets {
    fn apply(&mut self, clause: &str) -> Result<(), CapabilitiesError> {
        let malformed = || CapabilitiesError::Clause {
            clause: clause.to_owned(),
        };
        let names_end = clause.find(is_operator).ok_or_else(malformed)?;
        let (names, mut actions) = clause.split_at(names_end);
        // `+` and `-` without names would say nothing of what they change.
        if names.is_empty() && !actions.starts_with('=') {
            return Err(malformed());
        }
        let capabilities = capabilities(names)?;
        while let Some(operator) = actions.chars().next() {
            let rest = &actions[1..];
            let end = rest.find(is_operator).unwrap_or(rest.len());
            let (flags, next) = rest.split_at(end);
            if flags.is_empty() && operator != '=' {
                return Err(malformed());
            }
            if operator == '=' {
                for set in [
                    &mut self.effective,
                    &mut self.inheritable,
                    &mut self.permitted,
                ] {
                    *set &= !capabilities;
                }
            }
            for flag in flags.chars() {
                let set = match flag {
                    'e' => &mut self.effective,
                    'i' => &mut self.inheritable,
                    'p' => &mut self.permitted,
                    _ => {
                        return Err(CapabilitiesError::Flag {
                            clause: clause.to_owned(),
                            flag,
                        });
                    }
                };
                if operator == '-' {
                    *set &= !capabilities;
                } else {
                    *set |= capabilities;
                }
            }
            actions = next;
        }
        Ok(())
    }
}

fn is_operator(character: char) -> bool {
    matches!(character, '=' | '+' | '-')
}

fn capabilities(names: &str) -> Result<u64, CapabilitiesError> {
    if names.is_empty() {
        return Ok(ALL);
    }
    names.split(',').try_fold(0, |set, name| {
        if name.eq_ignore_ascii_case("all") {
            return Ok(ALL);
        }
        let bit = NAMES
            .iter()
            .position(|known| known.eq_ignore_ascii_case(name));
        match bit {
            Some(bit) => Ok(set | 1 << bit),
            None => Err(CapabilitiesError::Name {
                name: name.to_owned(),
            }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xattr(text: &str) -> String {
        text.parse::<FileCapabilities>().unwrap().to_hex()
    }

    /// What `setcap` of libcap 2.66 stores, read back with `getfattr -e hex`.
    #[test]
    fn texts_become_what_setcap_stores() {
        for (text, expected) in [
            (
                "cap_net_bind_service+ep",
                "0100000200040000000000000000000000000000",
            ),
            (
                "cap_net_bind_service=ep",
                "0100000200040000000000000000000000000000",
            ),
            (
                "cap_net_raw,cap_net_admin=p",
                "0000000200300000000000000000000000000000",
            ),
            ("CAP_BPF+ei", "0100000200000000000000000000000080000000"),
            (
                "cap_chown=ep cap_bpf+ep",
                "0100000201000000000000008000000000000000",
            ),
            ("=ep", "01000002ffffffff00000000ff01000000000000"),
            (
                "all=ep cap_sys_admin-ep",
                "01000002ffffdfff00000000ff01000000000000",
            ),
            ("cap_kill=p+e", "0100000220000000000000000000000000000000"),
        ] {
            assert_eq!(xattr(text), expected, "{text}");
        }
    }

    #[test]
    fn other_texts_say_what_is_wrong() {
        for (text, message) in [
            ("", "`` is not `NAMES` followed by"),
            ("cap_net_raw", "`cap_net_raw` is not `NAMES` followed by"),
            ("+ep", "`+ep` is not `NAMES` followed by"),
            ("cap_net_raw+", "`cap_net_raw+` is not `NAMES` followed by"),
            ("cap_raw+ep", "no capability is called `cap_raw`"),
            ("cap_kill,+ep", "no capability is called ``"),
            ("cap_kill+x", "`cap_kill+x`: `x` is no flag"),
            (
                "cap_kill=p cap_chown+ep",
                "a file has all of its capabilities in effect or none",
            ),
            (
                "cap_kill=e",
                "a file has all of its capabilities in effect or none",
            ),
            ("cap_kill=ep cap_kill-ep", "no capability is left"),
            ("=", "no capability is left"),
        ] {
            let error = text.parse::<FileCapabilities>().unwrap_err().to_string();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}
