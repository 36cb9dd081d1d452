//! How many packets each rule has met. Asking the kernel takes a process and, on a node with many rules, a second; so it is
//! asked when somebody looks, one table at a time, and an answer serves everybody who asks soon after.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ruleward_core::expected::Expected;
use ruleward_core::names::{Family, Table};
use tokio::sync::{Mutex, oneshot};

/// Gives `iptables-save -c` of a table, or says why not.
pub type ReadCounters = Arc<dyn Fn(Family, Table) -> Result<String, String> + Send + Sync>;

/// An answer serves for so long, ...
const SERVES: Duration = Duration::from_secs(1);
/// ... or for so many times what it took: never more than a twentieth of a processor goes into it.
const SPARING: u32 = 20;

/// Packets and bytes.
pub type Count = (u64, u64);

/// The counters of the rules of one table that are shown, by line of iptables-save. Equal lines come in their order.
pub type Counted = HashMap<String, VecDeque<Count>>;

type Place = (Family, Table);

/// Asks for counters, and remembers them for a moment.
pub struct Counters {
    orders: mpsc::Sender<Order>,
    known: Mutex<HashMap<Place, Answer>>,
}

type Order = (Place, oneshot::Sender<Result<String, String>>);

struct Answer {
    until: Instant,
    counted: Result<Arc<Counted>, String>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Counters")
    }
}

impl Counters {
    /// Starts the thread that asks. It has the priority of the calling one: a tool that gave way to all others could hold
    /// a lock of the kernel for as long as they are busy.
    ///
    /// # Errors
    /// If the system has no thread to give.
    pub fn start(read: ReadCounters) -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        std::thread::Builder::new().name("counters".to_owned()).spawn(move || {
            for ((family, table), answer) in inbox {
                let _ = answer.send(read(family, table)); // gone meanwhile
            }
        })?;
        Ok(Self { orders, known: Mutex::default() })
    }

    /// The counters of the rules in `expected`, of one table.
    ///
    /// # Errors
    /// Why they can't be read.
    pub async fn of(self: &Arc<Self>, expected: &Arc<Expected>, place: Place) -> Result<Arc<Counted>, String> {
        let (counters, expected) = (Arc::clone(self), Arc::clone(expected));
        // Whoever asks and goes away must not have the kernel asked once more.
        let asking = tokio::spawn(async move { counters.ask(&expected, place).await });
        asking.await.map_err(|error| error.to_string())?
    }

    async fn ask(&self, expected: &Expected, place: Place) -> Result<Arc<Counted>, String> {
        // Held while the kernel is asked: whoever comes meanwhile waits for this answer.
        let mut known = self.known.lock().await;
        if let Some(answer) = known.get(&place).filter(|answer| answer.until > Instant::now()) {
            return answer.counted.clone();
        }
        let (answer, began) = (oneshot::channel(), Instant::now());
        let gone = || "the thread that reads them has ended; see the daemon's log".to_owned();
        self.orders.send((place, answer.0)).map_err(|_| gone())?;
        let text = answer.1.await.map_err(|_| gone())?;
        let counted = text.map(|text| Arc::new(count(&text, &lines(expected, place))));
        let until = Instant::now() + SERVES.max(began.elapsed() * SPARING);
        known.insert(place, Answer { until, counted: counted.clone() });
        counted
    }
}

/// The lines that a page may show, with no counter yet.
fn lines(expected: &Expected, place: Place) -> Counted {
    let Some(wanted) = expected.tables.get(&place) else { return Counted::new() };
    let of_hooks = wanted.hooks.iter().flat_map(|(hook, rules)| {
        rules.first.iter().chain(&rules.last).map(|one| super::rules::text(hook.as_str(), &one.rule))
    });
    let of_chains = wanted
        .chains
        .iter()
        .flat_map(|(name, (_, rules))| rules.iter().map(|rule| super::rules::text(name.as_str(), rule)));
    of_hooks.chain(of_chains).take(super::rules::MOST).map(|line| (line, VecDeque::new())).collect()
}

/// Counters of the lines in `wanted`, from what `iptables-save -c` printed.
fn count(text: &str, wanted: &Counted) -> Counted {
    let mut counted = wanted.clone();
    for line in text.lines() {
        let Some((count, rule)) = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) else { continue };
        let Some((packets, bytes)) = count.split_once(':') else { continue };
        let (Ok(packets), Ok(bytes)) = (packets.parse(), bytes.parse()) else { continue };
        if let Some(counts) = counted.get_mut(rule) {
            counts.push_back((packets, bytes));
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_belong_to_lines_and_equal_lines_keep_their_order() {
        let wanted = ["-A c -j RETURN", "-A POSTROUTING -j c", "-A c -j GONE"];
        let wanted = wanted.map(|line| (line.to_owned(), VecDeque::new())).into_iter().collect();
        let text = "*nat\n:POSTROUTING ACCEPT [7:70]\n:c - [0:0]\n[5:60] -A POSTROUTING -j c\n[1:2] -A c -j RETURN\n\
                    [3:4] -A c -j RETURN\n[9:9] -A stranger -j c\n[x:1] -A c -j RETURN\n-A c -j RETURN\nCOMMIT\n";
        let counted = count(text, &wanted);
        assert_eq!(counted["-A c -j RETURN"], [(1, 2), (3, 4)]);
        assert_eq!(counted["-A POSTROUTING -j c"], [(5, 60)]);
        assert!(counted["-A c -j GONE"].is_empty() && counted.len() == 3);
    }

    #[tokio::test]
    async fn an_answer_serves_all_who_ask_soon_after() {
        let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let read: ReadCounters = Arc::new(move |_, _| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Err("not permitted".to_owned())
        });
        let counters = Arc::new(Counters::start(read).unwrap());
        let nothing = Expected::nothing(ruleward_core::ownership::Ownership::default(), Vec::new(), Default::default());
        let nothing = Arc::new(nothing);
        for _ in 0..100 {
            let answer = counters.of(&nothing, (Family::Ipv4, Table::Nat)).await;
            assert_eq!(answer.unwrap_err(), "not permitted");
        }
        // A machine that stands still for a second may make it two.
        assert!(asked.load(std::sync::atomic::Ordering::Relaxed) < 100);
    }
}
