//! The daemon runs, and what it works with is changed: by whatever way a file can change, whatever is changed in it, and
//! whatever is wrong with it. The new is in force without a restart, or refused with its reason while the old stays.

mod apart;
mod crash;
mod files;
mod policies;
mod refusals;
mod restarts;
mod silence;
mod snapshot;
mod traffic;

use std::fs;
use std::sync::Arc;

use ruleward_tests::policies::{attachment, chain, static_rules};
use ruleward_tests::{Backend, Daemon, Family, Node, Placement, Status, policy_file, poll};
use serde_json::{Value, json};

/// A static-rules policy that owns `PREFIX-*` in filter and nat, and lets this port pass, with its component in the
/// node's folder.
pub fn policy(prefix: &str, port: u16) -> Value {
    let name = format!("{prefix}-in");
    let mut policy = static_rules(
        &[chain(None, "filter", &name, &[format!("-p tcp --dport {port} -j RETURN")])],
        &[attachment(None, "filter", "INPUT", Placement::First, &format!("-j {name}"))],
        &[],
    );
    policy["grants"] =
        json!({ "tables": ["filter", "nat"], "chains": [format!("{prefix}-*")], "sets": [format!("{prefix}-*")] });
    policy["component"] = json!(format!("./{prefix}.wasm"));
    policy
}

/// A node with a daemon that nobody asks, under the policy `web`, which owns `op-*` and lets port 80 pass.
pub fn node(backend: Backend) -> (Arc<Node>, Daemon) {
    let node = Node::new(backend);
    fs::write(node.path("op.wasm"), variant(0)).expect("the node's directory is writable");
    node.configure(json!({ "watch": "auto", "policies": { "web": policy("op", 80) } }));
    let daemon = node.daemon();
    (node, daemon)
}

/// The component of static-rules with a custom section that makes it another file, and no other policy.
fn variant(number: u32) -> Vec<u8> {
    padded(number, 4)
}

/// The same with so many bytes in the section.
fn padded(number: u32, length: usize) -> Vec<u8> {
    let mut bytes = fs::read(policy_file("static-rules.wasm")).expect("a built policy is readable");
    let name = b"variant";
    bytes.push(0);
    leb128(&mut bytes, 1 + name.len() + length);
    bytes.push(u8::try_from(name.len()).expect("a short name"));
    bytes.extend(name);
    bytes.extend(number.to_le_bytes());
    bytes.resize(bytes.len() + length - 4, 0);
    bytes
}

fn leb128(bytes: &mut Vec<u8>, mut value: usize) {
    while value > 0x7f {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
}

/// `sha256:...` of a file.
fn digest(node: &Node, name: &str) -> String {
    let output = node.command("sha256sum").args(&[node.path(name)]).must();
    format!("sha256:{}", output.split(' ').next().unwrap_or_default())
}

/// Waits until the rules of `PREFIX-in` let this port pass, in both families.
#[track_caller]
pub fn comes_into_force(node: &Node, prefix: &str, port: u16) {
    for family in Family::ALL {
        poll(&format!("{prefix}-in lets port {port} pass in {family}"), || {
            lets_pass(node, family, prefix, port).then_some(())
        });
    }
}

fn lets_pass(node: &Node, family: Family, prefix: &str, port: u16) -> bool {
    node.save(family, "filter").contains(&format!("-A {prefix}-in -p tcp -m tcp --dport {port} -j RETURN"))
}

/// Waits until the status says that this version of a policy is in force, and nothing else is asked for.
#[track_caller]
fn in_force(daemon: &Daemon, policy: &str, digest: &str) -> Status {
    daemon.wait_until(&format!("running {policy} {digest}"), |status| {
        let mut policies = status.report.policies.iter();
        policies.any(|one| {
            one.name == policy
                && one.digest.as_deref() == Some(digest)
                && one.candidate.is_none()
                && one.state == "current"
        })
    })
}

/// Waits until a new version of a policy is refused, with these words.
#[track_caller]
pub fn is_refused(daemon: &Daemon, policy: &str, words: &[&str]) -> Status {
    daemon.wait_until(&format!("refusing {policy} with {words:?}"), |status| {
        let candidate = status.report.policies.iter().find(|one| one.name == policy);
        let candidate = candidate.and_then(|policy| policy.candidate.as_ref());
        candidate.is_some_and(|candidate| {
            let reason = candidate.reason.as_deref().unwrap_or_default();
            candidate.state == "refused" && words.iter().all(|word| reason.contains(word))
        })
    })
}
