//! The threshold applied to what was measured: to groups, then to each measure that only some contributors have.
//!
//! A group of k contributors may hold a single one with a value in some number field, and its mean would be that
//! contributor's. So each number field is decided like a table of its own, over the groups that have it, with the
//! contributors that have it; and so are events without contributor, whose number in a hidden group would follow
//! from that in shown ones. A measure hidden in a shown group is null there.

use crate::groups::Group;
use crate::statistic::Spec;
use crate::threshold::{Cell, Crowd, visible};

/// What may be shown of one group.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) group: bool,
    /// By number field.
    pub(crate) numbers: Vec<bool>,
    pub(crate) unattributed: bool,
}

/// What may be shown of one grouping's groups.
pub(crate) struct Decision {
    /// In order of the groups.
    pub(crate) shown: Vec<Shown>,
    /// Whether anything is hidden.
    pub(crate) hidden: bool,
}

/// Decides for all groupings of one period together; one entry a grouping, in order.
pub(crate) fn decide(spec: &Spec<'_>, groupings: &[Vec<Group>]) -> Vec<Decision> {
    let nothing =
        Shown { group: false, numbers: vec![false; spec.numbers.len()], unattributed: false };
    let mut decisions: Vec<Decision> = groupings
        .iter()
        .map(|groups| Decision { shown: vec![nothing.clone(); groups.len()], hidden: false })
        .collect();
    layer(spec, groupings, &mut decisions, Layer::Groups);
    for index in 0..spec.numbers.len() {
        layer(spec, groupings, &mut decisions, Layer::Number(index));
    }
    if spec.unattributed {
        layer(spec, groupings, &mut decisions, Layer::Unattributed);
        show_zeros(groupings, &mut decisions);
    }
    decisions
}

/// One table of cells over the groups.
#[derive(Clone, Copy)]
enum Layer {
    /// Those that have contributors.
    Groups,
    /// Those in which a number field has a value.
    Number(usize),
    /// Those with events without contributor, of whose contributors no more is known than that the group has others.
    Unattributed,
}

impl Layer {
    /// The contributors of a group in this table, and how many; none where it has no part in it.
    fn cell(self, group: &Group) -> Option<(&Crowd, u64)> {
        let (heads, crowd, part) = match self {
            Self::Groups => (group.heads, &group.crowd, group.heads.all > 0),
            Self::Number(index) => {
                let number = &group.numbers[index];
                (number.heads, &number.crowd, number.heads.all > 0)
            }
            Self::Unattributed => (group.heads, &group.crowd, group.unattributed > 0),
        };
        part.then_some((crowd, heads.certain))
    }

    /// Whether a group may be shown in it, by what was decided before.
    fn eligible(self, shown: &Shown) -> bool {
        matches!(self, Self::Groups) || shown.group
    }

    fn decided(self, shown: &mut Shown, is: bool) {
        match self {
            Self::Groups => shown.group = is,
            Self::Number(index) => shown.numbers[index] = is,
            Self::Unattributed => shown.unattributed = is,
        }
    }
}

fn layer(spec: &Spec<'_>, groupings: &[Vec<Group>], decisions: &mut [Decision], layer: Layer) {
    let (mut places, mut cells) = (Vec::new(), Vec::new());
    for (grouping, groups) in groupings.iter().enumerate() {
        for (place, group) in groups.iter().enumerate() {
            let Some((crowd, size)) = layer.cell(group) else { continue };
            let eligible = layer.eligible(&decisions[grouping].shown[place]);
            let (key, crowd) = (group.key.clone(), crowd.clone());
            places.push((grouping, place));
            cells.push(Cell { grouping, key, crowd, size, eligible });
        }
    }
    let shown = visible(&spec.statistic.by, &cells, spec.min_contributors);
    for ((grouping, place), is) in places.into_iter().zip(shown) {
        let decision = &mut decisions[grouping];
        layer.decided(&mut decision.shown[place], is);
        decision.hidden |= !is;
    }
}

/// That a shown group has no events without contributor may be said.
fn show_zeros(groupings: &[Vec<Group>], decisions: &mut [Decision]) {
    for (groups, decision) in groupings.iter().zip(decisions) {
        for (group, shown) in groups.iter().zip(&mut decision.shown) {
            shown.unattributed |= shown.group && group.unattributed == 0;
        }
    }
}
