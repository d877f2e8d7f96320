//! A client, without its connection and without that to the anchor: what it asks for, what is under way for it.
//!
//! Bytes of the client, answers of the anchor and changes of the roster go in; bytes for the client and questions for the
//! anchor come out. Commands wait here until they are put to the anchor: those of a channel that follow each other with
//! the same parameters go together in one measurement, and channels take turns. Nobody waits for that on a timer: they gather
//! only while the anchor has yet to accept as many like them, and while the site's limits are busy (`pace.rs`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mmn_scamper::control::{self, Attach, Format, Request, Variable};
use mmn_scamper::mux;
use mmn_scamper::{Command, command};
use mmn_schema::api::{MeasurementRequest, ResultRecord, Visibility};
use mmn_schema::id::{KindName, MeasurementId};
use mmn_schema::select::Selection;
use mmn_schema::stream::{FromAnchor, FromClient};
use mmn_schema::time::Span;
use mmn_translate::request::{Cost, Wanted};
use mmn_warts::{Reader, Record, json};
use serde_json::Value;

use crate::pace::{Load, Pace};
use crate::record::{self, Why};
use crate::roster::{Place, Roster};

/// The most tasks of a client that are under way or wait.
const MAX_TASKS: usize = 20_000;
/// The most bytes that wait to be read by a client before it is no longer read from.
const MAX_UNREAD: usize = 4 << 20;
/// The most questions that the anchor has not accepted yet.
const MAX_UNACCEPTED: usize = 128;
/// So many commands of a channel that could go together go at once, each by itself; beyond that they gather.
const MAX_SINGLE: usize = 4;
/// The most measurements that are under way.
const MAX_MEASUREMENTS: usize = 512;
/// The most tasks of a measurement.
const MAX_GROUP: usize = 1_024;
/// What may take longer is a measurement of its own, which can be called off by itself.
const BRIEF: Duration = Duration::from_secs(15);
/// What a task may take beyond its own waits: there may be others whom the limits of its site hold back.
const GRACE: Duration = Duration::from_secs(60);
/// The longest deadline.
const MAX_DEADLINE: Duration = Duration::from_secs(3_600);

/// How a client speaks.
#[derive(Debug)]
pub(crate) enum Face {
    /// Of all vantage points.
    Mux(mux::Server),
    /// Of one vantage point, by its name; whether the connection begins attached.
    Plain { name: String, attached: bool },
}

/// What a client is to the mux.
#[derive(Debug)]
pub(crate) struct Desk {
    face: Face,
    roster: Roster,
    channels: BTreeMap<u32, Channel>,
    groups: HashMap<u64, Group>,
    last_question: u64,
    unaccepted: usize,
    tasks: usize,
    /// The channel that was served last.
    turn: u32,
    questions: Vec<FromClient>,
    out: Vec<u8>,
    ended: bool,
}

/// A channel, or the only one of a plain connection.
#[derive(Debug)]
struct Channel {
    control: control::Server,
    instance: u32,
    name: String,
    attach: Option<Attach>,
    waiting: VecDeque<Task>,
    /// Those that were put to the anchor and have not ended.
    under_way: usize,
    pace: Pace,
    last: u32,
    done: bool,
    /// What was put to the anchor last.
    run: Run,
}

/// Measurements of a channel one after the other that have the same kind and parameters.
#[derive(Debug, Default)]
struct Run {
    number: u64,
    key: Option<(KindName, BTreeMap<String, Value>)>,
    /// How many of its commands the anchor has not accepted yet.
    unaccepted: usize,
}

impl Run {
    fn is_of(&self, wanted: &Wanted) -> bool {
        self.key.as_ref().is_some_and(|(kind, params)| *kind == wanted.kind && *params == wanted.params)
    }
}

/// A command that was taken on.
#[derive(Debug)]
struct Task {
    id: u32,
    command: Command,
    wanted: Wanted,
}

impl Task {
    fn duration(&self) -> Duration {
        Duration::from_nanos(self.wanted.cost.duration_ns)
    }

    fn load(&self) -> Load {
        Load::of(&self.command, &self.wanted.cost)
    }
}

