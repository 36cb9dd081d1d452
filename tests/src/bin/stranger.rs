//! An administrator's script that changes iptables through the `iptables` crate: `stranger iptables delete nat
//! POSTROUTING "-j web"`. The crate finds the program by `PATH`, which its caller sets.

use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match tamper(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stranger: {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn tamper(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let [program, action @ ..] = words else { return Err("which program?".into()) };
    let iptables = iptables::new(*program == "ip6tables")?;
    match action {
        ["append", table, chain, rule] => iptables.append(table, chain, rule),
        ["insert", table, chain, rule, position] => iptables.insert(table, chain, rule, position.parse()?),
        ["replace", table, chain, rule, position] => iptables.replace(table, chain, rule, position.parse()?),
        ["delete", table, chain, rule] => iptables.delete(table, chain, rule),
        ["new-chain", table, chain] => iptables.new_chain(table, chain),
        ["flush-chain", table, chain] => iptables.flush_chain(table, chain),
        ["delete-chain", table, chain] => iptables.delete_chain(table, chain),
        ["rename-chain", table, chain, name] => iptables.rename_chain(table, chain, name),
        ["flush-table", table] => iptables.flush_table(table),
        _ => Err("no such action".into()),
    }
}
