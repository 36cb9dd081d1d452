//! Calico's resources as YAML.

/// This node and another one.
pub const NODE: &str = "
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node1}
spec:
  bgp: {ipv4Address: 10.10.0.1/24, ipv6Address: 'fd10::1/64', ipv4IPIPTunnelAddr: 192.168.0.1}
  ipv4VXLANTunnelAddr: 192.168.0.2
  ipv6VXLANTunnelAddr: 'fd00:10:244::2'
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node2}
spec:
  addresses: [{address: 10.9.0.2, type: ExternalIP}, {address: 10.10.0.2, type: InternalIP}]
";
/// One pool, in the spelling of the Kubernetes datastore.
pub const POOL: &str = "
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: {name: pool4}
spec: {cidr: 192.168.0.0/16, natOutgoing: true}
";

pub fn felix(name: &str, spec: &str) -> String {
    format!(
        "\n---\napiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )
}

pub fn pool(name: &str, spec: &str) -> String {
    format!("\n---\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

pub fn workload(name: &str, node: &str, nats: &str) -> String {
    format!(
        "\n---\napiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {{name: {name}, namespace: shop}}
spec: {{node: {node}, orchestrator: k8s, ipNetworks: [10.0.240.2/32], ipNATs: [{nats}]}}\n"
    )
}
