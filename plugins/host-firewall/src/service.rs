//! Services by name, or by port and protocol.

use ruleward_sdk::settings::Ports;
use ruleward_sdk::{Rule, protocol};

/// A protocol, and its first and last port.
type Range = (u8, u16, u16);

/// Names, with the ports that they stand for.
const KNOWN: [(&str, &[Range]); 20] = [
    ("bgp", &[(protocol::TCP, 179, 179)]),
    ("dhcp-client", &[(protocol::UDP, 68, 68), (protocol::UDP, 546, 546)]),
    ("dns", &[(protocol::TCP, 53, 53), (protocol::UDP, 53, 53)]),
    ("etcd", &[(protocol::TCP, 2379, 2380)]),
    ("geneve", &[(protocol::UDP, 6081, 6081)]),
    ("http", &[(protocol::TCP, 80, 80)]),
    ("https", &[(protocol::TCP, 443, 443)]),
    ("kube-apiserver", &[(protocol::TCP, 6443, 6443)]),
    ("kubelet", &[(protocol::TCP, 10250, 10250)]),
    ("mysql", &[(protocol::TCP, 3306, 3306)]),
    ("nfs", &[(protocol::TCP, 2049, 2049)]),
    ("node-exporter", &[(protocol::TCP, 9100, 9100)]),
    ("node-ports", &[(protocol::TCP, 30000, 32767), (protocol::UDP, 30000, 32767)]),
    ("ntp", &[(protocol::UDP, 123, 123)]),
    ("postgresql", &[(protocol::TCP, 5432, 5432)]),
    ("smtp", &[(protocol::TCP, 25, 25)]),
    ("ssh", &[(protocol::TCP, 22, 22)]),
    ("typha", &[(protocol::TCP, 5473, 5473)]),
    ("vxlan", &[(protocol::UDP, 4789, 4789)]),
    ("wireguard", &[(protocol::UDP, 51820, 51821)]),
];

/// Rules without a target, one for each protocol and range of the service.
///
/// # Errors
/// What is wrong with the name, and which there are.
pub fn rules(name: &str) -> Result<Vec<Rule>, String> {
    if name == "all" {
        return Ok(vec![Rule::new()]);
    }
    if let Some((_, ports)) = KNOWN.iter().find(|(known, _)| *known == name) {
        let rule = |(number, first, last): &Range| Rule::new().protocol(*number).destination_port(*first..=*last);
        return Ok(ports.iter().map(rule).collect());
    }
    let (ports, word) = name.split_once('/').ok_or_else(|| unknown(name))?;
    let number = match word {
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "sctp" => protocol::SCTP,
        other => return Err(format!("{other:?} is no protocol with ports; write tcp, udp or sctp")),
    };
    let ports: Ports = ports.parse()?;
    Ok(vec![Rule::new().protocol(number).destination_port(ports)])
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
    format!("{name:?} is no service; write a port (8080/tcp, 60000-61000/udp), all, or one of {}", names.join(", "))
}
