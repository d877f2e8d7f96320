//! The graph of a multipath trace as it grows: nodes by TTL, and which flows reach which.

use std::net::IpAddr;

use crate::mda::StoppingRule;
use crate::packet::Ttl;

/// Flows that a node gets only by luck are hunted for so many times the number that is wanted, and no more.
const HUNTS_FOR_EACH: u32 = 30;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Where the probes come from.
    Source,
    /// A router.
    Router,
    /// Something that does not answer.
    Silent,
    /// The destination.
    Destination,
    /// A router that lets nothing pass.
    Barred,
}

/// How a node with several next hops chooses among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Balancer {
    /// All packets of a flow go one way.
    PerFlow,
    /// Packets of one flow go different ways.
    PerPacket,
}

/// The number of a vertex.
pub(super) type At = usize;

#[derive(Debug)]
pub(super) struct Vertex {
    pub(super) ttl: Ttl,
    pub(super) address: Option<IpAddr>,
    pub(super) kind: NodeKind,
    /// Whether its next hops are to be found.
    pub(super) is_followed: bool,
    /// The flows that are known to reach it, and whether it is known where each goes on to. Those before `sent` have been
    /// asked.
    pub(super) through: Vec<(u16, bool)>,
    pub(super) sent: usize,
    settled: usize,
    pub(super) successors: Vec<At>,
    /// With the number of flows that came that way.
    predecessors: Vec<(At, u32)>,
    /// Silent hops up to here, in a row.
    silent_run: u8,
    hunts: u32,
    pub(super) check: Check,
}

/// Whether a node chooses by flow is found out by repeating one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    NotYet,
    /// This flow of those through the node is repeated so often still, so many repetitions are under way, and so many
    /// were answered as the first time.
    Running {
        flow: usize,
        left: u32,
        open: u32,
        same: u32,
    },
    Found(Balancer),
    /// There is nothing to find out, or no way to.
    Moot,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) address: Option<IpAddr>,
    pub(super) kind: NodeKind,
}

#[derive(Debug)]
pub(super) struct Graph {
    pub(super) vertices: Vec<Vertex>,
    /// The vertices of each TTL, that of the source first.
    pub(super) levels: Vec<Vec<At>>,
    pub(super) rule: StoppingRule,
    pub(super) next_flow: u16,
    max_ttl: Ttl,
    gap_limit: u8,
    /// Whether a branch was given up for too many silent hops, and whether one reached the last TTL.
    pub(super) met_gap: bool,
    pub(super) met_max_ttl: bool,
}

/// What to ask next: where a flow that reaches a vertex goes on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) from: At,
    /// Which of the flows through it.
    pub(super) flow: usize,
    pub(super) attempt: u8,
    pub(super) purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To find next hops.
    Enumerate,
    /// To find a flow through a node further on.
    Hunt,
    /// To find out how the node chooses.
    Repeat,
}

impl Graph {
    pub(super) fn new(rule: StoppingRule, before_first: Ttl, max_ttl: Ttl, gap_limit: u8) -> Self {
        let mut source = Vertex::new(before_first, Arrival { address: None, kind: NodeKind::Source });
        source.is_followed = true;
        // Nobody asks how the source chooses.
        source.check = Check::Moot;
        Self {
            vertices: vec![source],
            levels: vec![vec![0]],
            rule,
            next_flow: 0,
            max_ttl,
            gap_limit,
            met_gap: false,
            met_max_ttl: false,
        }
    }

    pub(super) fn flow_number(&self, from: At, flow: usize) -> Option<u16> {
        self.vertices.get(from)?.through.get(flow).map(|(number, _)| *number)
    }

