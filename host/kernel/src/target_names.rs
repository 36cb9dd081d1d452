//! Which targets the installed tools know. Each extension of iptables is a file of its own (`libxt_TEE.so`), also those
//! that others install, and its name is the target's: a chain of that name would be taken for it wherever a rule jumps
//! there. Matches have names in lower case.
//!
//! The tools look in the folders that `XTABLES_LIBDIR` names, which they get from us, else in the
//! one that they were built with. That one is not told: all folders where builds have it are looked
//! at. A name too many is a refusal with its reason, a name too few a jump that leads elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use ruleward_core::check::Refusal;
use ruleward_core::contribution::Contribution;

use super::tool_path::{find, search_path};

/// By this variable the tools find their extensions, if it is set.
pub(super) const LIBRARY_FOLDERS: &str = "XTABLES_LIBDIR";
/// Where systems install.
const PREFIXES: [&str; 3] = ["/", "/usr", "/usr/local"];
const LIBRARIES: [&str; 3] = ["lib", "lib64", "libexec"];
const FOLDER: &str = "xtables";
/// Of both families, of IPv4 and of IPv6.
const BEGINNINGS: [&str; 3] = ["libxt_", "libipt_", "libip6t_"];

/// The folders that the environment names for the tools: absolute ones, as a value for them.
pub(super) fn configured() -> Option<OsString> {
    absolute(&std::env::var_os(LIBRARY_FOLDERS)?)
}

fn absolute(folders: &OsStr) -> Option<OsString> {
    let absolute: Vec<PathBuf> = std::env::split_paths(folders).filter(|folder| folder.is_absolute()).collect();
    std::env::join_paths(absolute).ok().filter(|folders| !folders.is_empty())
}

/// Refuses each chain that the installed tools would take for a target. Those that every iptables knows are no names of
/// chains at all.
pub fn refusals(contribution: &Contribution) -> Vec<Refusal> {
    let mut named = contribution.chains.iter().filter(|chain| may_be(chain.name.as_str())).peekable();
    if named.peek().is_none() {
        return Vec::new();
    }
    let tools = ["iptables-nft-restore", "iptables-legacy-restore"];
    let tools = tools.iter().filter_map(|tool| find(tool, "iptables", &search_path()).ok()).collect::<Vec<_>>();
    let targets = installed(&tools);
    let refusal = |file: &PathBuf| {
        format!(
            "is a target of the installed iptables ({}): other rules' -j would lead to the chain; choose another name",
            file.display()
        )
    };
    named
        .filter_map(|chain| {
            let reason = refusal(targets.get(chain.name.as_str())?);
            Some(Refusal { place: format!("chain {} in {}", chain.name, chain.table), reason })
        })
        .collect()
}

/// The targets that are installed for these tools, and where.
fn installed(tools: &[PathBuf]) -> BTreeMap<String, PathBuf> {
    let folders: BTreeSet<PathBuf> = match configured() {
        Some(folders) => std::env::split_paths(&folders).collect(),
        None => built_in(tools),
    };
    let files = folders.iter().flat_map(|folder| entries(folder));
    files.filter_map(|file| Some((target(file.file_name()?.to_str()?)?.to_owned(), file))).collect()
}

/// Folders below the prefixes of the tools, and of all systems; for several architectures there is one for each.
fn built_in(tools: &[PathBuf]) -> BTreeSet<PathBuf> {
    let tools: Vec<PathBuf> = tools.iter().filter_map(|tool| tool.canonicalize().ok()).collect();
    let own = tools.iter().filter_map(|tool| tool.parent()?.parent());
    let prefixes: BTreeSet<&Path> = PREFIXES.into_iter().map(Path::new).chain(own).collect();
    let libraries = prefixes.into_iter().flat_map(|prefix| LIBRARIES.map(|library| prefix.join(library)));
    let places = libraries.flat_map(|library| {
        let below = entries(&library).into_iter().map(|folder| folder.join(FOLDER));
        below.chain([library.join(FOLDER)]).collect::<Vec<_>>()
    });
    places.filter_map(|folder| folder.canonicalize().ok()).filter(|folder| folder.is_dir()).collect()
}

/// What a folder holds; nothing if it can't be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn target(file: &str) -> Option<&str> {
    let name = file.strip_suffix(".so")?;
    BEGINNINGS.into_iter().find_map(|beginning| name.strip_prefix(beginning)).filter(|name| may_be(name))
}

/// Whether a target may have this name.
fn may_be(name: &str) -> bool {
    name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_name_targets() {
        for (file, name) in [
            ("libxt_TEE.so", Some("TEE")),
            ("libipt_CLUSTERIP.so", Some("CLUSTERIP")),
            ("libip6t_HL.so", Some("HL")),
            ("libxt_X-2.so", Some("X-2")),
            ("libxt_tcp.so", None),
            ("libxt_TEE.so.1", None),
            ("libebt_REDIRECT.so", None),
            ("libxt_.so", None),
        ] {
            assert_eq!(target(file), name, "{file}");
        }
    }

    #[test]
    fn relative_folders_are_not_searched() {
        assert_eq!(absolute(OsStr::new("lib:/opt/a:.:/opt/b")), Some("/opt/a:/opt/b".into()));
        assert_eq!(absolute(OsStr::new("lib")), None);
        assert_eq!(absolute(OsStr::new("")), None);
    }

    #[test]
    fn the_folder_beside_the_tool_is_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let file = root.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            file.canonicalize().unwrap()
        };
        let tool = make("sbin/xtables-nft-multi");
        let plain = make("lib/xtables/libxt_ZAP.so");
        let multi = make("lib/machine-linux-gnu/xtables/libipt_ZOOM.so");
        let found = installed(&[tool]);
        assert_eq!((found.get("ZAP"), found.get("ZOOM")), (Some(&plain), Some(&multi)));
    }
}
