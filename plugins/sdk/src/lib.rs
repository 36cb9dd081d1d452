//! What a Ruleward policy in Rust is made of: the types of `wit/policy.wit`, constructors that read like rules, and
//! the entry points of the component.
//!
//! A policy is one function over typed settings, named once in [`policy!`]; its settings' JSON Schema comes from their
//! type. Resources are read as types of your own ([`Facts::read_resources`]). Everything works natively too, so a policy
//! is tested with `cargo test` and without WebAssembly; [`log`] then collects its lines.
//!
//! Below `policy!` is the trait [`Policy`], exported with [`export_policy!`], for policies that read their settings
//! themselves:
//!
//! ```
//! use ruleward_sdk::{Chain, Contribution, Description, Facts, Failure, Ownership, Policy, Rule, Table, protocol};
//!
//! struct Web;
//!
//! impl Policy for Web {
//!     fn describe() -> Description {
//!         Description::new("web", "1.0.0", "Opens the web server's port.")
//!             .wanting(Ownership { tables: vec![Table::Filter], chains: vec!["web-*".into()], ..Ownership::default() })
//!     }
//!
//!     fn evaluate(_facts: &Facts, _settings: &str) -> Result<Contribution, Failure> {
//!         let open = Rule::new().protocol(protocol::TCP).destination_port(443).accept();
//!         Ok(Contribution::new().chain(Chain::new(Table::Filter, "web-in").rule(open)))
//!     }
//! }
//!
//! ruleward_sdk::export_policy!(Web);
//! # fn main() {}
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bindings;
#[cfg(target_arch = "wasm32")]
mod bump;
mod contribution;
mod description;
mod export;
mod json;
pub mod log;
mod network;
pub mod protocol;
mod resources;
mod rule;
pub mod settings;
#[doc(hidden)]
pub mod typed;

pub use bindings::ruleward::policy::types::{
    AddressRange, AddressSet, AddressType, AddressTypeLimit, AddressTypeMatch, AddressTypeTest, Attachment, Backend,
    Chain, ChainPolicy, ConnmarkAction, ConntrackStateMatch, ConntrackStates, Contribution, Description, Direction,
    Extension, Facts, Failure, Families, Family, Hook, IcmpMatch, InterfaceMatch, IpAddress, IpNetwork, Ipv6Address,
    LimitMatch, LogLevel, LogPacket, MarkMatch, MarkSet, Masquerade, Match, Nat, NetworkInterface, NetworkMatch,
    NetworkPort, Nflog, NftTable, Ownership, Placement, PortMatch, PortRange, Problem, ProtocolMatch, RateUnit,
    RejectKind, Resource, Rule, SetMatch, SetMember, SetType, System, Table, Target, TcpFlags, TcpFlagsMatch, TcpMss,
    Tproxy, Verdict, Version,
};
pub use export::Policy;
#[doc(hidden)]
pub use export::{Component, bindings_for_export, install_panic_hook};
pub use ipnet;
pub use network::NetworkError;
pub use typed::{NoSettings, read_settings, schema_of};
