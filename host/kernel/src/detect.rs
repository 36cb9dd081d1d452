//! Finds out which implementation of iptables this node uses, and says why.
//!
//! Writing into the other one than everybody else on the node would put rules where packets meet them in an order
//! that nobody expects. So the signs are weighed in a fixed order, each with a reason for the operator, and what
//! is ours in the implementation that is not used is named, not touched. Nothing is loaded or changed by looking.

use std::collections::BTreeMap;

use ruleward_core::contribution::Families;
use ruleward_core::facts::Version;
use ruleward_core::names::{Backend, Family, Table};
use rustix::io::Errno;
use thiserror::Error;

use super::chains::{self, HeldChain, Holdings};
use super::process::ToolError;
use super::tool_path::is_installed;
use super::tools::{Tools, missing_tool, number_triple};

/// Chains that kubelet keeps in mangle so that others can see which implementation it uses.
const KUBELET_CHAINS: [&str; 2] = ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"];

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detection {
    /// The implementation to use.
    pub backend: Backend,
    /// Why, in one sentence.
    pub reason: String,
    /// Of the tools of that implementation.
    pub version: Version,
    /// Of the running kernel.
    pub kernel: Version,
    /// Those asked for that this kernel has.
    pub families: Families,
    /// Chains of ours in the other implementation, and whatever could not be looked at: a sentence each.
    pub leftovers: Vec<String>,
}

/// Why no implementation could be chosen.
#[derive(Debug, Error)]
pub enum DetectError {
    /// Tools are missing.
    #[error("{tool} is not installed; install the Debian package `iptables` (apt-get install iptables)")]
    NotInstalled {
        /// The first that was looked for.
        tool: String,
    },
    /// nf_tables was chosen, and the kernel has none.
    #[error("backend \"nft\" is chosen, but this kernel has no nf_tables ({0}); choose \"legacy\"")]
    NoNftables(Errno),
    /// The process may not look.
    #[error("reading nf_tables needs CAP_NET_ADMIN in this network namespace: run as root")]
    Permission,
    /// The kernel did not answer.
    #[error("listing the chains of nf_tables failed: {0}")]
    Netlink(Errno),
    /// A tool that had to be asked failed.
    #[error("iptables-legacy can't be read: {0}; `backend = \"nft\"` does without it")]
    Legacy(String),
    /// The chosen tools do not tell their version.
    #[error(transparent)]
    Version(ToolError),
    /// No family is left to work with.
    #[error("only IPv6 is asked for, and this kernel has no IPv6; add \"ipv4\" to `families`")]
    NoFamily,
}

/// Chooses the implementation: `choice` if it is given, else by what the node holds. `ours` tells whether a chain
/// name belongs to a policy. `tools` gives the time limits; its backend does not matter.
///
/// # Errors
/// [`DetectError`]
pub fn detect(
    choice: Option<Backend>,
    families: Families,
    ours: &dyn Fn(&str) -> bool,
    tools: &Tools,
) -> Result<Detection, DetectError> {
    let families = present(families)?;
    let missing = |backend| families.iter().find_map(|family| missing_tool(backend, family));
    let look = Look {
        missing_nft: missing(Backend::Nft),
        missing_legacy: missing(Backend::Legacy),
        nft: look_at_nft(families)?,
        legacy: match choice {
            // What the chosen one holds does not matter, and legacy is only told by running a tool.
            Some(Backend::Legacy) => Ok(Holdings::default()),
            _ => chains::in_legacy(&tools.clone().with_backend(Backend::Legacy), families),
        },
    };
    let (backend, reason) = match choice {
        Some(backend) => {
            look.require(backend)?;
            (backend, format!("the configuration says backend = \"{backend}\""))
        }
        None => look.choose(ours, || default_of_iptables(tools))?,
    };
    let version = tools.clone().with_backend(backend).iptables_version().map_err(DetectError::Version)?;
    let kernel = number_triple(&rustix::system::uname().release().to_string_lossy()).unwrap_or(Version(0, 0, 0));
    let leftovers = look.leftovers(backend, ours);
    Ok(Detection { backend, reason, version, kernel, families, leftovers })
}

