//! Whatever other programs do, in whatever order, with whatever failing: when it is quiet again the
//! kernel has what the policies asked for, and nothing foreign was touched.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use ruleward_core::base_chain::TableState;
use ruleward_core::contribution::{Contribution, Verdict};
use ruleward_core::names::{Backend, Family, Hook, Table};
use ruleward_core::simulate::{Simulated, base_of};
use ruleward_kernel::sim::Fault;

use super::world::{POLICIES, Rules, World, contribution, is_own_chain, own_rules, own_sets};

/// What another program does to the kernel.
#[derive(Debug, Clone)]
enum Deed {
    Delete { chain: usize, at: usize },
    Insert { chain: usize, at: usize },
    Flush { chain: usize },
    Swap { chain: usize, at: usize },
    Duplicate { chain: usize, at: usize },
    Edit { chain: usize, at: usize },
    DropChain { chain: usize },
    FlushTable { nat: bool },
    Rename { chain: usize },
    Policy { drops: bool },
    Dormant,
    Unhook { chain: usize },
    EmptySet,
    AddMember,
    DropMember,
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Happening {
    Deed {
        family: Family,
        deed: Deed,
        unheard: bool,
    },
    /// The next writes are refused.
    Refuse(usize),
    /// Another program writes just before our next write, or undoes it.
    Race(Family, Deed),
    Undo(Family, Deed),
    /// Another program writes just before our next look: that shows it before it was heard of.
    Seen(Family, Deed),
    Policy {
        policy: usize,
        variant: Option<u8>,
    },
    Ask,
    Wait(Duration),
}

const CHAINS: [(Table, &str); 7] = [
    (Table::Filter, "INPUT"),
    (Table::Filter, "FORWARD"),
    (Table::Filter, "OUTPUT"),
    (Table::Filter, "web-in"),
    (Table::Filter, "web-log"),
    (Table::Nat, "POSTROUTING"),
    (Table::Nat, "nat-out"),
];

impl Deed {
    fn is_of_sets(&self) -> bool {
        matches!(self, Self::EmptySet | Self::AddMember | Self::DropMember)
    }

