//! The jump graph: programs, and the jumps they declare, with aliases followed.
//!
//! Knows nothing of slots and of whether the jumps make a sound chain.

use std::collections::BTreeMap;

use ouro_rules::EdgeKind;

use super::links::{Edge, Link};
use super::node::{Ix, Node};
use super::target_graph::{Parts, TargetGraph};

impl TargetGraph {
    /// The jump graph. An alias is another label of the program it stands for.
    pub fn jumps(&self) -> TargetGraph {
        let programs: Vec<Ix> = self.ids().filter(|node| self.node(*node).jumps).collect();
        let mut places = vec![None; self.len()];
        programs.iter().zip(0..).for_each(|(node, place)| places[node.place()] = Some(Ix::new(place)));
        let meant = |node: Ix| places[self.behind(node).place()];
        let edge =
            |from: Ix, link: &Link| Some(Edge { from: meant(from)?, to: meant(link.to)?, attr: link.attr, kind: link.kind });
        let jumps = |from: &Ix| {
            let from = *from;
            let links = self.down().of(from).iter().filter(|link| link.kind == EdgeKind::Jump);
            links.filter_map(move |link| edge(from, link))
        };
        let edges = programs.iter().flat_map(jumps).collect();
        let aliases = self.ids().filter(|node| self.actual(*node).is_some());
        let others =
            aliases.filter_map(|alias| Some((self.node(alias).label.to_label(), meant(alias)?))).collect::<BTreeMap<_, _>>();
        let nodes: Vec<Node<'_>> = programs.iter().map(|node| self.node(*node)).collect();
        let known = self.known_attrs().map(Into::into).collect();
        let attrs = self.attrs().to_vec();
        TargetGraph::new(Parts { nodes, edges, attrs, packages: Vec::new(), known, others, programs_only: true })
    }

    /// What an alias, or an alias of an alias, stands for; any other node itself. Aliases make no circles: they would wait for
    /// themselves, and the graph of a workspace has no such circle; others end in a node of it.
    fn behind(&self, node: Ix) -> Ix {
        std::iter::successors(Some(node), |node| self.actual(*node)).take(self.len()).last().unwrap_or(node)
    }

    fn actual(&self, node: Ix) -> Option<Ix> {
        self.down().of(node).iter().find(|link| link.kind == EdgeKind::Actual).map(|link| link.to)
    }
}
