//! Cells of all groupings of a statistic, and how the cells of one refine those of another.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::linear::Equation;
use super::{Cell, Crowd};

type Key = Vec<Option<String>>;

/// A cell with what has been decided about it.
struct Node {
    level: usize,
    crowd: Crowd,
    size: u64,
    visible: bool,
}

/// Cells of one level under the cells of a coarser one.
struct Refinement {
    /// Whether no other level lies between the two: the others' equations follow from these.
    adjacent: bool,
    /// Parent to children, by node.
    families: BTreeMap<usize, Vec<usize>>,
}

/// Levels are the declared groupings, then those that two groupings have in common without being declared:
/// nobody sees their cells, but they are where the two can be compared.
pub(super) struct Lattice {
    k: u64,
    declared: usize,
    nodes: Vec<Node>,
    refinements: Vec<Refinement>,
}

impl Lattice {
    pub(super) fn new(groupings: &[Vec<usize>], cells: &[Cell], k: u64) -> Self {
        let levels = with_common_parts(groupings);
        let mut nodes: Vec<Node> = cells
            .iter()
            .map(|cell| Node {
                level: cell.grouping,
                crowd: cell.crowd.clone(),
                size: cell.size,
                visible: cell.eligible && cell.crowd.is_enough(),
            })
            .collect();
        let mut keys: Vec<HashMap<Key, usize>> = vec![HashMap::new(); levels.len()];
        for (index, cell) in cells.iter().enumerate() {
            keys[cell.grouping].insert(cell.key.clone(), index);
        }
        for level in groupings.len()..levels.len() {
            let finer = (0..groupings.len())
                .find(|&finer| refines(&levels, finer, level))
                .expect("a common part is common to declared groupings");
            let common = unseen_cells(&levels, level, finer, &keys[finer]);
            for (key, parts) in common {
                let crowd = Crowd::union(parts.iter().map(|&part| &nodes[part].crowd), k);
                keys[level].insert(key, nodes.len());
                nodes.push(Node { level, crowd, size: 0, visible: false });
            }
        }
        let refinements = refinements(&levels, &keys);
        Self { k, declared: groupings.len(), nodes, refinements }
    }

    /// Whether those cells have k contributors together.
    pub(super) fn is_crowd(&self, cells: &[usize]) -> bool {
        Crowd::union(cells.iter().map(|&cell| &self.nodes[cell].crowd), self.k).is_enough()
    }

    /// One entry a declared cell, in the order in which they came.
    pub(super) fn declared_visibility(&self) -> Vec<bool> {
        let declared = self.nodes.iter().filter(|node| node.level < self.declared);
        declared.map(|node| node.visible).collect()
    }

    /// Hides until, under every visible cell, the hidden cells of each finer grouping are none, or at least two
    /// of k contributors together.
    pub(super) fn hide_siblings(&mut self) {
        let families = || self.refinements.iter().flat_map(|refinement| &refinement.families);
        loop {
            let mut settled = true;
            for (&parent, children) in families() {
                while let Some(cell) = lacking_sibling(&self.nodes, self.k, parent, children) {
                    self.nodes[cell].visible = false;
                    settled = false;
                }
            }
            if settled {
                return;
            }
        }
    }

    /// Hides one more cell, so that the sum of `cells` is given away no longer: the smallest visible sibling
    /// of one of them, else the smallest cell that stands in an equation with one, else the smallest of all.
    pub(super) fn protect(&mut self, cells: &[usize]) {
        let of_them: BTreeSet<usize> = cells.iter().copied().collect();
        let (mut siblings, mut related) = (Vec::new(), Vec::new());
        for refinement in &self.refinements {
            for (&parent, children) in &refinement.families {
                let among = children.iter().any(|child| of_them.contains(child));
                if among && self.nodes[parent].visible {
                    siblings.extend(children);
                }
                if among || of_them.contains(&parent) {
                    related.extend(children);
                    related.push(parent);
                }
            }
        }
        let all: Vec<usize> = (0..self.nodes.len()).collect();
        let next = smallest_visible(&self.nodes, &siblings)
            .or_else(|| smallest_visible(&self.nodes, &related))
            .or_else(|| smallest_visible(&self.nodes, &all));
        if let Some(next) = next {
            self.nodes[next].visible = false;
        }
    }

    /// The declared grouping with the most hidden cells.
    pub(super) fn most_hidden(&self) -> usize {
        let mut hidden = vec![0_usize; self.declared];
        for node in self.nodes.iter().filter(|node| !node.visible && node.level < self.declared) {
            hidden[node.level] += 1;
        }
        (0..self.declared).max_by_key(|&level| hidden[level]).unwrap_or(0)
    }

