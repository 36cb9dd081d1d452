//! Cases that are named after the report that taught them.

use ruleward_tests::policies::calico;
use ruleward_tests::save::{assert_same, rules_of};
use ruleward_tests::trial;
use ruleward_tests::{Backend, Family, Node, poll};
use serde_json::json;

trial!(for backend in Backend::ALL, "matrix::{backend}::calico_10087", calico_10087(backend));
/// Calico issue 10087: nat/POSTROUTING holds nothing but the appended jump, an administrator deletes it, and the
/// periodic refresh never notices because it skips built-in chains that only have appended rules.
fn calico_10087(backend: Backend) {
    let node = Node::new(backend);
    node.resources(include_str!("../../data/captures/v3.28.3/vxlan/resources.yaml"));
    node.configure(json!({ "refresh-interval": "200ms", "policies": { "calico-postrouting": calico("3.28.2") } }));
    let daemon = node.daemon();
    for family in Family::ALL {
        let before = node.save(family, "nat");
        let jump = "-m comment --comment \"cali:0i8pjzKKPyA34aQD\" -j cali-POSTROUTING";
        assert_eq!(rules_of(&before, "POSTROUTING"), [format!("-A POSTROUTING {jump}")]);

        let incidents = daemon.status().incidents_total;
        node.stranger(family).delete("nat", "POSTROUTING", jump);
        // Nobody asks: the daemon's own timer must find it.
        poll("the jump comes back", || (node.save(family, "nat") == before).then_some(()));
        let status =
            daemon.wait_until("counted", |status| status.incidents_total == incidents + 1 && status.report.in_sync);
        assert_eq!(status.node_name, "node1");
        assert_same("the table", &before, &node.save(family, "nat"));
    }
}