/// Commands that are one measurement.
#[derive(Debug)]
struct Group {
    channel: u32,
    /// Of which run of its channel.
    run: u64,
    asked: mmn_translate::results::Asked,
    /// What each may cost.
    cost: Cost,
    /// By their place among the inputs; what has ended is gone.
    tasks: Vec<Option<(u32, Command)>>,
    left: usize,
    measurement: Option<MeasurementId>,
    /// It is to be called off as soon as it has an id.
    off: bool,
}

/// The client is out of step.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct OutOfStep(#[from] mux::MuxError);

impl Desk {
    /// A client that connects now.
    pub(crate) fn new(face: Face, roster: Roster, now_s: u32) -> Self {
        let mut desk = Self {
            face,
            roster: Roster::default(),
            channels: BTreeMap::new(),
            groups: HashMap::new(),
            last_question: 0,
            unaccepted: 0,
            tasks: 0,
            turn: 0,
            questions: Vec::new(),
            out: Vec::new(),
            ended: false,
        };
        match &desk.face {
            Face::Mux(_) => {
                desk.roster(roster);
                if let Face::Mux(mux) = &mut desk.face {
                    mux.go();
                }
            }
            Face::Plain { name, attached } => {
                let number = roster.iter().find(|(_, place)| place.name == *name).map(|(number, _)| *number);
                let (name, attached) = (name.clone(), *attached);
                desk.roster = roster;
                desk.open(1, number.unwrap_or(0), name, attached, now_s);
            }
        }
        desk.collect();
        desk
    }

    /// Whether more may be read from the client.
    pub(crate) fn has_room(&self) -> bool {
        self.tasks < MAX_TASKS && self.out.len() < MAX_UNREAD
    }

    /// Whether the conversation is over once what waits is read.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// What waits to be read by the client.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// What is to be put to the anchor.
    pub(crate) fn questions(&mut self) -> Vec<FromClient> {
        std::mem::take(&mut self.questions)
    }

    /// Takes what the client sent.
    pub(crate) fn receive(&mut self, now_s: u32, octets: &[u8]) -> Result<(), OutOfStep> {
        let mut heard = Vec::new();
        if let Face::Mux(mux) = &mut self.face {
            mux.receive(octets)?;
            while let Some(asked) = self.next_asked() {
                match asked {
                    mux::Asked::Open { channel, instance } => self.open_at(channel, instance, now_s),
                    mux::Asked::Data { channel, octets } => {
                        self.lines(channel, &octets, now_s);
                        if heard.last() != Some(&channel) {
                            heard.push(channel);
                        }
                    }
                }
            }
        } else {
            self.lines(1, octets, now_s);
            heard.push(1);
        }
        self.dispatch(now_s);
        for number in heard {
            // What gathers is to become more, for those who ask one by one.
            if let Some(channel) = self.channels.get_mut(&number)
                && channel.gathers(&self.roster)
            {
                channel.control.more();
            }
        }
        self.collect();
        Ok(())
    }

    /// Takes what the anchor said.
    pub(crate) fn heard(&mut self, now_s: u32, said: FromAnchor) {
        match said {
            FromAnchor::Accepted { id, measurement, .. } => {
                if let Some(group) = self.groups.get_mut(&id)
                    && group.measurement.replace(measurement.id).is_none()
                {
                    self.unaccepted = self.unaccepted.saturating_sub(1);
                    accepted(&mut self.channels, group);
                    if group.off {
                        self.call_off(measurement.id);
                    }
                }
            }
            FromAnchor::Results { id, records } => {
                for record in records.iter().filter(|record| record.last) {
                    self.result(id, record, now_s);
                }
            }
            FromAnchor::Behind { id, .. } => {
                self.questions
                    .push(FromClient::Credit { id, credits: u32::try_from(MAX_GROUP).unwrap_or(1) });
            }
            FromAnchor::Done { id, .. } => self.over(id, "lost: no result came", now_s),
            FromAnchor::Problem { id: Some(id), problem } => {
                let detail = problem.detail.as_deref().map(|detail| format!(": {detail}"));
                self.over(id, &format!("{}{}", problem.title, detail.unwrap_or_default()), now_s);
            }
            _ => {}
        }
        self.dispatch(now_s);
        self.collect();
    }