    /// Does it, as far as a kernel lets it be done.
    fn apply(&self, kernel: &mut Simulated, family: Family, backend: Backend) {
        let rules = |kernel: &mut Simulated, chain: usize, work: &mut dyn FnMut(&mut Vec<String>)| {
            let (table, name) = CHAINS[chain];
            if let Some(rules) = kernel.table(family, table).get_mut(name) {
                work(rules);
            }
        };
        match *self {
            Self::Delete { chain, at } => rules(kernel, chain, &mut |rules| {
                if !rules.is_empty() {
                    rules.remove(at % rules.len());
                }
            }),
            Self::Insert { chain, at } => rules(kernel, chain, &mut |rules| {
                let number = rules.len() + at;
                rules.insert(at % (rules.len() + 1), format!("-p {} -j RETURN", 40 + number % 50));
            }),
            Self::Flush { chain } => rules(kernel, chain, &mut |rules| rules.clear()),
            Self::Swap { chain, at } => rules(kernel, chain, &mut |rules| {
                if rules.len() > 1 {
                    let at = at % (rules.len() - 1);
                    rules.swap(at, at + 1);
                }
            }),
            Self::Duplicate { chain, at } => rules(kernel, chain, &mut |rules| {
                if !rules.is_empty() {
                    let rule = rules[at % rules.len()].clone();
                    rules.insert(at % (rules.len() + 1), rule);
                }
            }),
            // The same comment, and another body.
            Self::Edit { chain, at } => rules(kernel, chain, &mut |rules| {
                if !rules.is_empty() {
                    let at = at % rules.len();
                    rules[at] = format!("-p 99 {}", rules[at]);
                }
            }),
            Self::DropChain { chain } => drop_chain(kernel, family, CHAINS[chain]),
            Self::FlushTable { nat } => {
                let table = if nat { Table::Nat } else { Table::Filter };
                let chains = kernel.table(family, table);
                chains.retain(|name, _| Hook::from_name(name).is_some());
                chains.values_mut().for_each(Vec::clear);
            }
            Self::Rename { chain } => {
                let (table, name) = CHAINS[chain];
                let chains = kernel.table(family, table);
                if is_own_chain(name) && !chains.contains_key("elsewhere") {
                    let Some(rules) = chains.remove(name) else { return };
                    chains.insert("elsewhere".to_owned(), rules);
                    let (old, new) = (format!("-j {name}"), "-j elsewhere".to_owned());
                    for rule in chains.values_mut().flatten().filter(|rule| rule.ends_with(&old)) {
                        *rule = rule.replace(&old, &new);
                    }
                }
            }
            Self::Policy { drops } => {
                let verdict = if drops { Verdict::Drop } else { Verdict::Accept };
                *kernel.policy((family, Table::Filter), Hook::Input) = verdict;
            }
            Self::Dormant if backend == Backend::Nft => {
                *kernel.table_state((family, Table::Filter)) = TableState { dormant: true, ..TableState::default() };
            }
            Self::Unhook { chain } if backend == Backend::Nft && Hook::from_name(CHAINS[chain].1).is_some() => {
                let (table, name) = CHAINS[chain];
                kernel.table(family, table);
                kernel.hang((family, table), name, None);
            }
            Self::Dormant | Self::Unhook { .. } => {}
            Self::EmptySet => members(kernel, &mut |_| Vec::new()),
            Self::AddMember => members(kernel, &mut |members| [members, &["198.51.100.7".to_owned()]].concat()),
            Self::DropMember => members(kernel, &mut |members| members.iter().skip(1).cloned().collect()),
        }
    }
}

fn members(kernel: &mut Simulated, work: &mut dyn FnMut(&[String]) -> Vec<String>) {
    if let Some(set) = kernel.sets().get_mut("web-blocked") {
        let members: Vec<String> = set.members.iter().map(str::to_owned).collect();
        let now = work(&members);
        set.members = ruleward_core::members::Members::sorted(now.iter().map(String::as_str).collect());
    }
}

/// No kernel lets a chain go that is jumped to.
fn drop_chain(kernel: &mut Simulated, family: Family, (table, name): (Table, &str)) {
    if is_own_chain(name) {
        let (chains, word) = (kernel.table(family, table), format!("-j {name}"));
        chains.values_mut().for_each(|rules| rules.retain(|rule| !rule.ends_with(&word)));
        chains.remove(name);
    }
}

fn deed() -> impl Strategy<Value = Deed> {
    let (chain, at) = (0..CHAINS.len(), 0..6_usize);
    prop_oneof![
        4 => (chain.clone(), at.clone()).prop_map(|(chain, at)| Deed::Delete { chain, at }),
        3 => (chain.clone(), at.clone()).prop_map(|(chain, at)| Deed::Insert { chain, at }),
        2 => chain.clone().prop_map(|chain| Deed::Flush { chain }),
        2 => (chain.clone(), at.clone()).prop_map(|(chain, at)| Deed::Swap { chain, at }),
        2 => (chain.clone(), at.clone()).prop_map(|(chain, at)| Deed::Duplicate { chain, at }),
        2 => (chain.clone(), at).prop_map(|(chain, at)| Deed::Edit { chain, at }),
        2 => chain.clone().prop_map(|chain| Deed::DropChain { chain }),
        1 => any::<bool>().prop_map(|nat| Deed::FlushTable { nat }),
        1 => chain.clone().prop_map(|chain| Deed::Rename { chain }),
        1 => any::<bool>().prop_map(|drops| Deed::Policy { drops }),
        1 => Just(Deed::Dormant),
        1 => chain.prop_map(|chain| Deed::Unhook { chain }),
        1 => Just(Deed::EmptySet),
        1 => Just(Deed::AddMember),
        1 => Just(Deed::DropMember),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

fn happening() -> impl Strategy<Value = Happening> {
    let wait = prop_oneof![0..5_u64, 5..500_u64, 500..20_000_u64, 20_000..200_000_u64];
    prop_oneof![
        8 => (family(), deed(), prop::bool::weighted(0.2))
            .prop_map(|(family, deed, unheard)| Happening::Deed { family, deed, unheard }),
        1 => (1..4_usize).prop_map(Happening::Refuse),
        2 => (family(), deed()).prop_map(|(family, deed)| Happening::Race(family, deed)),
        2 => (family(), deed()).prop_map(|(family, deed)| Happening::Undo(family, deed)),
        2 => (family(), deed()).prop_map(|(family, deed)| Happening::Seen(family, deed)),
        2 => (0..POLICIES.len(), prop::option::weighted(0.8, 0..4_u8))
            .prop_map(|(policy, variant)| Happening::Policy { policy, variant }),
        1 => Just(Happening::Ask),
        5 => wait.prop_map(|millis| Happening::Wait(Duration::from_millis(millis))),
    ]
}

/// A node on which this happened, and then nothing for a quarter of an hour; with what its policies ask for now.
fn after(backend: Backend, happenings: &[Happening]) -> (World, BTreeMap<&'static str, Option<Contribution>>) {
    let mut world = World::new(backend);
    world.claims = Some(shows_what_is_in_force);
    let mut asked: BTreeMap<&str, _> = POLICIES.map(|policy| (policy, Some(contribution(policy, 0)))).into();
    world.start();
    for happening in happenings {
        match happening {
            Happening::Deed { family, deed, unheard } => {
                world.foreign(|kernel| deed.apply(kernel, *family, backend), *unheard);
            }
            Happening::Refuse(times) => (0..*times).for_each(|_| world.kernel.fault(Fault::Refuse)),
            Happening::Race(family, deed) => {
                let (family, deed) = (*family, deed.clone());
                let change = world.later(move |kernel| deed.apply(kernel, family, backend));
                world.kernel.fault(Fault::Stranger(change));
            }
            Happening::Undo(family, deed) => {
                let (family, deed) = (*family, deed.clone());
                let change = world.later(move |kernel| deed.apply(kernel, family, backend));
                world.kernel.fault(Fault::Undo(change));
            }
            Happening::Seen(family, deed) => {
                let (family, deed) = (*family, deed.clone());
                world.kernel.before_reading(world.later(move |kernel| deed.apply(kernel, family, backend)));
            }
            Happening::Policy { policy, variant } => {
                let policy = POLICIES[*policy];
                let answer = variant.map(|variant| contribution(policy, variant));
                asked.insert(policy, answer.clone());
                world.change_policy(policy, answer);
            }
            Happening::Ask => world.ask(),
            Happening::Wait(time) => world.run(*time),
        }
    }
    world.kernel.forget_faults();
    world.run(Duration::from_secs(900));
    (world, asked)
}

type Shown = (Rules, BTreeMap<String, BTreeSet<String>>);

thread_local! {
    static KNOWN: RefCell<HashMap<String, Shown>> = RefCell::default();
}

/// What a node shows on which nothing else ever was.
fn reference(backend: Backend, in_force: &BTreeMap<String, Contribution>) -> Shown {
    let key = format!("{backend} {}", serde_json::to_string(in_force).unwrap());
    if let Some(shown) = KNOWN.with_borrow(|known| known.get(&key).cloned()) {
        return shown;
    }
    let mut world = World::new(backend);
    for (policy, contribution) in in_force {
        world.change_policy(policy, Some(contribution.clone()));
    }
    let shown = (world.kernel.look(own_rules), world.kernel.look(own_sets));
    KNOWN.with_borrow_mut(|known| known.insert(key, shown.clone()));
    shown
}

/// *In sync* is a claim: the kernel has what is in force, where it works.
fn shows_what_is_in_force(world: &World) {
    let (rules, sets) = reference(world.backend, &world.in_force());
    assert_eq!(world.kernel.look(own_rules), rules);
    assert_eq!(world.kernel.look(own_sets), sets);
    for (family, table, chain) in rules.keys() {
        let raw = world.kernel.look(|kernel| kernel.raw(*family, *table));
        assert!(!raw.state.dormant, "{family} {table} is switched off");
        let state = raw.chains.iter().find(|one| *one.name == **chain).map(|one| one.state.base.clone());
        assert_eq!(state, Some(Hook::from_name(chain).map(base_of)), "{family} {table} {chain} hangs elsewhere");
    }
}

fn is_in_sync(backend: Backend, happenings: &[Happening]) {
    let (world, asked) = after(backend, happenings);
    let in_force = world.in_force();
    for (policy, answer) in asked {
        if let Some(answer) = answer {
            assert_eq!(in_force.get(policy), Some(&answer), "{policy} is not in force");
        }
    }
    assert!(world.last.in_sync, "{:#?}", world.last);
    shows_what_is_in_force(&world);
}

/// The jump to `web-in` is taken away as soon as it is there, for so long; gives when it was put back.
fn fight(world: &mut World, time: Duration, checks: bool) -> Vec<Duration> {
    let end = world.now() + time;
    let before = world.writes.len();
    while world.now() < end {
        let delete = Deed::Delete { chain: 0, at: 0 };
        if world.kernel.look(|kernel| !kernel.table(Family::Ipv4, Table::Filter)["INPUT"].is_empty()) {
            world.foreign(|kernel| delete.apply(kernel, Family::Ipv4, Backend::Nft), false);
        }
        let step = Duration::from_millis(1);
        if checks { world.run(step) } else { world.run_without_checks(step) }
    }
    world.writes[before..].to_vec()
}

/// As `fight.rs` documents it: five repairs at once, then pauses from 50 ms that double up to 30 s.
#[test]
fn a_fight_is_paced_and_ends() {
    for backend in [Backend::Nft, Backend::Legacy] {
        let mut world = World::new(backend);
        world.start();
        let writes = fight(&mut world, Duration::from_secs(300), false);
        let pauses: Vec<Duration> = writes.windows(2).map(|two| two[1] - two[0]).collect();
        // On legacy the lock says that another program wrote, and on both who writes is left time to end.
        assert!(pauses[..4].iter().all(|pause| *pause <= Duration::from_millis(300)), "{backend}: {pauses:?}");
        for (at, pause) in pauses[5..].iter().enumerate() {
            let least = Duration::from_millis(50 << at.min(9)).min(Duration::from_secs(30));
            assert!(*pause >= least && *pause <= Duration::from_secs(31), "{backend}: pause {at}: {pauses:?}");
        }
        assert!(pauses.len() > 12, "{backend}: {pauses:?}");
        assert!(!world.last.in_sync, "{backend}: it is not claimed meanwhile");
        world.run_without_checks(Duration::from_secs(31));
        assert!(world.last.in_sync, "{backend}: {:#?}", world.last);
        // With checks as well it is no faster than they are.
        let writes = fight(&mut world, Duration::from_secs(300), true);
        assert!(writes.len() < 40, "{backend}: {writes:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn after_quiet_all_is_in_sync_on_nft(happenings in prop::collection::vec(happening(), 1..25)) {
        is_in_sync(Backend::Nft, &happenings);
    }

    #[test]
    fn after_quiet_all_is_in_sync_on_legacy(happenings in prop::collection::vec(happening(), 1..25)) {
        is_in_sync(Backend::Legacy, &happenings);
    }

    #[test]
    fn the_same_happenings_give_the_same_effects(happenings in prop::collection::vec(happening(), 1..25)) {
        let told = |backend| after(backend, &happenings).0.told.lock().unwrap().clone();
        prop_assert_eq!(told(Backend::Nft), told(Backend::Nft));
        prop_assert_eq!(told(Backend::Legacy), told(Backend::Legacy));
    }

    /// No check helps here: what is heard of rules is repaired by itself.
    #[test]
    fn what_is_heard_is_repaired_without_a_check(
        deeds in prop::collection::vec((family(), deed(), prop::bool::weighted(0.2), 0..3000_u64), 1..20),
        backend in prop_oneof![Just(Backend::Nft), Just(Backend::Legacy)],
    ) {
        let mut world = World::new(backend);
        world.start();
        for policy in POLICIES {
            world.change_policy(policy, Some(contribution(policy, 3)));
        }
        let (rules, sets) = (world.kernel.look(own_rules), world.kernel.look(own_sets));
        for (family, deed, lost, pause) in deeds.into_iter().filter(|(_, deed, ..)| !deed.is_of_sets()) {
            // nft says that events were lost; legacy is polled.
            world.foreign(|kernel| deed.apply(kernel, family, backend), lost);
            world.run_without_checks(Duration::from_millis(pause));
        }
        world.run_without_checks(Duration::from_secs(65));
        prop_assert!(world.last.in_sync, "{:#?}", world.last);
        prop_assert_eq!(world.kernel.look(own_rules), rules);
        prop_assert_eq!(world.kernel.look(own_sets), sets);
    }
}

/// What these tests have found once: a check failed in its last part, and its report still had the claim of an earlier one.
#[test]
fn a_failed_part_takes_the_claim_back() {
    let nothing = || Happening::Race(Family::Ipv4, Deed::Rename { chain: 0 });
    for backend in [Backend::Nft, Backend::Legacy] {
        let happenings = [
            Happening::Refuse(3),
            nothing(),
            nothing(),
            Happening::Refuse(3),
            Happening::Policy { policy: 1, variant: Some(1) },
            Happening::Race(Family::Ipv4, Deed::Delete { chain: 0, at: 0 }),
            Happening::Refuse(2),
            Happening::Policy { policy: 1, variant: Some(1) },
            Happening::Policy { policy: 0, variant: Some(2) },
        ];
        is_in_sync(backend, &happenings);
    }
}

/// What a check has written itself before it failed is no incident.
#[test]
fn what_a_failed_check_has_written_is_no_incident() {
    for backend in [Backend::Nft, Backend::Legacy] {
        for faults in 0..16_u32 {
            let mut world = World::new(backend);
            world.claims = Some(shows_what_is_in_force);
            world.start();
            for bit in 0..4 {
                let fault = match faults >> bit & 1 {
                    0 => Fault::Refuse,
                    _ => Fault::Stranger(world.later(|_| {})),
                };
                world.kernel.fault(fault);
            }
            world.told.lock().unwrap().clear();
            world.change_policy("nat", Some(contribution("nat", 1)));
            world.change_policy("web", Some(contribution("web", 2)));
            world.kernel.forget_faults();
            world.run(Duration::from_secs(60));
            assert!(world.last.in_sync, "{backend} {faults:b}: {:#?}", world.last);
            let told = world.told.lock().unwrap();
            assert!(!told.iter().any(|line| line.starts_with("incident")), "{backend} {faults:b}: {told:#?}");
        }
    }
}

/// `iptables -A`, `-F` and `-X` in a row: the look that the append has caused shows the flush before it is heard of. What
/// is missing then is put back when the program is done, and not between its last two steps.
#[test]
fn what_is_seen_before_it_is_heard_of_waits_for_its_program() {
    let mut world = World::new(Backend::Nft);
    world.start();
    world.run(Duration::from_secs(900));
    let (writes, incidents) = (world.kernel.transactions(), |world: &World| {
        world.told.lock().unwrap().iter().filter(|line| line.starts_with("incident")).count()
    });
    let append = Deed::Insert { chain: 0, at: 1 };
    let flush = world.later(|kernel| Deed::FlushTable { nat: false }.apply(kernel, Family::Ipv4, Backend::Nft));
    world.kernel.before_reading(flush);
    world.foreign(|kernel| append.apply(kernel, Family::Ipv4, Backend::Nft), false);
    world.run_without_checks(Duration::from_millis(200));
    let rules = world.kernel.look(own_rules);
    assert!(!rules.contains_key(&(Family::Ipv4, Table::Filter, "INPUT".to_owned())), "the flush was seen: {rules:#?}");
    assert_eq!((world.kernel.transactions(), incidents(&world)), (writes, 0));
    world.run_without_checks(Duration::from_secs(2));
    shows_what_is_in_force(&world);
    assert!(world.last.in_sync, "{:#?}", world.last);
    assert!(world.kernel.transactions() > writes && incidents(&world) > 0);
}

/// A program that writes at each of our looks puts its repair off to the bound, and no further.
#[test]
fn who_writes_all_the_time_puts_no_repair_off_for_ever() {
    let mut world = World::new(Backend::Nft);
    world.start();
    world.run(Duration::from_secs(900));
    let jump = (Family::Ipv4, Table::Filter, "INPUT".to_owned());
    // One rule comes and goes.
    let write = |kernel: &mut Simulated| {
        let rules = kernel.table(Family::Ipv4, Table::Filter).get_mut("INPUT").unwrap();
        match rules.iter().position(|rule| rule == "-p 77 -j RETURN") {
            Some(at) => drop(rules.remove(at)),
            None => rules.push("-p 77 -j RETURN".to_owned()),
        }
    };
    world.foreign(|kernel| Deed::Flush { chain: 0 }.apply(kernel, Family::Ipv4, Backend::Nft), false);
    let began = world.now();
    while !world.kernel.look(own_rules).contains_key(&jump) {
        let took = world.now() - began;
        assert!(took < Duration::from_secs(5), "it is not back after {took:?}");
        world.kernel.before_reading(world.later(write));
        world.foreign(write, false);
        world.run_without_checks(Duration::from_millis(1));
    }
}