    /// The next question, with so many hunts under way.
    pub(super) fn next_question(&mut self, hunting: u32) -> Option<Question> {
        for level in 0..self.levels.len() {
            let mut is_complete = true;
            let mut wanted_more: Option<(At, u32)> = None;
            let mut deficit = 0;
            for index in 0..self.levels.get(level).map_or(0, Vec::len) {
                let Some(&at) = self.levels.get(level).and_then(|level| level.get(index)) else { continue };
                let (wanted, is_repeated) = self.wanted(at);
                if at == 0 {
                    self.give_fresh_flows(wanted);
                }
                let Some(vertex) = self.vertices.get_mut(at).filter(|vertex| vertex.is_followed) else {
                    continue;
                };
                let known = u32::try_from(vertex.through.len()).unwrap_or(u32::MAX);
                if vertex.sent < vertex.through.len() && u32::try_from(vertex.sent).is_ok_and(|n| n < wanted)
                {
                    vertex.sent += 1;
                    let flow = vertex.sent - 1;
                    return Some(Question { from: at, flow, attempt: 0, purpose: Purpose::Enumerate });
                }
                let is_sought = known < wanted && vertex.hunts < wanted.saturating_mul(HUNTS_FOR_EACH);
                if is_sought {
                    deficit += wanted - known;
                    if wanted_more.is_none_or(|(_, most)| wanted - known > most) {
                        wanted_more = Some((at, wanted - known));
                    }
                }
                if is_sought || vertex.settled < vertex.sent {
                    is_complete = false;
                    continue;
                }
                if let Some(flow) = self.repetition(at, is_repeated) {
                    return Some(Question { from: at, flow, attempt: 0, purpose: Purpose::Repeat });
                }
                let check = self.vertices.get(at).map(|vertex| vertex.check);
                is_complete &= !matches!(check, Some(Check::Running { .. }));
            }
            if !is_complete {
                if let Some((at, _)) = wanted_more.filter(|_| hunting < deficit) {
                    return self.hunt(at);
                }
                return self.further_on(level + 1);
            }
        }
        None
    }

    /// Questions about flows that are known to get further on, while a level is not complete.
    fn further_on(&mut self, level: usize) -> Option<Question> {
        let later: Vec<At> = self.levels.get(level..)?.iter().flatten().copied().collect();
        for at in later {
            let (wanted, _) = self.wanted(at);
            let Some(vertex) = self.vertices.get_mut(at).filter(|vertex| vertex.is_followed) else {
                continue;
            };
            if vertex.sent < vertex.through.len() && u32::try_from(vertex.sent).is_ok_and(|n| n < wanted) {
                vertex.sent += 1;
                let flow = vertex.sent - 1;
                return Some(Question { from: at, flow, attempt: 0, purpose: Purpose::Enumerate });
            }
        }
        None
    }

    /// How many flows through a vertex are wanted, and the repetitions that its choice is worth.
    fn wanted(&mut self, at: At) -> (u32, u32) {
        let seen = self.vertices.get(at).map_or(0, |vertex| vertex.successors.len());
        let seen = u32::try_from(seen).unwrap_or(u32::MAX);
        (self.rule.probes(seen), self.rule.repetitions(seen))
    }

    fn give_fresh_flows(&mut self, wanted: u32) {
        while self
            .vertices
            .first()
            .is_some_and(|source| u32::try_from(source.through.len()).is_ok_and(|known| known < wanted))
        {
            let Some(flow) = self.fresh_flow() else { return };
            if let Some(source) = self.vertices.first_mut() {
                source.through.push((flow, false));
            }
        }
    }

    fn fresh_flow(&mut self) -> Option<u16> {
        let flow = self.next_flow;
        self.next_flow = flow.checked_add(1)?;
        Some(flow)
    }

    /// One more flow on its way to a vertex: the next of those that reach a hop before it, or a new one from where all
    /// flows pass.
    fn hunt(&mut self, at: At) -> Option<Question> {
        let vertex = self.vertices.get_mut(at)?;
        vertex.hunts += 1;
        let mut towards = at;
        loop {
            let before = self.vertices.get(towards)?.predecessors.iter().max_by_key(|(_, flows)| *flows)?.0;
            let passes_all = before == 0 || self.is_alone(before);
            let waits = self.vertices.get(before).is_some_and(|vertex| vertex.sent < vertex.through.len());
            if waits || passes_all {
                if !waits {
                    let fresh = self.fresh_flow()?;
                    self.vertices.get_mut(before)?.through.push((fresh, false));
                }
                let vertex = self.vertices.get_mut(before)?;
                vertex.sent += 1;
                let flow = vertex.sent - 1;
                return Some(Question { from: before, flow, attempt: 0, purpose: Purpose::Hunt });
            }
            towards = before;
        }
    }

