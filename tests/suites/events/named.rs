//! The report that this project began with, without a refresh that could help.

use ruleward_tests::policies::calico;
use ruleward_tests::save::rules_of;
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, can_be_told, until_named};
use serde_json::json;

use super::{comes_back, settled};
use crate::traffic::JUMP;

trial!(for backend in Backend::ALL, "events::{backend}::calico_10087", calico_10087(backend));
/// Calico issue 10087: an administrator deletes the jump from nat/POSTROUTING through the `iptables` crate.
fn calico_10087(backend: Backend) {
    let node = Node::new(backend);
    node.resources(include_str!("../../data/captures/v3.28.3/vxlan/resources.yaml"));
    node.configure(
        json!({ "refresh-interval": "1h", "watch": "auto", "policies": { "calico-postrouting": calico("3.28.2") } }),
    );
    let daemon = settled(&node);
    assert!(!daemon.status().watch_method().is_empty());
    for family in Family::ALL {
        let before = node.save(family, "nat");
        assert_eq!(rules_of(&before, "POSTROUTING"), [format!("-A POSTROUTING {JUMP}")]);
        let delete = || {
            let incidents = daemon.status().mark();
            node.stranger(family).delete("nat", "POSTROUTING", JUMP);
            comes_back(&node, family, "nat", &before);
            let incident = daemon.incident_after(&incidents, "rule-deleted", family, "nat", "POSTROUTING");
            assert_eq!(daemon.status().since(&incidents).len(), 1, "one deletion is one incident");
            incident
        };
        if can_be_told(backend) {
            let incident = until_named(backend, delete);
            assert_eq!(incident.actor().name, family.program(), "{incident:#?}");
        } else {
            let incident = delete();
            assert_eq!(incident.actor().name, "unknown", "{incident:#?}");
        }
    }
}
