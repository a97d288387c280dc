//! An attacker of its own making: knows every visible count exactly and which hidden cells exist, sets up the
//! equations between every two groupings, and solves them by dense elimination in floating point.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// One event: its contributor, its epoch, and a value for each of three dimensions.
#[derive(Clone, Debug)]
struct Event {
    who: u64,
    epoch: i32,
    values: [u8; 3],
}

/// A cell with everything the test knows about it.
struct Known {
    cell: Cell,
    events: f64,
    contributors: u64,
}

fn value(number: u8) -> Option<String> {
    // The last value is "none": it has to behave like any other.
    (number < 9).then(|| number.to_string())
}

fn tabulate(events: &[Event], groupings: &[Vec<usize>], k: u64) -> Vec<Known> {
    let mut known = Vec::new();
    for (grouping, dimensions) in groupings.iter().enumerate() {
        let mut groups: BTreeMap<Vec<Option<String>>, Vec<&Event>> = BTreeMap::new();
        for event in events {
            let key = dimensions.iter().map(|&dimension| value(event.values[dimension])).collect();
            groups.entry(key).or_default().push(event);
        }
        for (key, group) in groups {
            let mut epochs: BTreeMap<i32, BTreeSet<u64>> = BTreeMap::new();
            for event in &group {
                epochs.entry(event.epoch).or_default().insert(event.who);
            }
            let contributors = epochs.values().map(|epoch| epoch.len() as u64).max().unwrap_or(0);
            let crowd = Crowd::of(
                group.iter().map(|event| Contributor { epoch: event.epoch, hash: event.who }),
                k,
            );
            known.push(Known {
                cell: Cell { grouping, key, crowd, size: contributors, eligible: true },
                events: group.len() as f64,
                contributors,
            });
        }
    }
    known
}

fn decide(known: &[Known], groupings: &[Vec<usize>], k: u64) -> Vec<bool> {
    let cells: Vec<Cell> = known.iter().map(|known| known.cell.clone()).collect();
    visible(groupings, &cells, k)
}

/// The hidden cells that the attacker works out, with the counts found.
fn attack(known: &[Known], groupings: &[Vec<usize>], visible: &[bool]) -> Vec<(usize, f64)> {
    let unknowns: Vec<usize> = (0..known.len()).filter(|&cell| !visible[cell]).collect();
    let mut rows = Vec::new();
    for one in 0..groupings.len() {
        for other in 0..one {
            let common: Vec<usize> =
                groupings[one].iter().copied().filter(|d| groupings[other].contains(d)).collect();
            let part = |cell: &Cell| -> Vec<Option<String>> {
                let place = |d| groupings[cell.grouping].iter().position(|&x| x == d).unwrap();
                common.iter().map(|&d| cell.key[place(d)].clone()).collect()
            };
            let mut sums: BTreeMap<Vec<Option<String>>, Vec<f64>> = BTreeMap::new();
            for (index, Known { cell, events, .. }) in known.iter().enumerate() {
                let sign = match cell.grouping {
                    grouping if grouping == one => 1.0,
                    grouping if grouping == other => -1.0,
                    _ => continue,
                };
                let row = sums.entry(part(cell)).or_insert_with(|| vec![0.0; unknowns.len() + 1]);
                match unknowns.iter().position(|&unknown| unknown == index) {
                    Some(column) => row[column] += sign,
                    None => row[unknowns.len()] -= sign * events,
                }
            }
            rows.extend(sums.into_values());
        }
    }
    solve(rows, unknowns.len())
        .into_iter()
        .map(|(column, value)| (unknowns[column], value))
        .collect()
}