    /// The connection to the anchor broke: what was under way has no result.
    pub(crate) fn broken(&mut self, now_s: u32) {
        let ids: Vec<_> = self.groups.keys().copied().collect();
        for id in ids {
            self.over(id, "lost: the connection to the anchor broke", now_s);
        }
        self.questions.clear();
        self.dispatch(now_s);
        self.collect();
    }

    /// Calls off all that is under way: the client is gone.
    pub(crate) fn abandon(&mut self) {
        let ids: Vec<_> = self.groups.values().filter_map(|group| group.measurement).collect();
        for id in ids {
            self.call_off(id);
        }
        for group in self.groups.values_mut() {
            group.off = true;
        }
        for channel in self.channels.values_mut() {
            channel.waiting.clear();
        }
    }

    /// Whether something is under way that has yet to be accepted, and then called off.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unaccepted > 0
    }

    /// Takes a new roster, and tells the client what has changed.
    pub(crate) fn roster(&mut self, roster: Roster) {
        let before = std::mem::replace(&mut self.roster, roster);
        if let Face::Mux(mux) = &mut self.face {
            for (number, place) in self.roster.iter() {
                if before.get(number).is_none_or(|known| known.told != place.told) {
                    mux.update(place.told.clone());
                }
            }
            for number in before.keys().filter(|number| !self.roster.contains_key(number)) {
                mux.depart(*number);
            }
        } else if let Face::Plain { name, .. } = &self.face {
            let number = self.roster.iter().find(|(_, place)| place.name == *name).map(|(number, _)| *number);
            if let (Some(number), Some(channel)) = (number, self.channels.get_mut(&1)) {
                channel.instance = number;
            }
        }
        self.collect();
    }

    fn next_asked(&mut self) -> Option<mux::Asked> {
        match &mut self.face {
            Face::Mux(mux) => mux.poll(),
            Face::Plain { .. } => None,
        }
    }

    fn open_at(&mut self, channel: u32, instance: u32, now_s: u32) {
        // One that has just departed is opened too: what is asked of it is told why it can't be.
        let name =
            self.roster.get(&instance).map_or_else(|| "of that number".into(), |place| place.name.clone());
        self.open(channel, instance, name, true, now_s);
    }

    fn open(&mut self, channel: u32, instance: u32, name: String, attached: bool, now_s: u32) {
        let control = if attached { control::Server::attached() } else { control::Server::interactive() };
        let (waiting, attach) = (VecDeque::new(), attached.then(Attach::default));
        let opened = Channel {
            control,
            instance,
            name,
            attach,
            waiting,
            under_way: 0,
            pace: Pace::default(),
            last: 0,
            done: false,
            run: Run::default(),
        };
        self.channels.insert(channel, opened);
        if attached {
            self.begin(channel, now_s);
        }
    }

    /// A channel is attached: there is room, and it has a list and a cycle.
    fn begin(&mut self, channel: u32, now_s: u32) {
        let Some(channel) = self.channels.get_mut(&channel) else { return };
        let attach = channel.attach.clone().unwrap_or_default();
        let simulated = self.roster.get(&channel.instance).is_some_and(|place| place.simulated);
        let name = attach.name.as_deref().unwrap_or(&channel.name);
        let monitor = attach.monitor.as_deref().unwrap_or(&channel.name);
        let (list, cycle) = (attach.list_id.unwrap_or(0), attach.cycle_id.unwrap_or(1));
        channel.control.more();
        for record in record::beginning(list, cycle, name, monitor, simulated, now_s) {
            channel.send(None, &record);
        }
    }

    fn lines(&mut self, number: u32, mut octets: &[u8], now_s: u32) {
        loop {
            let Some(channel) = self.channels.get_mut(&number) else { return };
            let Some(request) = channel.control.next(&mut octets) else { break };
            self.request(number, request, now_s);
        }
        if self.channels.get(&number).is_some_and(|channel| channel.control.has_ended()) {
            self.close(number);
        }
    }

    fn request(&mut self, number: u32, request: Request, now_s: u32) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        match request {
            Request::Command(text) => match wanted(&text, channel, &self.roster) {
                Ok((command, wanted)) => {
                    channel.last = channel.control.accept();
                    channel.waiting.push_back(Task { id: channel.last, command, wanted });
                    self.tasks += 1;
                }
                Err(reason) => channel.control.refuse(&reason),
            },
            Request::Halt(id) => self.halt(number, id),
            Request::Done => {
                channel.control.ok("");
                channel.done = true;
                self.settle(number, now_s);
            }
            Request::Wrong(reason) => channel.control.err(&reason),
            Request::Attach(attach) => {
                channel.control.attach();
                channel.attach = Some(attach);
                self.begin(number, now_s);
            }
            Request::Exit => {
                channel.control.ok("");
                self.close(number);
            }
            Request::Get(variable) => {
                let name = &channel.name;
                channel.control.ok(&match variable {
                    Variable::MonitorName => format!("monitorname {name}"),
                    Variable::Pid => format!("pid {}", std::process::id()),
                    Variable::Version => format!("version mmn-{}", env!("CARGO_PKG_VERSION")),
                    Variable::Window => format!("window {}/{MAX_TASKS}", self.tasks),
                    Variable::Command | Variable::NameServer | Variable::Pps => {
                        format!("null {}", variable.name())
                    }
                });
            }
            Request::Set(variable, _) => {
                channel.control.err(&format!("{} is for the site to set", variable.name()));
            }
            Request::Sources(_) => channel.control.ok(""),
            Request::Help => {
                channel.control.info("attach, exit, get, help, source list");
                channel.control.ok("");
            }
            Request::Shutdown(_) | Request::ClearStopSet(_) => {
                channel.control.err("a client can not do that here");
            }
        }
    }

    fn halt(&mut self, number: u32, id: u32) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        if id > channel.last {
            return channel.control.err(&format!("no task id-{id}"));
        }
        // What has ended meanwhile is as good as halted: its record is on its way.
        channel.control.ok(&format!("halted {id}"));
        if let Some(at) = channel.waiting.iter().position(|task| task.id == id) {
            if let Some(task) = channel.waiting.remove(at) {
                channel.send(Some(id), &record::nothing(&task.command, Why::Halted, "halted"));
                self.tasks = self.tasks.saturating_sub(1);
            }
            return;
        }
        let found = self.groups.values_mut().find_map(|group| {
            let at = group.tasks.iter().position(|task| task.as_ref().is_some_and(|(task, _)| *task == id));
            at.filter(|_| group.channel == number).map(|at| (group, at))
        });
        let Some((group, at)) = found else { return };
        if group.left == 1 {
            group.off = true;
            if let Some(measurement) = group.measurement {
                self.call_off(measurement);
            }
        } else if let Some((id, command)) = group.tasks.get_mut(at).and_then(Option::take) {
            // Others share its measurement, which is brief: it goes on, and what comes of this task is not told.
            group.left -= 1;
            self.tasks = self.tasks.saturating_sub(1);
            channel.ended(&command, &group.cost);
            channel.send(Some(id), &record::nothing(&command, Why::Halted, "halted"));
        }
    }

    /// Puts commands to the anchor, as long as it keeps up.
    fn dispatch(&mut self, now_s: u32) {
        while self.unaccepted < MAX_UNACCEPTED && self.groups.len() < MAX_MEASUREMENTS {
            // The next channel after the one that was served last.
            let waits = |(_, channel): &(&u32, &Channel)| channel.is_due(&self.roster);
            let next = self.channels.range(self.turn.saturating_add(1)..).find(waits);
            let next = next.or_else(|| self.channels.iter().find(waits));
            let Some((&number, _)) = next else { return };
            self.turn = number;
            self.put(number, now_s);
        }
    }

    /// Puts the first commands of a channel to the anchor: those that can go together.
    fn put(&mut self, number: u32, now_s: u32) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let Some(first) = channel.waiting.pop_front() else { return };
        let Some(place) = self.roster.get(&channel.instance) else {
            // It departed while this waited.
            channel.send(
                Some(first.id),
                &record::nothing(&first.command, Why::Error, "the vantage point has departed"),
            );
            self.tasks = self.tasks.saturating_sub(1);
            self.settle(number, now_s);
            return;
        };
        let duration = first.duration();
        channel.pace.begin(&first.load());
        let Task { id, command, wanted } = first;
        let (mut inputs, mut tasks) = (vec![wanted.input.clone()], vec![Some((id, command))]);
        while duration <= BRIEF
            && tasks.len() < MAX_GROUP
            && let Some(next) = channel.waiting.front()
            && next.wanted.kind == wanted.kind
            && next.wanted.params == wanted.params
            && channel.pace.has_room(place.limits.as_ref(), &next.load())
            && let Some(next) = channel.waiting.pop_front()
        {
            channel.pace.begin(&next.load());
            inputs.push(next.wanted.input);
            tasks.push(Some((next.id, next.command)));
        }
        let left = tasks.len();
        channel.under_way += left;
        if !channel.run.is_of(&wanted) {
            let key = Some((wanted.kind.clone(), wanted.params.clone()));
            channel.run = Run { number: channel.run.number + 1, key, unaccepted: 0 };
        }
        channel.run.unaccepted += left;
        let run = channel.run.number;
        if channel.waiting.is_empty() {
            channel.control.more();
        }
        self.last_question += 1;
        let deadline = (duration + GRACE).min(MAX_DEADLINE);
        let request = MeasurementRequest {
            kind: wanted.kind.clone(),
            params: Some(wanted.params.clone()),
            inputs,
            from: Selection::ids([place.id.clone()]).ok(),
            deadline: Some(Span::from_millis(u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX))),
            open: false,
            visibility: Visibility::Private,
            budget: None,
            label: Some("mux".into()),
        };
        self.questions.push(FromClient::Measure {
            id: self.last_question,
            request: Box::new(request),
            idempotency_key: None,
            credits: Some(u32::try_from(left).unwrap_or(u32::MAX).saturating_add(1)),
        });
        let Wanted { asked, cost, .. } = wanted;
        let group = Group { channel: number, run, asked, cost, tasks, left, measurement: None, off: false };
        self.groups.insert(self.last_question, group);
        self.unaccepted += 1;
    }

    fn result(&mut self, id: u64, result: &ResultRecord, now_s: u32) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let at = usize::try_from(result.task.index).unwrap_or(usize::MAX);
        let Some((task, command)) = group.tasks.get_mut(at).and_then(Option::take) else { return };
        group.left -= 1;
        self.tasks = self.tasks.saturating_sub(1);
        let number = group.channel;
        let record = record::of(&command, &group.asked, result);
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.ended(&command, &group.cost);
            channel.send(Some(task), &record);
        }
        self.settle(number, now_s);
    }

    /// A measurement is over: what it has not answered has no result.
    fn over(&mut self, id: u64, said: &str, now_s: u32) {
        let Some(group) = self.groups.remove(&id) else { return };
        if group.measurement.is_none() {
            self.unaccepted = self.unaccepted.saturating_sub(1);
            accepted(&mut self.channels, &group);
        }
        let why = if group.off { Why::Halted } else { Why::Error };
        for (task, command) in group.tasks.into_iter().flatten() {
            self.tasks = self.tasks.saturating_sub(1);
            if let Some(channel) = self.channels.get_mut(&group.channel) {
                channel.ended(&command, &group.cost);
                channel.send(Some(task), &record::nothing(&command, why, said));
            }
        }
        self.settle(group.channel, now_s);
    }

    fn call_off(&mut self, measurement: MeasurementId) {
        self.last_question += 1;
        self.questions.push(FromClient::Cancel { id: self.last_question, measurement });
    }

    /// Ends a channel that gets no more commands and has answered all.
    fn settle(&mut self, number: u32, now_s: u32) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        if channel.done && channel.waiting.is_empty() && channel.under_way == 0 {
            channel.send(None, &record::end(now_s));
            self.close(number);
        }
    }

    fn close(&mut self, number: u32) {
        self.collect();
        if let Some(channel) = self.channels.remove(&number) {
            self.tasks = self.tasks.saturating_sub(channel.waiting.len());
        }
        let mut off = Vec::new();
        for group in self.groups.values_mut().filter(|group| group.channel == number) {
            group.off = true;
            off.extend(group.measurement);
        }
        for measurement in off {
            self.call_off(measurement);
        }
        match &mut self.face {
            Face::Mux(mux) => mux.close(number),
            Face::Plain { .. } => self.ended = true,
        }
    }

    /// Gathers what channels have to say.
    fn collect(&mut self) {
        for (number, channel) in &mut self.channels {
            if channel.control.waiting() > 0 {
                let said = channel.control.take();
                match &mut self.face {
                    Face::Mux(mux) => mux.send(*number, &said),
                    Face::Plain { .. } => self.out.extend(said),
                }
            }
        }
        if let Face::Mux(mux) = &mut self.face
            && mux.waiting() > 0
        {
            self.out.extend(mux.take());
        }
    }
}

