//! Whether a request can be accepted, and what it becomes: pure, from the registry as it is.

use mmn_schema::announce::InputShape;
use mmn_schema::api::{Coverage, MeasurementRequest, PlannedVp, Refusal};
use mmn_schema::body::Body;
use mmn_schema::dispatch::Input;
use mmn_schema::encoding::Encoding;
use mmn_schema::id::{InstanceId, KindName, VpId};
use mmn_schema::outcome::{Reason, code};
use mmn_schema::problem::Problem;
use mmn_schema::select::{Assignment, Selection};
use mmn_schema::time::Span;
use serde_json::{Map, Value};

use crate::config::LimitsConfig;
use crate::problems;
use crate::registry::Registry;
use crate::store::record::Assigned;

/// A request that can be accepted.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) params: Body,
    pub(crate) inputs: Vec<Input>,
    pub(crate) from: Selection,
    pub(crate) deadline: Span,
    pub(crate) assignments: Vec<Assigned>,
    pub(crate) coverage: Coverage,
    pub(crate) tasks: u64,
    /// Of the tasks, those that are refused at once.
    pub(crate) refused: u64,
}

const DEFAULT_DEADLINE: Span = Span::from_millis(30_000);
const MAX_DEADLINE: Span = Span::from_millis(3_600_000);
const MAX_LABEL: usize = 200;
/// The most bytes of a kind's parameters.
const MAX_PARAMS: usize = 64 * 1024;
/// Of so many assignments those that are refused say why in words; of more, by code alone.
const MAX_DETAILS: usize = 1000;
/// The longest target: the longest URL that the web agrees on.
const MAX_TARGET: usize = 2048;
/// The most targets of one set.
const MAX_TARGETS: usize = 10_000;
/// The most bytes of a set's targets.
const MAX_SET: usize = 256 * 1024;
/// How many wrong inputs are pointed at.
const MAX_ERRORS: usize = 20;

/// Checks a request, and chooses its vantage points. `pending` tasks are pending at present, and `seed` serves where
/// the selection draws and gives none.
pub(crate) fn check(
    registry: &Registry,
    limits: &LimitsConfig,
    request: &MeasurementRequest,
    pending: u64,
    seed: u64,
) -> Result<Checked, Problem> {
    let mut problem = problems::invalid();
    let Some(kind) = registry.kinds.get(&request.kind) else {
        let known: Vec<_> = registry.kinds.iter().map(|kind| kind.info.name.as_str()).collect();
        let hint = if known.is_empty() {
            "no module has announced itself yet".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        return Err(problem.at("/kind", format_args!("nobody offers {}", request.kind)).hint(hint));
    };
    let params: Map<String, Value> = request.params.clone().unwrap_or_default().into_iter().collect();
    let params = Value::Object(params);
    problem = kind.check(&params, problem);
    problem = check_inputs(kind.info.input, &request.inputs, request.open, limits, problem);
    let deadline = request.deadline.unwrap_or(DEFAULT_DEADLINE);
    if deadline > MAX_DEADLINE || deadline.as_ns() == 0 {
        problem = problem.at("/deadline", "it is more than 0 and at most 1 h");
    }
    if request.label.as_ref().is_some_and(|label| label.chars().count() > MAX_LABEL) {
        problem = problem.at("/label", format_args!("it has at most {MAX_LABEL} characters"));
    }
    let from = request.from.clone().unwrap_or_else(|| Selection::default_any(&request.kind));
    let choice = from.choose(&registry.candidates(), seed);
    let mut assignments: Vec<Assigned> = choice
        .assignments
        .into_iter()
        .map(|assignment| assign(registry, &request.kind, assignment))
        .collect();
    if assignments.len() > MAX_DETAILS {
        for reason in assignments.iter_mut().filter_map(|assigned| assigned.refused.as_mut()) {
            reason.detail = None;
        }
    }
    if assignments.is_empty() {
        problem = problem.at("/from", format_args!("no vantage point matches {from}"));
    }
    if assignments.iter().map(|assigned| assigned.vps.len()).sum::<usize>() > limits.max_vps {
        problem = problem.at("/from", format_args!("it matches more than {} vantage points", limits.max_vps));
    }
    if !problem.errors.is_empty() {
        return Err(problem);
    }
    let mut inputs = request.inputs.clone();
    if kind.info.input == InputShape::Nothing && inputs.is_empty() && !request.open {
        inputs.push(Input::Nothing);
    }
    let tasks = inputs.len() as u64 * assignments.len() as u64;
    let refused = assignments.iter().filter(|assigned| assigned.refused.is_some()).count() as u64;
    if let Some(most) = request.budget.and_then(|budget| budget.max_tasks)
        && tasks > most
    {
        return Err(problems::over_budget("/budget/max_tasks", &format!("it has {tasks} tasks")));
    }
    if pending.saturating_add(tasks) > limits.max_pending_tasks {
        return Err(problems::saturated(pending, limits.max_pending_tasks, tasks));
    }
    let params = Body::of(&params).map_err(|error| problems::invalid().at("/params", error))?;
    if params.cbor().len() > MAX_PARAMS {
        return Err(problems::invalid().at("/params", "they have at most 64 KiB"));
    }
    let refused = refused * inputs.len() as u64;
    Ok(Checked { params, inputs, from, deadline, assignments, coverage: choice.coverage, tasks, refused })
}

/// Points at each input that is not of the kind's shape.
pub(crate) fn check_inputs(
    shape: InputShape,
    inputs: &[Input],
    open: bool,
    limits: &LimitsConfig,
    mut problem: Problem,
) -> Problem {
    if inputs.len() as u64 > limits.max_inputs {
        return problem.at("/inputs", format_args!("at most {} in one request", limits.max_inputs));
    }
    if inputs.is_empty() && !open && shape != InputShape::Nothing {
        return problem.at("/inputs", "the kind wants an input at least");
    }
    for (position, input) in inputs.iter().enumerate() {
        let wrong = match (shape, input) {
            (InputShape::Nothing, Input::Nothing) | (InputShape::Peer, Input::Peer { .. }) => None,
            (InputShape::Target, Input::Target(target)) => wrong_target(target),
            (InputShape::Targets, Input::Targets(targets)) => {
                if targets.is_empty() || targets.len() > MAX_TARGETS {
                    Some("a set has 1 to 10,000 targets")
                } else if targets.iter().map(String::len).sum::<usize>() > MAX_SET {
                    Some("a set has at most 256 KiB of text")
                } else {
                    targets.iter().find_map(|target| wrong_target(target))
                }
            }
            (InputShape::Nothing, _) => Some("the kind takes no input"),
            (InputShape::Target, _) => Some("the kind's input is one target, as text"),
            (InputShape::Targets, _) => Some("the kind's input is a set of targets, as a list of texts"),
            (InputShape::Peer, _) => Some("the kind's input is a vantage point: {\"vp\": \"…\"}"),
        };
        if let Some(wrong) = wrong {
            problem = problem.at(format!("/inputs/{position}"), wrong);
            if problem.errors.len() >= MAX_ERRORS {
                break;
            }
        }
    }
    problem
}

fn wrong_target(target: &str) -> Option<&'static str> {
    if target.is_empty() {
        Some("a target is not empty")
    } else if target.len() > MAX_TARGET {
        Some("a target has at most 2,048 bytes")
    } else if target.chars().any(char::is_control) {
        Some("a target has no control characters")
    } else {
        None
    }
}

