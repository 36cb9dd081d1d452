//! Which items of one list can stay when it is turned into another: the heart of "the smallest change".
//!
//! The k-th copy of an item can only stay as the k-th copy; of those pairs the longest run that is ascending in both
//! lists stays. For lists without repetition that is a longest common subsequence, in O(n log n).

use std::collections::HashMap;

/// Pairs (index in `old`, index in `new`) of items that stay, ascending in both.
pub fn stay(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let most_tail = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most_tail).take_while(|(a, b)| a == b).count();

    let mut pairs: Vec<(usize, usize)> = (0..head).map(|at| (at, at)).collect();
    let candidates = pair_up(&old[head..old.len() - tail], &new[head..new.len() - tail]);
    pairs.extend(longest_ascending(&candidates).into_iter().map(|(a, b)| (a + head, b + head)));
    pairs.extend((0..tail).rev().map(|back| (old.len() - 1 - back, new.len() - 1 - back)));
    pairs
}

/// Pairs the k-th copy of each item with its k-th copy, in the order of `old`.
fn pair_up(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (at, item) in new.iter().enumerate().rev() {
        places.entry(item).or_default().push(at);
    }
    old.iter().enumerate().filter_map(|(at, item)| Some((at, places.get_mut(item)?.pop()?))).collect()
}

/// The longest subsequence whose second numbers ascend.
fn longest_ascending(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut ends: Vec<usize> = Vec::new(); // ends[k]: the pair that ends the best run of length k + 1
    let mut before: Vec<Option<usize>> = vec![None; pairs.len()];
    for (at, pair) in pairs.iter().enumerate() {
        let length = ends.partition_point(|end| pairs[*end].1 < pair.1);
        before[at] = length.checked_sub(1).map(|last| ends[last]);
        if length == ends.len() {
            ends.push(at);
        } else {
            ends[length] = at;
        }
    }
    let mut run = Vec::new();
    let mut next = ends.last().copied();
    while let Some(at) = next {
        run.push(pairs[at]);
        next = before[at];
    }
    run.reverse();
    run
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_moved_item_is_one_change() {
        assert_eq!(stay(&["a", "b", "c"], &["b", "c", "a"]), [(1, 0), (2, 1)]);
        assert_eq!(stay(&["a", "a"], &["a"]), [(0, 0)]);
        assert!(stay(&[], &["a"]).is_empty());
    }

    proptest! {
        #[test]
        fn what_stays_is_equal_and_ascending(
            old in proptest::collection::vec(0_u8..6, 0..20),
            new in proptest::collection::vec(0_u8..6, 0..20),
        ) {
            let names = ["a", "b", "c", "d", "e", "f"];
            let old: Vec<&str> = old.iter().map(|n| names[usize::from(*n)]).collect();
            let new: Vec<&str> = new.iter().map(|n| names[usize::from(*n)]).collect();
            let pairs = stay(&old, &new);
            prop_assert!(pairs.iter().all(|(a, b)| old[*a] == new[*b]));
            prop_assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1));
            if old == new {
                prop_assert_eq!(pairs.len(), old.len());
            }
        }
    }
}