/// Drops IPv6 if the kernel was started without it.
fn present(families: Families) -> Result<Families, DetectError> {
    let ipv6 = families.ipv6 && std::path::Path::new("/proc/thread-self/net/if_inet6").exists();
    let present = Families { ipv6, ..families };
    if present.iter().next().is_none() { Err(DetectError::NoFamily) } else { Ok(present) }
}

/// What nf_tables holds; the inner error: this kernel has no nf_tables.
fn look_at_nft(families: Families) -> Result<Result<Holdings, Errno>, DetectError> {
    match chains::in_nft(families) {
        Ok(holdings) => Ok(Ok(holdings)),
        Err(error @ (Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT)) => Ok(Err(error)),
        Err(Errno::PERM | Errno::ACCESS) => Err(DetectError::Permission),
        Err(error) => Err(DetectError::Netlink(error)),
    }
}

/// What plain `iptables` stands for, if it is installed.
fn default_of_iptables(tools: &Tools) -> Option<Backend> {
    if !is_installed("iptables") {
        return None;
    }
    let text = tools.plain_version().ok()?;
    Some(if text.contains("nf_tables") { Backend::Nft } else { Backend::Legacy })
}

/// All that was seen of the node.
struct Look {
    missing_nft: Option<String>,
    missing_legacy: Option<String>,
    /// An error: this kernel has no nf_tables.
    nft: Result<Holdings, Errno>,
    legacy: Result<Holdings, ToolError>,
}

impl Look {
    /// Refuses a backend that can't work here.
    fn require(&self, backend: Backend) -> Result<(), DetectError> {
        let missing = match backend {
            Backend::Nft => &self.missing_nft,
            Backend::Legacy => &self.missing_legacy,
        };
        match (missing, backend, &self.nft) {
            (Some(tool), ..) => Err(DetectError::NotInstalled { tool: tool.clone() }),
            (None, Backend::Nft, Err(error)) => Err(DetectError::NoNftables(*error)),
            _ => Ok(()),
        }
    }

    /// Finds the backend that serves this node.
    fn choose(
        &self,
        ours: &dyn Fn(&str) -> bool,
        default: impl FnOnce() -> Option<Backend>,
    ) -> Result<(Backend, String), DetectError> {
        if self.missing_nft.is_some() || self.missing_legacy.is_some() {
            let backend = if self.missing_legacy.is_some() { Backend::Nft } else { Backend::Legacy };
            self.require(backend)?;
            return Ok((backend, format!("only the iptables-{backend} tools are installed")));
        }
        let Ok(nft) = &self.nft else {
            return Ok((Backend::Legacy, "this kernel has no nf_tables".to_owned()));
        };
        match &self.legacy {
            Ok(legacy) => Ok(weigh(nft, legacy, ours, default)),
            Err(error) => Err(DetectError::Legacy(error.to_string())),
        }
    }

    /// A sentence for each table of the backend that is not used in which chains of ours are, and one if it can't
    /// be looked at.
    fn leftovers(&self, used: Backend, ours: &dyn Fn(&str) -> bool) -> Vec<String> {
        match (used, &self.nft, &self.legacy) {
            (Backend::Nft, _, Ok(legacy)) => leftovers(Backend::Legacy, legacy, ours),
            (Backend::Nft, _, Err(error)) => {
                vec![format!("whether iptables-legacy still holds chains of ours is not known: {error}")]
            }
            (Backend::Legacy, Ok(nft), _) => leftovers(Backend::Nft, nft, ours),
            (Backend::Legacy, Err(_), _) => Vec::new(),
        }
    }
}