/// An assignment with the members that offer the kind; with a reason when none does.
fn assign(registry: &Registry, kind: &KindName, assignment: Assignment) -> Assigned {
    let offers = |vp: &VpId| registry.vps.get(vp).is_some_and(|vp| vp.kinds.binary_search(kind).is_ok());
    match assignment {
        Assignment::Vp(vp) if offers(&vp) => Assigned { vps: vec![vp], refused: None },
        Assignment::Vp(vp) => Assigned { refused: Some(unsupported(registry, kind, &vp)), vps: vec![vp] },
        Assignment::Pool(vps) => {
            let able: Vec<VpId> = vps.iter().filter(|vp| offers(vp)).cloned().collect();
            if able.is_empty() {
                let detail = format!("none of {} vantage points offers {kind}", vps.len());
                Assigned { vps, refused: Some(Reason::with(code::UNSUPPORTED, detail)) }
            } else {
                Assigned { vps: able, refused: None }
            }
        }
    }
}

/// Why a vantage point does not take the tasks of a kind.
fn unsupported(registry: &Registry, kind: &KindName, vp: &VpId) -> Reason {
    let slots = registry.vps.get(vp).map(|vp| vp.slots.as_slice()).unwrap_or_default();
    let instances = slots.iter().filter_map(|slot| registry.instances.get(slot));
    let mut known = instances.flat_map(|instance| &instance.kinds).filter(|info| info.name == *kind);
    match known.find_map(|info| info.unavailable.as_ref()) {
        Some(unavailable) => Reason::with(code::UNSUPPORTED, &unavailable.reason),
        None => Reason::with(code::UNSUPPORTED, format_args!("the vantage point does not offer {kind}")),
    }
}

/// The vantage points of a plan, each with an instance that can be asked for a quote.
pub(crate) fn planned(
    registry: &Registry,
    kind: &KindName,
    assignments: &[Assigned],
) -> Vec<(PlannedVp, Option<(InstanceId, Encoding)>)> {
    let mut planned = Vec::new();
    for assigned in assignments {
        for id in &assigned.vps {
            let vp = registry.vps.get(id);
            let name = vp.map_or_else(|| id.to_string(), |vp| vp.point.name.clone());
            let refusals = assigned.refused.iter();
            let entry = PlannedVp {
                vp: id.clone(),
                name,
                pooled: assigned.vps.len() > 1,
                simulated: vp.is_some_and(|vp| vp.point.simulated),
                packets: None,
                bytes: None,
                refusals: refusals.map(|reason| Refusal { input: None, reason: reason.clone() }).collect(),
            };
            let slots = vp.filter(|_| assigned.refused.is_none()).map(|vp| vp.slots.as_slice());
            let instances = slots.unwrap_or_default().iter().filter_map(|slot| registry.instances.get(slot));
            let mut able = instances.filter(|instance| {
                instance.kinds.iter().any(|info| info.name == *kind && info.unavailable.is_none())
            });
            planned.push((entry, able.next().map(|instance| (instance.id.clone(), instance.encoding))));
        }
    }
    planned
}