/// Gauss-Jordan with partial pivoting; gives the unknowns that have one solution.
fn solve(mut rows: Vec<Vec<f64>>, unknowns: usize) -> Vec<(usize, f64)> {
    let mut done = 0;
    for column in 0..unknowns {
        let best = (done..rows.len())
            .max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        let Some(best) = best.filter(|&row| rows[row][column].abs() > 1e-9) else { continue };
        rows.swap(done, best);
        let pivot = rows[done][column];
        rows[done].iter_mut().for_each(|value| *value /= pivot);
        let pivot_row = rows[done].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            let factor = row[column];
            if index != done && factor.abs() > 1e-12 {
                row.iter_mut().zip(&pivot_row).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
        done += 1;
    }
    let alone = |row: &Vec<f64>| {
        let mut used = (0..unknowns).filter(|&column| row[column].abs() > 1e-7);
        let only = used.next()?;
        used.next().is_none().then(|| (only, row[unknowns] / row[only]))
    };
    rows.iter().take(done).filter_map(alone).collect()
}

/// The three promises of the module, checked from their words.
fn check(
    known: &[Known],
    groupings: &[Vec<usize>],
    visible: &[bool],
    k: u64,
) -> Result<(), String> {
    for (Known { contributors, cell, .. }, &visible) in known.iter().zip(visible) {
        if visible && *contributors < k {
            return Err(format!("shown with {contributors} contributors: {cell:?}"));
        }
    }
    for (parent, Known { cell: above, .. }) in known.iter().enumerate() {
        for (finer, dimensions) in groupings.iter().enumerate() {
            let coarser = &groupings[above.grouping];
            let refines = coarser.iter().all(|d| dimensions.contains(d));
            if !visible[parent] || !refines || coarser.len() == dimensions.len() {
                continue;
            }
            let within = |cell: &Cell| {
                coarser.iter().zip(&above.key).all(|(d, value)| {
                    cell.key[dimensions.iter().position(|x| x == d).unwrap()] == *value
                })
            };
            let children: Vec<usize> = (0..known.len())
                .filter(|&c| known[c].cell.grouping == finer && within(&known[c].cell))
                .collect();
            let hidden: Vec<usize> = children.iter().copied().filter(|&c| !visible[c]).collect();
            let crowd = Crowd::union(hidden.iter().map(|&c| &known[c].cell.crowd), k);
            if children.len() > 1 && !hidden.is_empty() && (hidden.len() < 2 || !crowd.is_enough())
            {
                return Err(format!("{hidden:?} hidden under {above:?}"));
            }
        }
    }
    for (cell, found) in attack(known, groupings, visible) {
        // First that the attacker is one: what it finds is the truth.
        if (found - known[cell].events).abs() > 1e-4 {
            return Err(format!("attacker found {found} for {}", known[cell].events));
        }
        if known[cell].contributors < k {
            return Err(format!("given away: {:?}", known[cell].cell));
        }
    }
    Ok(())
}

fn events(sizes: &[(u8, u8, u8, u64)]) -> Vec<Event> {
    let mut next = 0;
    let mut all = Vec::new();
    for &(a, b, c, contributors) in sizes {
        for _ in 0..contributors {
            next += 1;
            all.push(Event { who: next, epoch: 0, values: [a, b, c] });
        }
    }
    all
}

fn shown(known: &[Known], visible: &[bool], grouping: usize) -> Vec<String> {
    let of = known.iter().zip(visible).filter(|(known, _)| known.cell.grouping == grouping);
    of.filter(|(_, visible)| **visible)
        .map(|(known, _)| {
            known.cell.key.iter().map(|v| v.as_deref().unwrap_or("-")).collect::<Vec<_>>().join("")
        })
        .collect()
}

#[test]
fn a_single_small_group_takes_its_smallest_sibling_along() {
    let groupings = [vec![], vec![0]];
    let known = tabulate(&events(&[(1, 0, 0, 2), (2, 0, 0, 30), (3, 0, 0, 12)]), &groupings, 10);
    let visible = decide(&known, &groupings, 10);
    assert_eq!(shown(&known, &visible, 0), [""]);
    assert_eq!(shown(&known, &visible, 1), ["2"]);
}

#[test]
fn two_small_groups_that_are_no_crowd_together_take_a_third_along() {
    let groupings = [vec![], vec![0]];
    let sizes = [(1, 0, 0, 2), (2, 0, 0, 3), (3, 0, 0, 12), (4, 0, 0, 30)];
    let known = tabulate(&events(&sizes), &groupings, 10);
    assert_eq!(shown(&known, &decide(&known, &groupings, 10), 1), ["4"]);
}

#[test]
fn two_groups_of_the_same_few_are_no_crowd() {
    let groupings = [vec![], vec![0]];
    let mut all = events(&[(3, 0, 0, 12), (4, 0, 0, 30)]);
    for who in 100..106 {
        all.push(Event { who, epoch: 0, values: [1, 0, 0] });
        all.push(Event { who, epoch: 0, values: [2, 0, 0] });
    }
    let known = tabulate(&all, &groupings, 10);
    assert_eq!(shown(&known, &decide(&known, &groupings, 10), 1), ["4"]);
}

/// Two squares of hidden cells joined by one: every row and column hides three or two, and yet the one that
/// joins them is the difference of sums. Only the linear check finds it.
#[test]
fn a_bridge_between_two_cycles_is_found() {
    let groupings = [vec![0], vec![1], vec![0, 1]];
    let mut sizes = Vec::new();
    for a in 0..4 {
        for b in 0..4 {
            let hidden = (a < 2) == (b < 2) || (a, b) == (0, 2);
            sizes.push((a, b, 0, if hidden { 2 } else { 20 + u64::from(a * 4 + b) }));
        }
    }
    let known = tabulate(&events(&sizes), &groupings, 3);
    let primary: Vec<bool> = known.iter().map(|known| known.contributors >= 3).collect();
    assert_eq!(attack(&known, &groupings, &primary).len(), 1, "the attack works without the check");
    let visible = decide(&known, &groupings, 3);
    check(&known, &groupings, &visible, 3).expect("nothing given away");
    assert!(visible.iter().filter(|&&visible| visible).count() > 8, "and most is still shown");
}

/// Neither grouping refines the other, and what they have in common is not declared.
#[test]
fn groupings_are_compared_by_what_they_have_in_common() {
    let groupings = [vec![0, 1], vec![0, 2]];
    let sizes = [(0, 0, 0, 20), (0, 1, 0, 2), (0, 0, 1, 15), (1, 0, 0, 20), (1, 1, 1, 20)];
    let known = tabulate(&events(&sizes), &groupings, 5);
    let primary: Vec<bool> = known.iter().map(|known| known.contributors >= 5).collect();
    assert!(!attack(&known, &groupings, &primary).is_empty(), "the attack works");
    let visible = decide(&known, &groupings, 5);
    check(&known, &groupings, &visible, 5).expect("nothing given away");
}

#[test]
fn what_is_hidden_for_another_reason_stays_hidden() {
    let groupings = [vec![], vec![0]];
    let mut known = tabulate(&events(&[(1, 0, 0, 20), (2, 0, 0, 30)]), &groupings, 10);
    known[1].cell.eligible = false;
    assert_eq!(decide(&known, &groupings, 10), [true, false, false]);
}

#[test]
fn beyond_the_work_allowed_a_whole_grouping_goes() {
    let groupings = [vec![], vec![0], vec![0, 1]];
    let sizes: Vec<_> = (0..8).map(|n| (n % 4, n, 0, u64::from(n) + 1)).collect();
    let known = tabulate(&events(&sizes), &groupings, 4);
    let cells: Vec<Cell> = known.iter().map(|known| known.cell.clone()).collect();
    let visible = visible_within(&groupings, &cells, 4, 0);
    assert_eq!(shown(&known, &visible, 0), [""], "the total alone has no relations left");
    assert!(shown(&known, &visible, 2).is_empty());
}

fn any_event() -> impl Strategy<Value = Event> {
    // Squares make small values common and large ones rare, so that groups of every size come up.
    let skewed =
        |most: u8| (0..most, 0..most).prop_map(|(a, b)| if a * b == 0 { 9 } else { a.min(b) });
    (0_u64..40, 0_i32..5, skewed(4), skewed(5), 0_u8..3).prop_map(|(who, late, a, b, c)| Event {
        who,
        epoch: i32::from(late == 0),
        values: [a, b, c],
    })
}

fn any_groupings() -> impl Strategy<Value = Vec<Vec<usize>>> {
    let all: Vec<Vec<usize>> =
        vec![vec![], vec![0], vec![1], vec![2], vec![0, 1], vec![2, 0], vec![1, 2], vec![0, 1, 2]];
    let most = all.len();
    proptest::sample::subsequence(all, 1..=most).prop_shuffle()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_under_k_is_shown_or_given_away(
        events in proptest::collection::vec(any_event(), 1..160),
        groupings in any_groupings(),
        k in 1_u64..8,
    ) {
        let known = tabulate(&events, &groupings, k);
        let visible = decide(&known, &groupings, k);
        prop_assert_eq!(check(&known, &groupings, &visible, k), Ok(()));
    }

    #[test]
    fn where_all_groups_are_crowds_all_are_shown(
        events in proptest::collection::vec(any_event(), 1..60),
        groupings in any_groupings(),
    ) {
        let known = tabulate(&events, &groupings, 1);
        prop_assert!(decide(&known, &groupings, 1).into_iter().all(|visible| visible));
    }
}
