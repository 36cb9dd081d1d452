//! What `uname` says: the host's name and the kernel's version.

use ruleward_core::facts::Version;

use super::FactsError;

/// The name of this host in lower case, which is what kubelet and Calico call the node unless they are told otherwise.
///
/// # Errors
/// [`FactsError::HostName`] when it is empty, not UTF-8 or holds spaces.
pub fn host_name() -> Result<String, FactsError> {
    let uname = rustix::system::uname();
    lower_case_name(&uname.nodename().to_string_lossy())
}

fn lower_case_name(name: &str) -> Result<String, FactsError> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != char::REPLACEMENT_CHARACTER;
    if name.is_empty() || !name.chars().all(fits) {
        return Err(FactsError::HostName { name: name.to_owned() });
    }
    Ok(name.to_lowercase())
}

/// The version of the running kernel.
///
/// # Errors
/// [`FactsError::KernelVersion`] when its release doesn't begin with one.
pub fn kernel_version() -> Result<Version, FactsError> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    parse_release(&release).ok_or_else(|| FactsError::KernelVersion { release: release.clone().into_owned() })
}

/// The leading numbers of a release: `6.1.0-13-amd64` is 6.1.0, `5.15-rc3` is 5.15.0.
fn parse_release(release: &str) -> Option<Version> {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    let mut numbers = release[..end].split('.').map(str::parse);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    let patch = numbers.next().and_then(Result::ok).unwrap_or(0);
    Some(Version(major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_versions_with_a_tail() {
        for (release, version) in [
            ("6.1.0-13-amd64", Some(Version(6, 1, 0))),
            ("5.15.167.4-microsoft-standard-WSL2", Some(Version(5, 15, 167))),
            ("6.12-rc1", Some(Version(6, 12, 0))),
            ("4.18.0+", Some(Version(4, 18, 0))),
            ("", None),
            ("6", None),
            ("x.y", None),
            ("99999999999.1", None),
        ] {
            assert_eq!(parse_release(release), version, "{release:?}");
        }
    }

    #[test]
    fn a_node_has_the_hosts_name_in_lower_case() {
        assert_eq!(lower_case_name("BJYFB3-X.Example").unwrap(), "bjyfb3-x.example");
        for bad in ["", "two words", "\u{fffd}"] {
            lower_case_name(bad).unwrap_err();
        }
    }

    #[test]
    fn this_host_has_a_name_and_a_kernel() {
        assert!(!host_name().unwrap().is_empty());
        assert!(kernel_version().unwrap() > Version(3, 0, 0));
    }
}