/// Weighs the signs, the strongest first, when both implementations could be used.
fn weigh(
    nft: &Holdings,
    legacy: &Holdings,
    ours: &dyn Fn(&str) -> bool,
    default: impl FnOnce() -> Option<Backend>,
) -> (Backend, String) {
    let first_of_ours = |holdings: &Holdings| holdings.chains.iter().find(|chain| ours(&chain.name)).cloned();
    let hint = |holdings: &Holdings| {
        let of_kubelet = |chain: &&HeldChain| chain.table == Table::Mangle && KUBELET_CHAINS.contains(&&*chain.name);
        holdings.chains.iter().find(of_kubelet).cloned()
    };
    if let Some((backend, chain)) = only_one(first_of_ours(nft), first_of_ours(legacy)) {
        let HeldChain { family, table, name } = chain;
        return (backend, format!("iptables-{backend} already holds our chain {name} in {table} ({family})"));
    }
    if let Some((backend, chain)) = only_one(hint(nft), hint(legacy)) {
        return (backend, format!("kubelet uses iptables-{backend}: it keeps {} in mangle there", chain.name));
    }
    let other = |backend| if backend == Backend::Nft { Backend::Legacy } else { Backend::Nft };
    let some = |rules: u64| (rules > 0).then_some(rules);
    if let Some((backend, rules)) = only_one(some(nft.rules), some(legacy.rules)) {
        let s = if rules == 1 { "" } else { "s" };
        return (backend, format!("iptables-{backend} holds {rules} rule{s}, iptables-{} none", other(backend)));
    }
    if nft.rules != legacy.rules {
        let backend = if nft.rules > legacy.rules { Backend::Nft } else { Backend::Legacy };
        let (more, fewer) = (nft.rules.max(legacy.rules), nft.rules.min(legacy.rules));
        let unused = other(backend);
        return (backend, format!("iptables-{backend} holds more rules ({more}) than iptables-{unused} ({fewer})"));
    }
    match default() {
        Some(backend) => {
            (backend, format!("no kernel module or existing rule decides it; plain `iptables` is iptables-{backend}"))
        }
        None => {
            (Backend::Nft, "no kernel module or existing rule decides it, so the newer iptables-nft is used".to_owned())
        }
    }
}

/// The backend for which there is something, if there is nothing for the other.
fn only_one<T>(nft: Option<T>, legacy: Option<T>) -> Option<(Backend, T)> {
    match (nft, legacy) {
        (Some(found), None) => Some((Backend::Nft, found)),
        (None, Some(found)) => Some((Backend::Legacy, found)),
        _ => None,
    }
}

