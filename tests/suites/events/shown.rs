//! What the metrics, the health and the status page of a running daemon say of damage that a stranger does.

use std::os::unix::net::UnixStream;

use ruleward_tests::trial;
use ruleward_tests::web::{get, metric};
use ruleward_tests::{Backend, Family, can_be_told, poll};

use super::{JUMPS, comes_back, deletion, quiet_node};

trial!(
    for backend in Backend::ALL,
    "events::{backend}::shown::a_repair_and_its_actor",
    a_repair_and_its_actor(backend)
);
fn a_repair_and_its_actor(backend: Backend) {
    let (node, daemon) = quiet_node(backend, &[]);
    let (table, hook, _) = JUMPS[1];
    assert!(get(&node, "/livez").starts_with("HTTP/1.1 200"));
    assert!(get(&node, "/readyz").starts_with("HTTP/1.1 200"));
    assert_eq!(metric(&node, "ruleward_in_sync", &[]), 1.0);
    // A chain of two rules and a jump, in each of four tables and both families.
    assert_eq!(metric(&node, "ruleward_rules", &["policy=\"web\""]), 24.0);
    assert_eq!(metric(&node, "ruleward_chains", &["policy=\"web\"", "family=\"ipv6\""]), 4.0);
    let drift = ["kind=\"rule-deleted\"", "family=\"ipv4\"", "table=\"nat\"", "repaired=\"true\""];
    assert_eq!(metric(&node, "ruleward_drifts_total", &drift), 0.0);
    let commits = metric(&node, "ruleward_commits_total", &[]);

    let (before, incidents) = (node.save(Family::Ipv4, table), daemon.status().mark());
    let tool = Family::Ipv4.tool(backend, "");
    let line = format!("exec {tool} -w -t {table} {}", deletion(&node, Family::Ipv4, JUMPS[1]));
    node.command("sh").args(&["-c", &line]).must();
    comes_back(&node, Family::Ipv4, table, &before);
    let incident = daemon.incident_after(&incidents, "rule-deleted", Family::Ipv4, table, hook);

    poll("the metrics tell of it", || (metric(&node, "ruleward_drifts_total", &drift) == 1.0).then_some(()));
    assert_eq!(metric(&node, "ruleward_commits_total", &[]), commits + 1.0);
    assert_eq!(metric(&node, "ruleward_repair_latency_seconds_count", &[]), 1.0);
    assert!(metric(&node, "ruleward_repair_latency_seconds_sum", &[]) > 0.0);
    let page = get(&node, "/");
    assert!(page.contains("<strong>IN SYNC</strong>") && page.contains("<strong>rule-deleted</strong>"), "{page}");
    if can_be_told(backend) {
        let actor = &incident.actor().name;
        let kernel_name: String = tool.chars().take(15).collect(); // what the kernel keeps of a name
        // On legacy it may have ended before it was looked at.
        assert!(*actor == kernel_name || (backend == Backend::Legacy && !incident.actor().is_named()), "{incident:#?}");
        assert_eq!(metric(&node, "ruleward_drifts_total", &[drift[0], &format!("actor=\"{actor}\"")]), 1.0);
        assert!(page.contains(&format!("by <span class=\"actor\">{actor} (pid ")), "{page}");
    }
    daemon.stop();
    assert!(UnixStream::connect(node.path("run/http.sock")).is_err(), "nobody answers any more");
}
