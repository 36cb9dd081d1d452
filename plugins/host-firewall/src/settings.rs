//! What the operator writes.

use ruleward_sdk::settings::Network;
use schemars::JsonSchema;
use serde::Deserialize;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Who may reach what. A packet belongs to the first zone that it fits.
    #[serde(default)]
    pub zones: Vec<Zone>,
    /// SSH, admitted before any zone.
    #[serde(default)]
    pub ssh: Ssh,
    /// What happens to a packet that no zone admits.
    #[serde(default)]
    pub otherwise: Otherwise,
    /// Whether such packets are written to the kernel's log, at most 10 a minute.
    #[serde(default = "yes")]
    pub log: bool,
    /// Whether echo requests (ping) are answered, at most 10 a second.
    #[serde(default = "yes")]
    pub ping: bool,
    /// Whether answers to this node's DHCP client (DHCPv4 and DHCPv6) are admitted. Off: a node that gets its address by
    /// DHCP loses it when the lease expires.
    #[serde(default = "yes")]
    pub dhcp_client: bool,
}

fn yes() -> bool {
    true
}

/// Interfaces and networks, and the services that are open to them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Zone {
    /// Lower-case letters, digits and hyphens.
    #[schemars(length(min = 1, max = 16), regex(pattern = "^[a-z0-9-]+$"))]
    pub name: String,
    /// Where packets come in: "eth0", "eth+". Any if not given.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Where packets come from. Anywhere if not given.
    #[serde(default)]
    pub sources: Vec<Network>,
    /// What is open: "https", "8080/tcp", "60000-61000/udp", or "all".
    #[serde(default)]
    pub services: Vec<Service>,
}

/// A service, and how many new connections are admitted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a service such as \"https\" or \"8080/tcp\", or { service = \"https\", limit = 10 }"
)]
pub enum Service {
    /// Without a limit.
    Plain(String),
    /// With one.
    Limited(LimitedService),
}

/// A service with a limit.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LimitedService {
    /// What is open.
    pub service: String,
    /// New connections from one address that are admitted in a minute.
    #[schemars(range(min = 1, max = 10000))]
    pub limit: u32,
}

/// SSH.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Ssh {
    /// Its port.
    pub port: u16,
    /// Who may reach it; everybody if not given.
    pub from: Vec<Network>,
    /// New connections from one address that are admitted in a minute; 0: no limit.
    #[schemars(range(max = 10000))]
    pub limit: u32,
    /// Off: SSH is not admitted unless a zone does. Whoever relies on it is locked out.
    pub enabled: bool,
}

impl Default for Ssh {
    fn default() -> Self {
        Self { port: 22, from: Vec::new(), limit: 20, enabled: true }
    }
}

/// What happens to a packet that nobody admits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Otherwise {
    /// It is discarded.
    #[default]
    Drop,
    /// It is discarded, and the sender is told.
    Reject,
    /// It goes on to other rules of the machine.
    Pass,
}
