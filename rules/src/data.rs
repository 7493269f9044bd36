//! What rules of users hand on: plain values, with no trace of the language they were computed in.
//!
//! Knows nothing of which providers there are. Sets share their parts, so handing a set on costs the same however large it is.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::action::Artifact;
use crate::label::Label;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Data {
    /// Nothing.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A string.
    Str(Arc<str>),
    /// The name of a target.
    Label(Label),
    /// A file of the build.
    File(Artifact),
    /// A list.
    List(Arc<[Data]>),
    /// A dictionary, in the order written.
    Dict(Arc<[(Data, Data)]>),
    /// Named fields without a type: `struct(...)`.
    Struct(Arc<BTreeMap<Arc<str>, Data>>),
    /// What a provider's constructor made.
    Info(Arc<Info>),
    /// A set that shares its parts with others.
    Depset(Depset),
}

/// The name of a provider that users define: where, and what it was assigned to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProviderId {
    /// The file that defines it, as in places: `rules/defs.star`; empty for those that come with ouro.
    pub file: Arc<str>,
    /// Its name there.
    pub name: Arc<str>,
}

/// One value of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Info {
    /// Which provider.
    pub id: ProviderId,
    /// Its fields.
    pub fields: BTreeMap<Arc<str>, Data>,
}

/// A set of values: some of its own, and whole other sets. Cloning it and adding to it cost nothing that grows with its size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Depset(Arc<Node>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Node {
    order: Order,
    direct: Vec<Data>,
    transitive: Vec<Depset>,
}

/// In which order a set is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Order {
    /// What came in by other sets, then its own: what something depends on stands before it.
    #[default]
    Postorder,
    /// Its own, then what came in by other sets.
    Preorder,
}

impl Depset {
    /// A set of these values and all of those sets.
    pub fn new(order: Order, direct: Vec<Data>, transitive: Vec<Depset>) -> Depset {
        Depset(Arc::new(Node { order, direct, transitive }))
    }

    /// In which order it is listed.
    pub fn order(&self) -> Order {
        self.0.order
    }

    /// Every value once, in the set's order. Takes time by the number of sets in it, each counted once.
    pub fn list(&self) -> Vec<Data> {
        let (mut seen_sets, mut seen, mut list) = (HashSet::new(), HashSet::new(), Vec::new());
        let mut add = |value: &Data| {
            if seen.insert(value.clone()) {
                list.push(value.clone());
            }
        };
        // With a stack of its own: a set may be thousands of sets deep.
        let mut open = vec![(self, false)];
        while let Some((set, below_done)) = open.pop() {
            if below_done {
                set.0.direct.iter().for_each(&mut add);
                continue;
            }
            if !seen_sets.insert(Arc::as_ptr(&set.0)) {
                continue;
            }
            match self.0.order {
                Order::Postorder => open.push((set, true)),
                Order::Preorder => set.0.direct.iter().for_each(&mut add),
            }
            open.extend(set.0.transitive.iter().rev().map(|below| (below, false)));
        }
        list
    }
}

/// What is larger than this, written out, is not written out.
const MOST_VALUES: usize = 2_000;
const DEEPEST: usize = 50;

/// Whether all of these can be written out, every set in them whole. Sets share their parts: a small one may be endless written out.
pub fn is_small<'a>(infos: impl Iterator<Item = &'a Info>) -> bool {
    let (mut count, mut open) = (0, infos.map(|info| (Part::Info(info), 0)).collect::<Vec<_>>());
    while let Some((part, depth)) = open.pop() {
        count += 1;
        part.each(&mut |inner| open.push((inner, depth + 1)));
        if depth > DEEPEST || count + open.len() > MOST_VALUES {
            return false;
        }
    }
    true
}

/// A part of a value.
enum Part<'a> {
    Data(&'a Data),
    Info(&'a Info),
    Set(&'a Depset),
}

impl<'a> Part<'a> {
    fn each(self, f: &mut dyn FnMut(Part<'a>)) {
        match self {
            Part::Info(info) => info.fields.values().for_each(|field| f(Part::Data(field))),
            Part::Set(set) => {
                set.0.direct.iter().for_each(|value| f(Part::Data(value)));
                set.0.transitive.iter().for_each(|below| f(Part::Set(below)));
            }
            Part::Data(Data::Info(info)) => f(Part::Info(info)),
            Part::Data(Data::Depset(set)) => f(Part::Set(set)),
            Part::Data(Data::List(items)) => items.iter().for_each(|item| f(Part::Data(item))),
            Part::Data(Data::Dict(entries)) => entries.iter().flat_map(|(a, b)| [a, b]).for_each(|part| f(Part::Data(part))),
            Part::Data(Data::Struct(fields)) => fields.values().for_each(|field| f(Part::Data(field))),
            Part::Data(Data::None | Data::Bool(_) | Data::Int(_) | Data::Str(_) | Data::Label(_) | Data::File(_)) => {}
        }
    }
}

impl Drop for Node {
    /// Takes deep sets apart in a loop: one call inside the other for each level would run out of stack.
    fn drop(&mut self) {
        let mut open = std::mem::take(&mut self.transitive);
        while let Some(set) = open.pop() {
            if let Some(mut node) = Arc::into_inner(set.0) {
                open.append(&mut node.transitive);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(order: Order, direct: &[i64], transitive: &[&Depset]) -> Depset {
        Depset::new(order, direct.iter().map(|n| Data::Int(*n)).collect(), transitive.iter().map(|set| (*set).clone()).collect())
    }

    fn numbers(set: &Depset) -> Vec<i64> {
        let number = |value: Data| if let Data::Int(n) = value { n } else { panic!("{value:?}") };
        set.list().into_iter().map(number).collect()
    }

    #[test]
    fn lists_each_value_once_in_the_order_of_the_set() {
        for (order, expected) in [(Order::Postorder, [4, 2, 3, 1]), (Order::Preorder, [1, 2, 4, 3])] {
            let base = set(order, &[4], &[]);
            let left = set(order, &[2], &[&base]);
            let right = set(order, &[3, 2], &[&base]);
            assert_eq!(numbers(&set(order, &[1, 4], &[&left, &right])).len(), 4);
            assert_eq!(numbers(&set(order, &[1], &[&left, &right])), expected);
        }
    }

    #[test]
    fn a_set_a_hundred_thousand_sets_deep_is_listed_and_dropped() {
        let mut deep = set(Order::Postorder, &[], &[]);
        for n in 0..100_000 {
            deep = Depset::new(Order::Postorder, vec![Data::Int(n)], vec![deep.clone(), deep]);
        }
        assert_eq!(numbers(&deep).len(), 100_000);
    }

    #[test]
    fn what_would_be_endless_written_out_is_not_small() {
        let info = |value: Data| Info {
            id: ProviderId { file: "".into(), name: "Numbers".into() },
            fields: BTreeMap::from([("value".into(), value)]),
        };
        let mut shared = set(Order::Postorder, &[1, 2], &[]);
        assert!(is_small([info(Data::Depset(shared.clone()))].iter()));
        for _ in 0..40 {
            shared = set(Order::Postorder, &[], &[&shared, &shared]);
        }
        let mut deep = Data::None;
        for _ in 0..100 {
            deep = Data::List([deep].into());
        }
        let long = Data::List((0..3_000).map(Data::Int).collect());
        for large in [Data::Depset(shared), deep, long] {
            assert!(!is_small([info(large)].iter()));
        }
    }
}