    /// Whether a vertex is the only one at its TTL.
    fn is_alone(&self, at: At) -> bool {
        self.levels.iter().any(|level| level.as_slice() == [at])
    }

    /// The flow to repeat, where it is time to find out how a vertex chooses.
    fn repetition(&mut self, at: At, repetitions: u32) -> Option<usize> {
        let vertex = self.vertices.get(at)?;
        let answering = |at: &At| self.vertices.get(*at).is_some_and(|vertex| vertex.address.is_some());
        if vertex.check == Check::NotYet {
            let is_choice = vertex.successors.iter().filter(|at| answering(at)).count() > 1;
            // Behind one that chooses for each packet, repetitions come from anywhere.
            let is_blurred = self.is_behind_per_packet(at);
            let vertex = self.vertices.get_mut(at)?;
            vertex.check = if is_choice && !is_blurred {
                Check::Running { flow: 0, left: repetitions, open: 0, same: 0 }
            } else if is_choice {
                Check::Moot
            } else {
                return None;
            };
        }
        let vertex = self.vertices.get_mut(at)?;
        match &mut vertex.check {
            // One after the other: some lanes can't send a flow twice at a time.
            Check::Running { flow, left, open, .. } if *left > 0 && *open == 0 => {
                *left -= 1;
                *open += 1;
                Some(*flow)
            }
            _ => None,
        }
    }

    fn is_behind_per_packet(&self, at: At) -> bool {
        self.ancestors(at).iter().any(|ancestor| {
            self.vertices
                .get(*ancestor)
                .is_some_and(|vertex| vertex.check == Check::Found(Balancer::PerPacket))
        })
    }

    fn ancestors(&self, at: At) -> Vec<At> {
        let mut found = vec![at];
        let mut next = 0;
        while let Some(&one) = found.get(next) {
            next += 1;
            for (before, _) in self.vertices.get(one).map_or(&[][..], |vertex| &vertex.predecessors) {
                if !found.contains(before) {
                    found.push(*before);
                }
            }
        }
        found.remove(0);
        found
    }

    /// A flow went on to here. Returns the vertex.
    pub(super) fn arrived(&mut self, from: At, flow: usize, arrival: Arrival) -> Option<At> {
        let ttl = Ttl(self.vertices.get(from)?.ttl.0.checked_add(1)?);
        let number = self.flow_number(from, flow)?;
        let to = self.find(from, ttl, arrival);
        let vertex = self.vertices.get_mut(from)?;
        let (_, is_known) = vertex.through.get_mut(flow)?;
        let is_news = !std::mem::replace(is_known, true);
        vertex.settled += usize::from(is_news);
        let linked = vertex.successors.contains(&to);
        if !is_news && !linked && arrival.address.is_some() && vertex.kind != NodeKind::Source {
            // The same flow by another way, unless the way was silence before.
            let silent = |at: &At| *at != to && self.vertices.get(*at).is_some_and(|v| v.address.is_none());
            if !self.vertices.get(from)?.successors.iter().any(silent) {
                self.vertices.get_mut(from)?.check = Check::Found(Balancer::PerPacket);
            }
        }
        if !linked {
            self.vertices.get_mut(from)?.successors.push(to);
        }
        let vertex = self.vertices.get_mut(to)?;
        match vertex.predecessors.iter_mut().find(|(before, _)| *before == from) {
            Some((_, flows)) => *flows += 1,
            None => vertex.predecessors.push((from, 1)),
        }
        if is_news || !vertex.through.iter().any(|(known, _)| *known == number) {
            vertex.through.push((number, false));
        }
        if !linked {
            self.follow(to, from);
        }
        Some(to)
    }