/// Names at most three chains a table.
fn leftovers(unused: Backend, holdings: &Holdings, ours: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut by_table: BTreeMap<(Family, Table), Vec<&str>> = BTreeMap::new();
    for chain in holdings.chains.iter().filter(|chain| ours(&chain.name)) {
        by_table.entry((chain.family, chain.table)).or_default().push(&chain.name);
    }
    let sentence = |((family, table), names): (&(Family, Table), &Vec<&str>)| {
        let more = match names.len().saturating_sub(3) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "iptables-{unused} still holds {}{more} in {table} ({family}), and packets meet them: left alone; to \
             remove them, run `ruleward cleanup` with backend = \"{unused}\"",
            names[..names.len().min(3)].join(", ")
        )
    };
    by_table.iter().map(sentence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings(rules: u64, chains: &[(Table, &str)]) -> Holdings {
        let held =
            |(table, name): &(Table, &str)| HeldChain { family: Family::Ipv4, table: *table, name: (*name).into() };
        Holdings { rules, chains: chains.iter().map(held).collect() }
    }

    fn is_ours(name: &str) -> bool {
        name.starts_with("cali-")
    }

    #[track_caller]
    fn weighs(nft: &Holdings, legacy: &Holdings, default: Option<Backend>, expected: Backend, reason: &str) {
        let (backend, why) = weigh(nft, legacy, &is_ours, || default);
        assert_eq!((backend, why.as_str()), (expected, reason));
    }

    #[test]
    fn chains_of_ours_weigh_most() {
        let legacy = holdings(1, &[(Table::Nat, "cali-POSTROUTING")]);
        let nft = holdings(1000, &[(Table::Mangle, "KUBE-IPTABLES-HINT")]);
        let reason = "iptables-legacy already holds our chain cali-POSTROUTING in nat (IPv4)";
        weighs(&nft, &legacy, Some(Backend::Nft), Backend::Legacy, reason);
    }

    #[test]
    fn kubelet_weighs_more_than_rules() {
        let legacy = holdings(1, &[(Table::Mangle, "KUBE-KUBELET-CANARY")]);
        let nft = holdings(9, &[(Table::Filter, "KUBE-KUBELET-CANARY")]);
        let reason = "kubelet uses iptables-legacy: it keeps KUBE-KUBELET-CANARY in mangle there";
        weighs(&nft, &legacy, None, Backend::Legacy, reason);
    }

    #[test]
    fn rules_weigh_more_than_the_default() {
        let nothing = Holdings::default();
        let reason = "iptables-legacy holds 1 rule, iptables-nft none";
        weighs(&nothing, &holdings(1, &[]), Some(Backend::Nft), Backend::Legacy, reason);
        let reason = "iptables-nft holds more rules (7) than iptables-legacy (2)";
        weighs(&holdings(7, &[]), &holdings(2, &[]), Some(Backend::Legacy), Backend::Nft, reason);
    }

    #[test]
    fn a_draw_goes_to_the_next_sign() {
        let both = holdings(3, &[(Table::Nat, "cali-x"), (Table::Mangle, "KUBE-IPTABLES-HINT")]);
        let reason = "no kernel module or existing rule decides it; plain `iptables` is iptables-legacy";
        weighs(&both, &both, Some(Backend::Legacy), Backend::Legacy, reason);
        let reason = "no kernel module or existing rule decides it, so the newer iptables-nft is used";
        weighs(&both, &both, None, Backend::Nft, reason);
    }

    fn look() -> Look {
        let (nft, legacy) = (Ok(Holdings::default()), Ok(Holdings::default()));
        Look { missing_nft: None, missing_legacy: None, nft, legacy }
    }

    #[test]
    fn missing_tools_leave_no_choice() {
        let only_legacy = Look { missing_nft: Some("iptables-nft".to_owned()), ..look() };
        let (backend, reason) = only_legacy.choose(&is_ours, || None).unwrap();
        assert_eq!((backend, reason.as_str()), (Backend::Legacy, "only the iptables-legacy tools are installed"));
        let none = Look { missing_legacy: Some("iptables-legacy".to_owned()), ..only_legacy };
        let error = none.choose(&is_ours, || None).unwrap_err().to_string();
        assert_eq!(
            error,
            "iptables-nft is not installed; install the Debian package `iptables` (apt-get install iptables)"
        );
    }

    #[test]
    fn a_kernel_without_nf_tables_gets_legacy() {
        let old = Look { nft: Err(Errno::INVAL), ..look() };
        assert_eq!(old.choose(&is_ours, || None).unwrap().0, Backend::Legacy);
        assert!(matches!(old.require(Backend::Nft), Err(DetectError::NoNftables(_))));
    }

    #[test]
    fn what_cannot_be_looked_at_is_said() {
        let denied = || Err(ToolError::TableList { path: "/x", source: std::io::ErrorKind::PermissionDenied.into() });
        let blind = Look { legacy: denied(), ..look() };
        assert!(matches!(blind.choose(&is_ours, || None), Err(DetectError::Legacy(_))));
        let leftovers = blind.leftovers(Backend::Nft, &is_ours);
        assert!(leftovers[0].contains("not known: /x"), "{leftovers:?}");
    }

    #[test]
    fn leftovers_are_named_by_table() {
        let chains = ["cali-1", "other", "cali-2", "cali-3", "cali-4"].map(|name| (Table::Nat, name));
        let found = leftovers(Backend::Legacy, &holdings(0, &chains), &is_ours);
        assert_eq!(found.len(), 1);
        let start = "iptables-legacy still holds cali-1, cali-2, cali-3 and 1 more in nat (IPv4)";
        assert!(found[0].starts_with(start), "{found:?}");
    }
}