impl Channel {
    /// Whether something waits that is to be put to the anchor now.
    fn is_due(&self, roster: &Roster) -> bool {
        self.waiting.front().is_some_and(|task| {
            let alike = task.duration() <= BRIEF && self.run.is_of(&task.wanted);
            let unaccepted = if alike { self.run.unaccepted } else { 0 };
            let enough = unaccepted < MAX_SINGLE || self.waiting.len() > unaccepted.min(MAX_GROUP - 1);
            enough && self.may_begin(task, roster)
        })
    }

    /// Whether something waits for others like it, and for nothing else.
    fn gathers(&self, roster: &Roster) -> bool {
        let next = self.waiting.front().filter(|_| self.waiting.len() < MAX_GROUP);
        next.is_some_and(|task| self.may_begin(task, roster))
    }

    /// Whether the limits of the site let a task begin. One that has departed is asked nothing: that is told at once.
    fn may_begin(&self, task: &Task, roster: &Roster) -> bool {
        let place = roster.get(&self.instance);
        place.is_none_or(|place| self.pace.has_room(place.limits.as_ref(), &task.load()))
    }

    /// A command that was put to the anchor has ended.
    fn ended(&mut self, command: &Command, cost: &Cost) {
        self.under_way = self.under_way.saturating_sub(1);
        self.pace.end(&Load::of(command, cost));
    }

