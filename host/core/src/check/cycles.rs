//! Jumps of a policy's chains that lead in a circle.

use std::collections::{BTreeMap, BTreeSet};

use crate::contribution::Contribution;
use crate::names::{ChainName, Family, Table};
use crate::rule::{Match, Rule, Target};

use super::Judge;

impl<'a> Judge<'a> {
    /// A chain that can reach itself makes the kernel refuse the whole table: say which one it is.
    pub(super) fn cycles(&mut self, contribution: &'a Contribution) {
        let mut jumps: BTreeMap<(Family, Table, &ChainName), Vec<&ChainName>> = BTreeMap::new();
        for chain in &contribution.chains {
            for family in chain.families.iter() {
                let known = |name: &str| {
                    let own = self.known_chains.iter().filter(|(of, table, _)| (*of, *table) == (family, chain.table));
                    own.map(|(_, _, own)| *own).find(|own| own.as_str() == name)
                };
                let targets = chain.rules.iter().filter_map(|rule| match &rule.target {
                    Some(Target::Jump(target) | Target::Goto(target)) => Some(target),
                    Some(_) => None,
                    None => jump_at_end(rule).and_then(known),
                });
                let targets: BTreeSet<&ChainName> = targets.collect();
                jumps.insert((family, chain.table, &chain.name), targets.into_iter().collect());
            }
        }
        if let Some((table, path)) = find_cycle(&jumps) {
            let names: Vec<&str> = path.iter().map(|name| name.as_str()).collect();
            self.refuse(format!("chain {} in {table}", names[0]), format!("jumps in a circle: {}", names.join(" -> ")));
        }
    }
}

/// Where a whole rule that ends with a jump leads. The last two words of a rule can be nothing else.
fn jump_at_end(rule: &Rule) -> Option<&str> {
    let [Match::Verbatim(words)] = rule.matches.as_slice() else { return None };
    let [.., option, chain] = words.as_slice() else { return None };
    matches!(option.as_str(), "-j" | "-g" | "--jump" | "--goto").then_some(chain)
}

/// A path from a chain back to itself, if there is one. Iterative: a long chain of chains must not end the stack.
fn find_cycle<'a>(
    jumps: &BTreeMap<(Family, Table, &'a ChainName), Vec<&'a ChainName>>,
) -> Option<(Table, Vec<&'a ChainName>)> {
    let mut done = BTreeSet::new();
    for start in jumps.keys() {
        let mut path: Vec<((Family, Table, &ChainName), usize)> = vec![(*start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let node = *node;
            let target = if done.contains(&node) { None } else { jumps.get(&node).and_then(|to| to.get(*next)) };
            *next += 1;
            let Some(target) = target else {
                done.insert(node);
                path.pop();
                continue;
            };
            let target = (node.0, node.1, *target);
            if let Some(from) = path.iter().position(|(seen, _)| *seen == target) {
                let mut circle: Vec<&ChainName> = path[from..].iter().map(|(node, _)| node.2).collect();
                circle.push(target.2);
                return Some((node.1, circle));
            }
            path.push((target, 0));
        }
    }
    None
}
