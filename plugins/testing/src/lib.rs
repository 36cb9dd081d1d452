//! Tests of policies in Rust: natively, without WebAssembly, root or a kernel. A [`Node`] holds what the policy sees;
//! the answer goes through the host's own checks and comes out as the text that the host would hand to `ipset restore`
//! and `iptables-restore`. So a test fails where the host would refuse, with the host's words.
//!
//! ```
//! use ruleward_sdk::{Chain, Contribution, Description, Facts, Failure, NoSettings, Ownership, Rule, Table, protocol};
//! use ruleward_testing::Node;
//!
//! fn open(_: &Facts, _: NoSettings) -> Result<Contribution, Failure> {
//!     let rule = Rule::new().protocol(protocol::TCP).destination_port(443).accept();
//!     Ok(Contribution::new().chain(Chain::new(Table::Filter, "web-in").rule(rule)))
//! }
//!
//! ruleward_sdk::policy! {
//!     struct Web;
//!     description: Description::new("web", "1.0.0", "Opens the web server's port.")
//!         .wanting(Ownership::in_tables([Table::Filter]).chains(["web-*"]));
//!     evaluate: open;
//! }
//!
//! # fn main() {
//! assert_eq!(Node::new().chain::<Web>("IPv6", "web-in"), ["-p 6 -m tcp --dport 443 -j ACCEPT"]);
//! # }
//! ```

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test ends where its input is wrong")]

mod convert;
mod lift;

use ruleward_core::check::{self, OutputLimits};
use ruleward_core::grants::{BuiltInChain, Grants, Jumps, Pattern, Uses};
use ruleward_core::listing::listing;
use ruleward_core::names::PolicyName;
use ruleward_sdk::{
    Backend, Facts, Failure, Families, IpNetwork, NetworkInterface, Ownership, Policy, Resource, System, Version,
};
use serde_json::Value;

/// What a policy sees: a node `node1` with a recent kernel, both families, no interfaces and no resources.
#[derive(Debug, Clone)]
pub struct Node {
    facts: Facts,
    settings: String,
    granted: Option<Ownership>,
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

impl Node {
    /// A plain node; the policy has no settings and is granted all that it wants.
    pub fn new() -> Self {
        let system = System {
            kernel: Version { major: 6, minor: 1, patch: 0 },
            iptables: Version { major: 1, minor: 8, patch: 9 },
            backend: Backend::Nft,
            random_fully: true,
            families: Families::all(),
            nft_tables: Vec::new(),
        };
        let facts = Facts {
            node_name: "node1".into(),
            system,
            interfaces: Vec::new(),
            resources: Vec::new(),
            granted: Ownership::default(),
        };
        Self { facts, settings: "{}".into(), granted: None }
    }

    /// Sets the settings.
    #[must_use]
    pub fn settings(mut self, settings: &Value) -> Self {
        self.settings = settings.to_string();
        self
    }

    /// Adds a Kubernetes resource.
    ///
    /// # Panics
    /// When it lacks `apiVersion`, `kind` or `metadata.name`.
    #[must_use]
    pub fn resource(mut self, resource: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let need = |value: &Value, field: &str| {
            text(value).unwrap_or_else(|| panic!("the resource has no {field}: {resource}"))
        };
        self.facts.resources.push(Resource {
            api_version: need(&resource["apiVersion"], "apiVersion"),
            kind: need(&resource["kind"], "kind"),
            namespace: text(&resource["metadata"]["namespace"]),
            name: need(&resource["metadata"]["name"], "metadata.name"),
            json: resource.to_string(),
        });
        let key = |one: &Resource| (one.kind.clone(), one.namespace.clone(), one.name.clone());
        self.facts.resources.sort_by_key(key);
        self
    }

    /// Adds a network interface that is up, with addresses such as `192.0.2.1/24`.
    ///
    /// # Panics
    /// When an address is none.
    #[must_use]
    pub fn interface(mut self, name: &str, addresses: &[&str]) -> Self {
        let parse = |text: &&str| text.parse::<IpNetwork>().unwrap_or_else(|error| panic!("{error}"));
        let index = u32::try_from(self.facts.interfaces.len()).unwrap_or(0) + 1;
        let addresses = addresses.iter().map(parse).collect();
        self.facts.interfaces.push(NetworkInterface { name: name.to_owned(), index, up: true, addresses });
        self.facts.interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// Changes the facts in any other way.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Facts)) -> Self {
        change(&mut self.facts);
        self
    }