    fn send(&mut self, id: Option<u32>, record: &Record) {
        if self.attach.as_ref().is_some_and(|attach| attach.format == Format::Json) {
            if let Some(value) = json::value(record, Reader::new(&[][..]).tables()) {
                self.control.json(id, &value.to_string());
            }
        } else {
            // A record that does not fit the format is too long for it; what a client waits for comes nonetheless.
            let octets = record.to_octets().or_else(|_| record::end(0).to_octets()).unwrap_or_default();
            self.control.data(id, &octets);
        }
    }
}

/// The anchor has accepted a measurement, or declined it.
fn accepted(channels: &mut BTreeMap<u32, Channel>, group: &Group) {
    if let Some(channel) = channels.get_mut(&group.channel)
        && channel.run.number == group.run
    {
        channel.run.unaccepted = channel.run.unaccepted.saturating_sub(group.tasks.len());
    }
}

/// What a line asks of a channel's vantage point, or why it can't be had.
fn wanted(text: &str, channel: &Channel, roster: &Roster) -> Result<(Command, Wanted), String> {
    let parsed = Command::parse(text).map_err(|error: command::CommandError| error.to_string())?;
    let place: &Arc<Place> = roster
        .get(&channel.instance)
        .ok_or_else(|| format!("the vantage point {} has departed", channel.name))?;
    let wanted = Wanted::of(&parsed, place.allowed).map_err(|error| error.to_string())?;
    if channel.done {
        return Err("done was said".into());
    }
    if !place.kinds.iter().any(|kind| kind == wanted.kind.as_str()) {
        return Err(format!("{} does not offer {} now", place.name, wanted.kind));
    }
    Ok((parsed, wanted))
}

#[cfg(test)]
mod tests;
