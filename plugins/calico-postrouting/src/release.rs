//! Calico's releases, and what differs between them.

use std::fmt;

/// A release of Calico, from 3.26.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(u32, u32, u32);

impl Release {
    /// The newest that was compared with a running Felix; in force when the operator names none.
    pub const DEFAULT: Self = Self(3, 32, 1);
    const OLDEST: Self = Self(3, 26, 0);

    /// Reads `3.28.3` or `v3.28.3`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split('.').map(|number| number.parse::<u32>().ok());
        let release = match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) => Self(major, minor, patch),
            _ => return Err(format!("{text:?} is not a release of Calico; write it like 3.28.3")),
        };
        if release < Self::OLDEST || release.0 != 3 {
            return Err(format!("Calico {release} is not known here; releases from {} on are", Self::OLDEST));
        }
        Ok(release)
    }

    /// Felix appends its jump in POSTROUTING whatever `chainInsertMode` says.
    pub fn appends_to_postrouting(self) -> bool {
        self >= Self(3, 28, 2)
    }

    /// The set of all pools is `network-ip-pools` and lacks pools for load balancers only; before, it was
    /// `all-ipam-pools` and lacked none.
    pub fn has_network_pools(self) -> bool {
        (self >= Self(3, 31, 6) && self < Self(3, 32, 0)) || self >= Self(3, 32, 1)
    }

    /// `natOutgoingExclusions` has a meaning.
    pub fn has_exclusions(self) -> bool {
        self >= Self(3, 31, 0)
    }

    /// With VXLAN, UDP that is masqueraded into a tunnel gets no source port that VXLAN uses.
    pub fn spares_vxlan_port(self) -> bool {
        self >= Self(3, 33, 0)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_with_and_without_v() {
        assert_eq!(Release::parse("3.28.3"), Ok(Release(3, 28, 3)));
        assert_eq!(Release::parse("v3.28.3"), Ok(Release(3, 28, 3)));
        for bad in ["", "3", "3.28", "3.28.x", "3.28.3.1", "3.28.3-rc1", "2.6.0", "3.25.2", "4.0.0"] {
            assert!(Release::parse(bad).is_err(), "{bad:?} was taken for a release");
        }
    }

    #[test]
    fn the_pool_set_was_renamed_in_two_branches() {
        for (release, renamed) in [
            ("3.31.5", false),
            ("3.31.6", true),
            ("3.31.7", true),
            ("3.32.0", false),
            ("3.32.1", true),
            ("3.33.0", true),
        ] {
            assert_eq!(Release::parse(release).unwrap().has_network_pools(), renamed, "{release}");
        }
    }
}
