//! The story, in order: not masqueraded, Ruleward starts, masqueraded, the jump is deleted and comes back at once, the
//! incident has a name and a time, Ruleward stops and the rules stay.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::IpAddr;
use std::path::Path;

use crate::command::Run;
use crate::demo::daemon::Daemon;
use crate::demo::{network, terminal};

const CHAIN: &str = "POSTROUTING";
const JUMP: &str = "-j cali-POSTROUTING";

/// Tells it; ends with an error at the first claim that does not hold.
pub fn tell(scratch: &Path) -> Result<()> {
    terminal::headline("A pod, a node and the outside world, as network namespaces joined by veth");
    network::build()?;
    terminal::quoted("pod 10.244.1.10 ---- 10.244.1.1 node 192.0.2.7 ---- 192.0.2.1 outside");
    expect(network::POD, "before Ruleward runs")?;

    terminal::headline("Ruleward starts, with the policy calico-postrouting and one of Calico's own resources");
    let mut daemon = Daemon::start(scratch)?;
    let took = daemon.wait("the kernel is in sync", in_sync)?;
    terminal::aside(&format!("in sync {} ms after the start", took.as_millis()));
    show_jump()?;
    expect(network::NODE, "with Ruleward's rules in force")?;

    terminal::headline("An administrator deletes the jump (Calico v3.28.2 never puts it back)");
    let jump = jump()?.context("the jump to cali-POSTROUTING is not there")?;
    let incidents = incidents(&daemon)?;
    let deletion = jump.replacen("-A ", "-D ", 1);
    terminal::typed(&format!("iptables -t nat {deletion}"));
    delete(&deletion)?;
    let repaired = |status: &Value| in_sync(status) && status["incidents-total"].as_u64() > Some(incidents);
    daemon.wait("the jump is back", repaired)?;
    show_jump()?;
    ensure!(self::jump()?.as_ref() == Some(&jump), "the jump came back in another form than it had: {jump}");
    expect(network::NODE, "after the repair")?;

    terminal::headline("It was back before the next packet. Who had done it, and how long was it gone?");
    terminal::typed("ruleward incidents");
    quote(&daemon, "incidents")?;
    terminal::typed("ruleward status");
    quote(&daemon, "status")?;

    terminal::headline("Ruleward stops; what it guards stays in force");
    daemon.stop()?;
    expect(network::NODE, "after Ruleward stopped")?;
    terminal::success("Every step was as claimed.");
    Ok(())
}

/// Measures what the outside sees, shows it, and checks it.
fn expect(source: &str, when: &str) -> Result<()> {
    let delivery = network::send()?;
    let node: IpAddr = network::NODE.parse()?;
    terminal::delivery(delivery, node);
    let wanted: IpAddr = source.parse()?;
    ensure!(delivery.seen == wanted, "{when} the outside should see {wanted}, but saw {}", delivery.seen);
    let answered = wanted == node;
    ensure!(
        delivery.answered == answered,
        "{when} the pod should {}hear the answer",
        if answered { "" } else { "not " }
    );
    Ok(())
}

/// Asks the program and shows what it says, which must be good.
fn quote(daemon: &Daemon, command: &str) -> Result<()> {
    let (code, text) = daemon.ask(&[command])?;
    terminal::quoted(&text);
    ensure!(code == Some(0), "`ruleward {command}` ended with {code:?}; the daemon's log:\n{}", daemon.log());
    Ok(())
}

fn in_sync(status: &Value) -> bool {
    status["in-sync"] == true
}

fn incidents(daemon: &Daemon) -> Result<u64> {
    let (_, text) = daemon.ask(&["--output", "json", "status"])?;
    let status: Value = serde_json::from_str(&text).context("`ruleward status --output json` did not print JSON")?;
    status["incidents-total"].as_u64().context("status has no number `incidents-total`")
}

/// The rule that jumps, in iptables' own words.
fn jump() -> Result<Option<String>> {
    Ok(listing()?.lines().find(|line| line.contains(JUMP)).map(str::to_owned))
}

fn listing() -> Result<String> {
    Run::new("iptables").args(["-w", "-t", "nat", "-S", CHAIN]).text()
}

fn show_jump() -> Result<()> {
    terminal::typed(&format!("iptables -t nat -S {CHAIN}"));
    terminal::quoted(&listing()?);
    Ok(())
}

/// As an administrator would: with iptables itself.
fn delete(deletion: &str) -> Result<()> {
    let words = deletion.split(' ').map(|word| word.trim_matches('"'));
    Run::new("iptables").args(["-w", "-t", "nat"]).args(words).text().map(drop)
}
