//! What a policy is run on: facts, settings, resources and grants from files. What is not given is that of a plain node.

use std::fs;
use std::path::{Path, PathBuf};

use ruleward_core::contribution::{Contribution, Families};
use ruleward_core::facts::{Facts, Interface, NftTable, System, Version};
use ruleward_core::grants::Grants;
use ruleward_core::names::{Backend, Family, PolicyName};
use ruleward_facts::{read_resource_file, read_resources};
use ruleward_kernel::verdict::{Verdict, verdict};
use ruleward_sandbox::Description;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::AuthorError;

/// Where the parts of a case are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseFiles {
    /// TOML or JSON.
    pub settings: Option<PathBuf>,
    /// A file, or a folder of files, in YAML or JSON.
    pub resources: Option<PathBuf>,
    /// TOML: see [`FactsFile`].
    pub facts: Option<PathBuf>,
}

impl CaseFiles {
    /// The parts in the folder of a case, by their names.
    pub fn in_folder(folder: &Path) -> Self {
        let first = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|path| path.exists());
        Self {
            settings: first(&["settings.toml", "settings.json"]),
            resources: first(&["resources", "resources.yaml", "resources.yml", "resources.json"]),
            facts: first(&["facts.toml"]),
        }
    }

    /// The same; where a part is missing, that of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            settings: self.settings.or(other.settings),
            resources: self.resources.or(other.resources),
            facts: self.facts.or(other.facts),
        }
    }
}

/// Facts as an author writes them; each key may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FactsFile {
    /// `node1` if not given.
    node_name: Option<String>,
    /// `6.1.0` if not given.
    kernel: Option<String>,
    /// `1.8.9` if not given.
    iptables: Option<String>,
    /// `nft` if not given.
    backend: Option<Backend>,
    /// Both if not given.
    families: Option<Vec<Family>>,
    /// None if not given.
    interfaces: Vec<InterfaceEntry>,
    /// None if not given.
    nft_tables: Vec<NftTable>,
    /// What the policy wants if not given.
    grants: Option<Grants>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct InterfaceEntry {
    name: String,
    index: Option<u32>,
    #[serde(default = "yes")]
    up: bool,
    #[serde(default)]
    addresses: Vec<ipnet::IpNet>,
}

fn yes() -> bool {
    true
}

/// What a policy is run on.
#[derive(Debug, Clone)]
pub struct Case {
    /// The node.
    pub facts: Facts,
    /// What the operator grants.
    pub grants: Grants,
    /// Settings as JSON.
    pub settings: Value,
}

impl Case {
    /// Reads the files; `description` says what is granted when no file does.
    ///
    /// # Errors
    /// [`AuthorError`] names the file, and what is wrong in it.
    pub fn read(files: &CaseFiles, description: &Description) -> Result<Self, AuthorError> {
        let given = files.facts.as_deref().map(read_facts).transpose()?.unwrap_or_default();
        let resources = match files.resources.as_deref() {
            None => Vec::new(),
            Some(path) => {
                let read = if path.is_dir() { read_resources(path) } else { read_resource_file(path) };
                read.map_err(|error| AuthorError::Other(error.to_string()))?.resources
            }
        };
        let settings = files.settings.as_deref().map(read_settings).transpose()?;
        let wrong = |reason: String| AuthorError::file(files.facts.as_deref().unwrap_or(Path::new("facts")), reason);
        let families = match given.families.as_deref() {
            None => Families::BOTH,
            Some([]) => return Err(wrong("families is empty; leave it out for both".into())),
            Some(list) => Families { ipv4: list.contains(&Family::Ipv4), ipv6: list.contains(&Family::Ipv6) },
        };
        let system = System {
            kernel: version(given.kernel.as_deref().unwrap_or("6.1.0")).map_err(wrong)?,
            iptables: version(given.iptables.as_deref().unwrap_or("1.8.9")).map_err(wrong)?,
            backend: given.backend.unwrap_or(Backend::Nft),
            families,
        };
        let mut interfaces: Vec<Interface> = (1..).zip(given.interfaces).map(interface).collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        let mut nft_tables = given.nft_tables;
        nft_tables.sort();
        let node_name = given.node_name.unwrap_or_else(|| "node1".into());
        Ok(Self {
            facts: Facts { node_name, system, interfaces, resources, nft_tables },
            grants: given.grants.unwrap_or_else(|| description.wants.clone()),
            settings: settings.unwrap_or_else(|| Value::Object(Map::new())),
        })
    }

    /// What this machine's kernel says of a policy's answer, with the tools of the case's backend.
    pub fn verdict(&self, policy: &PolicyName, contribution: &Contribution) -> Verdict {
        let system = &self.facts.system;
        verdict(policy, system.backend, system.families, &self.grants, contribution)
    }
}

fn interface((index, entry): (u32, InterfaceEntry)) -> Interface {
    let mut addresses = entry.addresses;
    addresses.sort_unstable();
    Interface { name: entry.name, index: entry.index.unwrap_or(index), up: entry.up, addresses }
}

fn version(text: &str) -> Result<Version, String> {
    let mut numbers = text.splitn(3, '.').map(str::parse::<u32>);
    let mut next = || numbers.next().unwrap_or(Ok(0));
    match (next(), next(), next()) {
        (Ok(major), Ok(minor), Ok(patch)) => Ok(Version(major, minor, patch)),
        _ => Err(format!("{text:?} is no version; write it like 6.1.0")),
    }
}

fn read_text(path: &Path) -> Result<String, AuthorError> {
    fs::read_to_string(path).map_err(|error| AuthorError::file(path, format!("can't be read: {error}")))
}

fn read_facts(path: &Path) -> Result<FactsFile, AuthorError> {
    toml::from_str(&read_text(path)?).map_err(|error| AuthorError::file(path, error))
}

/// Settings in TOML, or in JSON if the name ends so.
fn read_settings(path: &Path) -> Result<Value, AuthorError> {
    let text = read_text(path)?;
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str(&text).map_err(|error| AuthorError::file(path, error));
    }
    toml::from_str(&text).map_err(|error| AuthorError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_that_are_not_given_are_those_of_a_plain_node() {
        let facts: FactsFile =
            toml::from_str("kernel = \"5.10\"\n[[interfaces]]\nname = \"eth0\"\naddresses = [\"192.0.2.1/24\"]\n")
                .unwrap();
        assert_eq!(version(facts.kernel.as_deref().unwrap()), Ok(Version(5, 10, 0)));
        assert!(facts.interfaces[0].up && facts.families.is_none());
        assert!(toml::from_str::<FactsFile>("node = \"x\"").unwrap_err().to_string().contains("node-name"));
    }
}