    /// A repetition came to its end: answered by the one, as the flow was by the other before; or by nobody.
    pub(super) fn repeated(&mut self, from: At, answers: Option<(IpAddr, IpAddr)>) {
        let Some(vertex) = self.vertices.get_mut(from) else { return };
        let Check::Running { left, open, same, .. } = &mut vertex.check else { return };
        *open = open.saturating_sub(1);
        let compared = answers.map(|(answer, before)| answer == before);
        *same += u32::from(compared == Some(true));
        if compared == Some(false) {
            vertex.check = Check::Found(Balancer::PerPacket);
        } else if *left == 0 && *open == 0 {
            vertex.check = if *same > 0 { Check::Found(Balancer::PerFlow) } else { Check::Moot };
        }
    }

    fn find(&mut self, from: At, ttl: Ttl, arrival: Arrival) -> At {
        let base = self.vertices.first().map_or(0, |source| source.ttl.0);
        let level = usize::from(ttl.0 - base);
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let same = |at: &&At| {
            self.vertices.get(**at).is_some_and(|vertex| {
                let of_same_branch = arrival.address.is_some()
                    || vertex.predecessors.iter().any(|(before, _)| *before == from);
                (vertex.address, vertex.kind) == (arrival.address, arrival.kind) && of_same_branch
            })
        };
        if let Some(&at) = self.levels.get(level).and_then(|vertices| vertices.iter().find(same)) {
            return at;
        }
        let at = self.vertices.len();
        self.vertices.push(Vertex::new(ttl, arrival));
        if let Some(vertices) = self.levels.get_mut(level) {
            vertices.push(at);
        }
        at
    }

    /// Decides whether the next hops of a vertex are wanted, now that it has a new predecessor.
    fn follow(&mut self, to: At, from: At) {
        let run_before = self.vertices.get(from).map_or(0, |vertex| vertex.silent_run);
        let loops = self.is_loop(to);
        let (max_ttl, gap_limit) = (self.max_ttl, self.gap_limit);
        let Some(vertex) = self.vertices.get_mut(to) else { return };
        if vertex.kind == NodeKind::Silent {
            vertex.silent_run = run_before.saturating_add(1);
        }
        let goes_on = matches!(vertex.kind, NodeKind::Router | NodeKind::Silent);
        let gap = gap_limit > 0 && vertex.silent_run >= gap_limit;
        vertex.is_followed = goes_on && !gap && !loops && vertex.ttl < max_ttl;
        self.met_gap |= goes_on && gap;
        self.met_max_ttl |= goes_on && !gap && vertex.ttl >= max_ttl;
    }

    /// A router that is an ancestor of itself, and not its own neighbour, sends packets in a circle.
    fn is_loop(&self, at: At) -> bool {
        let Some(vertex) = self.vertices.get(at).filter(|vertex| vertex.address.is_some()) else {
            return false;
        };
        self.ancestors(at)
            .iter()
            .filter_map(|ancestor| self.vertices.get(*ancestor))
            .any(|ancestor| ancestor.address == vertex.address && ancestor.ttl.0 + 1 < vertex.ttl.0)
    }

    /// Whether everything about a vertex is known that the rule asks for.
    pub(super) fn is_complete(&self, at: At) -> bool {
        let Some(vertex) = self.vertices.get(at) else { return false };
        let seen = u32::try_from(vertex.successors.len()).unwrap_or(u32::MAX);
        let wanted = self.rule.clone().probes(seen);
        u32::try_from(vertex.settled).is_ok_and(|settled| settled >= wanted)
    }
}

impl Vertex {
    const fn new(ttl: Ttl, arrival: Arrival) -> Self {
        Self {
            ttl,
            address: arrival.address,
            kind: arrival.kind,
            is_followed: false,
            through: Vec::new(),
            sent: 0,
            settled: 0,
            successors: Vec::new(),
            predecessors: Vec::new(),
            silent_run: 0,
            hunts: 0,
            check: Check::NotYet,
        }
    }
}