    /// Grants this, in place of all that the policy wants.
    #[must_use]
    pub fn granting(mut self, granted: Ownership) -> Self {
        self.granted = Some(granted);
        self
    }

    /// What the policy asks for as text, or why the policy or the host refuses.
    ///
    /// # Errors
    /// The policy's failure, or the host's refusals, one a line.
    pub fn evaluate<P: Policy>(&self) -> Result<String, String> {
        let description = P::describe();
        let facts =
            Facts { granted: self.granted.clone().unwrap_or_else(|| description.wants.clone()), ..self.facts.clone() };
        let contribution = P::evaluate(&facts, &self.settings).map_err(|failure| reason(&failure))?;
        let contribution = lift::contribution(&contribution)?;
        let policy = PolicyName::new(&description.name).map_err(|error| error.to_string())?;
        let grants = grants(&facts.granted)?;
        let families = lift::families(facts.system.families);
        let wanted = |family| families.contains(family);
        let checked = check::check(&policy, &grants, wanted, OutputLimits::default(), &contribution);
        let refused =
            |refusals: Vec<check::Refusal>| refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        checked.map(|checked| listing(&checked)).map_err(refused)
    }

    /// What the policy asks for as text.
    ///
    /// # Panics
    /// When it is refused.
    pub fn text<P: Policy>(&self) -> String {
        self.evaluate::<P>().unwrap_or_else(|reason| panic!("refused: {reason}"))
    }

    /// Why the policy or the host refuses.
    ///
    /// # Panics
    /// When it is not refused.
    pub fn refusal<P: Policy>(&self) -> String {
        self.evaluate::<P>().err().unwrap_or_else(|| panic!("it is not refused"))
    }

    /// The rules of one chain (of its first table, in the order of packets) for `"IPv4"` or `"IPv6"`, without
    /// `-A CHAIN`. None: the chain is empty or not there.
    ///
    /// # Panics
    /// When the policy is refused.
    pub fn chain<P: Policy>(&self, family: &str, chain: &str) -> Vec<String> {
        let text = self.text::<P>();
        let (section, rule) = (format!("# {family}"), format!("-A {chain} "));
        let mut inside = false;
        let mut rules = Vec::new();
        for line in text.lines() {
            match line {
                "# IPv4" | "# IPv6" => inside = line == section,
                "COMMIT" if !rules.is_empty() => break,
                _ if inside => rules.extend(line.strip_prefix(&rule).map(str::to_owned)),
                _ => {}
            }
        }
        rules
    }
}

/// The recipes of the author's book are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/author/recipes.md")]
struct Recipes;

fn reason(failure: &Failure) -> String {
    match failure {
        Failure::Settings(problem) => format!("setting {}: {}", problem.where_, problem.message),
        Failure::Resource(problem) => format!("resource {}: {}", problem.where_, problem.message),
        Failure::Waiting(text) => format!("waiting: {text}"),
        Failure::Other(text) => text.clone(),
    }
}

fn grants(owned: &Ownership) -> Result<Grants, String> {
    let patterns = |list: &[String]| {
        let parsed = list.iter().map(|text| Pattern::new(text)).collect::<Result<Vec<_>, _>>();
        parsed.map_err(|error| error.to_string())
    };
    let built_in = |text: &String| BuiltInChain::try_from(text.clone()).map_err(|error| error.to_string());
    Ok(Grants {
        tables: owned.tables.iter().map(|table| convert::table(*table)).collect(),
        chains: patterns(&owned.chains)?,
        sets: patterns(&owned.sets)?,
        comments: owned.comments.clone(),
        resources: Vec::new(),
        policies: owned.policies.iter().map(built_in).collect::<Result<_, _>>()?,
        uses: Uses { sets: patterns(&owned.uses_sets)?, chains: patterns(&owned.uses_chains)? },
        jumps: if owned.exclusive_jumps { Jumps::Exclusive } else { Jumps::Shared },
    })
}
