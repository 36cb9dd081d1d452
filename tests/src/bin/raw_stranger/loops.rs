//! What goes on until standard input closes, and bursts.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ruleward_tests::raw::{Message, Nft, Place, Result, Rule};

/// Turns true when standard input closes.
fn ended() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&flag);
    std::thread::spawn(move || {
        // An error ends the input just as well.
        std::io::stdin().read_to_end(&mut Vec::new()).ok();
        shared.store(true, Ordering::Release);
    });
    flag
}

fn say(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}

/// Deletes every rule with `needle` as soon as it is there. Looks only when the generation changed.
pub fn delete(place: &Place, needle: &str, count: usize) -> Result<()> {
    let (ended, mut nft) = (ended(), Nft::open()?);
    let (mut deleted, mut seen) = (0, None);
    while !ended.load(Ordering::Acquire) && (count == 0 || deleted < count) {
        let generation = nft.generation()?;
        if seen == Some(generation) {
            std::thread::yield_now();
            continue;
        }
        seen = Some(generation);
        let now = nft.delete_needle(place, needle)?;
        if deleted == 0 && now > 0 {
            say("begun")?;
        }
        deleted += now;
    }
    say(&format!("deleted {deleted}"))
}

/// Adds `count` rules to a chain, which is made if need be: in one transaction or in one each.
pub fn burst(place: &Place, count: usize, one: bool) -> Result<()> {
    let mut nft = Nft::open()?;
    nft.commit(&[place.create()])?;
    let rules = (1..=count).map(|number| place.commented(&format!("burst {number}"), true));
    if one {
        let mut rules: Vec<_> = rules.collect();
        // No answer but the last one's: they would not fit into the receive buffer.
        let quiet = rules.len().saturating_sub(1);
        rules.iter_mut().take(quiet).for_each(Message::be_quiet);
        nft.commit(&rules)?;
    } else {
        for rule in rules {
            nft.commit(&[rule])?;
        }
    }
    Ok(())
}

/// Adds rules of its own at both ends of a chain and deletes one from the middle, again and again, and prints a line
/// `left COMMENT` for each that should be there in the end, in order. Between two rounds it pauses: without a pause no
/// one else's transaction, computed from a generation, ever comes in time.
pub fn write(place: &Place, prefix: &str, pause: Duration) -> Result<()> {
    let (ended, mut nft) = (ended(), Nft::open()?);
    let mut own: VecDeque<(String, Rule)> = VecDeque::new();
    let mut rounds = 0_u64;
    while !ended.load(Ordering::Acquire) {
        rounds += 1;
        let (append, comment) = (rounds.is_multiple_of(2), format!("{prefix}-{rounds}"));
        let mut batch = vec![place.commented(&comment, append)];
        // In the same transaction, so that half of it is never right.
        let gone = if own.len() >= 8 { own.remove(own.len() / 2) } else { None };
        if let Some((_, rule)) = &gone {
            batch.push(place.delete(rule));
        }
        let echoed = nft.commit(&batch)?;
        let rule = echoed.iter().filter_map(|body| Rule::parse(body)).find(|rule| rule.holds(&comment));
        let rule = rule.ok_or("the kernel did not echo the new rule")?;
        if append {
            own.push_back((comment, rule));
        } else {
            own.push_front((comment, rule));
        }
        if rounds.is_multiple_of(1000) {
            say(&format!("round {rounds}"))?;
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    for (comment, _) in &own {
        say(&format!("left {comment}"))?;
    }
    say(&format!("rounds {rounds}"))
}

/// Reads chains and prints `state GENERATION DIGEST` whenever they are not as before. Only what was read between two
/// equal readings of the generation is a state; the last line tells how many there were.
pub fn watch(places: &[Place]) -> Result<()> {
    let (ended, mut nft) = (ended(), Nft::open()?);
    let (mut last, mut dumps) = (None, 0_u64);
    while !ended.load(Ordering::Acquire) {
        let generation = nft.generation()?;
        let mut state = Vec::new();
        let mut whole = true;
        for place in places {
            match nft.try_dump(place)? {
                Some(rules) => state.push(rules.iter().map(Rule::meaning).collect::<Vec<_>>()),
                None => whole = false,
            }
        }
        if !whole || nft.generation()? != generation {
            continue;
        }
        dumps += 1;
        if last.as_ref() != Some(&state) {
            say(&format!("state {generation} {:016x}", digest(&state)))?;
            last = Some(state);
        }
    }
    say(&format!("dumps {dumps}"))
}

/// The same for the same states within one run.
fn digest(state: &[Vec<Vec<u8>>]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}