    /// The relations between levels that involve a hidden cell.
    pub(super) fn equations(&self) -> Vec<Equation> {
        let mut equations = Vec::new();
        for refinement in self.refinements.iter().filter(|refinement| refinement.adjacent) {
            for (&parent, children) in &refinement.families {
                let mut equation = Equation::default();
                let terms = children.iter().map(|&child| (child, -1));
                for (cell, sign) in std::iter::once((parent, 1)).chain(terms) {
                    let side = if self.nodes[cell].visible {
                        &mut equation.visible
                    } else {
                        &mut equation.hidden
                    };
                    side.push((cell, sign));
                }
                if !equation.hidden.is_empty() {
                    equations.push(equation);
                }
            }
        }
        equations
    }
}

/// The next cell to hide under `parent` by the rule of siblings; none where the rule holds.
fn lacking_sibling(nodes: &[Node], k: u64, parent: usize, children: &[usize]) -> Option<usize> {
    // An only child is its parent over again: what hides the one must find the other by itself.
    if !nodes[parent].visible || children.len() < 2 {
        return None;
    }
    let hidden = || children.iter().filter(|&&child| !nodes[child].visible);
    let crowd = || Crowd::union(hidden().map(|&child| &nodes[child].crowd), k).is_enough();
    match hidden().count() {
        0 => None,
        1 => Some(smallest_visible(nodes, children).unwrap_or(parent)),
        _ if crowd() => None,
        _ => Some(smallest_visible(nodes, children).unwrap_or(parent)),
    }
}

fn smallest_visible(nodes: &[Node], cells: &[usize]) -> Option<usize> {
    let visible = cells.iter().copied().filter(|&cell| nodes[cell].visible);
    visible.min_by_key(|&cell| (nodes[cell].size, cell))
}

/// `groupings`, and after them what any two of the list have in common without being in it.
fn with_common_parts(groupings: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut levels = groupings.to_vec();
    let mut known: BTreeSet<BTreeSet<usize>> =
        levels.iter().map(|level| level.iter().copied().collect()).collect();
    let mut next = 0;
    while next < levels.len() {
        for other in 0..next {
            let common: Vec<usize> = levels[next]
                .iter()
                .copied()
                .filter(|dimension| levels[other].contains(dimension))
                .collect();
            if known.insert(common.iter().copied().collect()) {
                levels.push(common);
            }
        }
        next += 1;
    }
    levels
}

/// Whether level `finer` splits the cells of level `coarser`. Of two equal ones the later splits the earlier.
fn refines(levels: &[Vec<usize>], finer: usize, coarser: usize) -> bool {
    let within = levels[coarser].iter().all(|dimension| levels[finer].contains(dimension));
    within && (levels[coarser].len() < levels[finer].len() || coarser < finer)
}

/// The cells of an undeclared level, each with the cells of `finer` that make it up.
fn unseen_cells(
    levels: &[Vec<usize>],
    level: usize,
    finer: usize,
    keys: &HashMap<Key, usize>,
) -> BTreeMap<Key, Vec<usize>> {
    let places = places(levels, level, finer);
    let mut cells: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for (key, &cell) in keys {
        cells.entry(project(key, &places)).or_default().push(cell);
    }
    cells
}

/// Where the dimensions of `coarser` are in the keys of `finer`.
fn places(levels: &[Vec<usize>], coarser: usize, finer: usize) -> Vec<usize> {
    let place = |dimension: &usize| levels[finer].iter().position(|other| other == dimension);
    levels[coarser].iter().filter_map(place).collect()
}

fn project(key: &Key, places: &[usize]) -> Key {
    places.iter().map(|&place| key[place].clone()).collect()
}

fn refinements(levels: &[Vec<usize>], keys: &[HashMap<Key, usize>]) -> Vec<Refinement> {
    let mut all = Vec::new();
    for coarser in 0..levels.len() {
        for finer in (0..levels.len()).filter(|&finer| refines(levels, finer, coarser)) {
            let adjacent = !(0..levels.len())
                .any(|middle| refines(levels, middle, coarser) && refines(levels, finer, middle));
            let places = places(levels, coarser, finer);
            let mut families: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
            for (key, &child) in &keys[finer] {
                if let Some(&parent) = keys[coarser].get(&project(key, &places)) {
                    families.entry(parent).or_default().push(child);
                }
            }
            // Maps have no order of their own, and what is hidden must not depend on it.
            families.values_mut().for_each(|children| children.sort_unstable());
            all.push(Refinement { adjacent, families });
        }
    }
    all
}
