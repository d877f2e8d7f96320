//! Vantage points, modules, kinds, and selections among them.

use axum::http::StatusCode;
use mmn_schema::api::{KindView, ModuleView, Page, VpView};
use mmn_schema::control::{NodeAnswer, NodeOrder};
use mmn_schema::id::{KindName, VpId};
use mmn_schema::problem::Problem;
use mmn_schema::rest::{SelectRequest, Selected, SelectedVp};
use mmn_schema::select::{Assignment, Candidate, Choice, Selection};
use schemars::JsonSchema;
use serde::Deserialize;

use super::call::{Call, Holder};
use super::reply::{self, Answer, bad_request};
use super::route::Route;
use crate::registry::views::Choosable;

/// A list of more than so many is written beside the runtime.
const MANY: usize = 500;

pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/api/v1/vps", "listVantagePoints", list)
            .summary("The vantage points, by id; with `select` those that it chooses.")
            .query::<VpsQuery>()
            .value::<Page<VpView>>(200, "Vantage points."),
        Route::get("/api/v1/vps/{id}", "readVantagePoint", one)
            .summary("One vantage point.")
            .variable::<String>("id", "The id or the name of a vantage point.")
            .value::<VpView>(200, "The vantage point."),
        Route::post("/api/v1/vps/{id}/modules", "orderNode", order)
            .summary("Lists, adds, removes, drains or restarts modules at a vantage point.")
            .variable::<String>("id", "The id or the name of a vantage point.")
            .body::<NodeOrder>(|| serde_json::json!("list"))
            .value::<NodeAnswer>(200, "What the node answers; it may refuse.")
            .problems(&[502]),
        Route::post("/api/v1/select", "trySelection", select)
            .summary("Reads a selection and shows what it chooses now.")
            .body::<SelectRequest>(|| serde_json::json!({ "select": "all" }))
            .value::<Selected>(200, "What the selection means and chooses."),
        Route::get("/api/v1/modules", "listModules", modules)
            .summary("The instances of modules, by vantage point and instance; with `vp` those of one.")
            .query::<ModulesQuery>()
            .value::<Page<ModuleView>>(200, "Instances."),
        Route::get("/api/v1/kinds", "listKinds", kinds)
            .summary("The kinds of measurement that the network knows, by name.")
            .query::<ListQuery>()
            .value::<Page<KindView>>(200, "Kinds."),
        Route::get("/api/v1/kinds/{kind}", "readKind", kind)
            .summary("One kind.")
            .variable::<KindName>("kind", "The name of a kind.")
            .value::<KindView>(200, "The kind."),
        Route::get("/api/v1/kinds/{kind}/schema", "readKindSchema", kind_schema)
            .summary("The JSON Schema of a kind's parameters, or of its results' bodies.")
            .variable::<KindName>("kind", "The name of a kind.")
            .query::<SchemaQuery>()
            .answer(200, "A JSON Schema.", vec![("application/schema+json", None)]),
    ]
}

/// Which part of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// The `next` of the page before; absent: the first page.
    after: Option<String>,
    /// The most items; absent: all.
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<usize>,
}

/// Which vantage points.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VpsQuery {
    /// A selection, as text.
    select: Option<String>,
    /// The `next` of the page before; absent: the first page.
    after: Option<String>,
    /// The most items; absent: all.
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<usize>,
}

/// Which instances of modules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModulesQuery {
    /// The id of a vantage point: those that run there.
    vp: Option<VpId>,
    /// The `next` of the page before; absent: the first page.
    after: Option<String>,
    /// The most items; absent: all.
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<usize>,
}

/// Which schema.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SchemaQuery {
    /// Of what.
    #[serde(default)]
    of: SchemaOf,
}

/// What a schema describes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SchemaOf {
    /// The parameters of a request.
    #[default]
    Params,
    /// The body of a result.
    Result,
}

async fn list(_: Holder, call: Call) -> Answer {
    let query: VpsQuery = call.query()?;
    let all = call.api.anchor.choosable().await?;
    let ids: Vec<VpId> = match &query.select {
        None => all.into_iter().map(|one| one.vp.id.clone()).collect(),
        Some(text) => {
            let selection = text.parse::<Selection>().map_err(|error| bad_selection(&error.to_string()))?;
            let mut ids = members(chosen(&selection, &all).assignments);
            ids.sort_unstable();
            ids.dedup();
            ids
        }
    };
    let Page { items: ids, next } = page(ids, query.after.as_deref(), query.limit, VpId::to_string)?;
    let many = ids.len() > MANY;
    let page = Page { items: call.api.anchor.vps_of(ids).await?, next };
    if many {
        return Ok(reply::large_value(StatusCode::OK, reply::encoding(call.headers()), page).await);
    }
    Ok(reply::ok(call.headers(), &page))
}

async fn one(_: Holder, mut call: Call) -> Answer {
    let id: String = call.path().await?;
    let vp = call.api.anchor.vp(&id).await?;
    Ok(reply::ok(call.headers(), &vp))
}

async fn order(_: Holder, mut call: Call) -> Answer {
    let id: String = call.path().await?;
    let order: NodeOrder = call.body().await?;
    let vp = call.api.anchor.vp(&id).await?.vantage_point.id;
    let answer = call.api.anchor.node_order(&vp, order).await?;
    Ok(reply::ok(call.headers(), &answer))
}

async fn select(_: Holder, mut call: Call) -> Answer {
    let SelectRequest { select, ids_only } = call.body().await?;
    let all = call.api.anchor.choosable().await?;
    let Choice { assignments, coverage } = chosen(&select, &all);
    let mut selected = Selected { select: select.to_string(), vps: Vec::new(), ids: Vec::new(), coverage };
    if ids_only {
        selected.ids = members(assignments);
        return Ok(reply::ok(call.headers(), &selected));
    }
    for assignment in assignments {
        let pooled = matches!(assignment, Assignment::Pool(_));
        selected.vps.extend(members(vec![assignment]).into_iter().map(|vp| {
            // They are in the order of their ids.
            let at = all.binary_search_by_key(&&vp, |one| &one.vp.id);
            let point = at.ok().and_then(|at| all.get(at)).map(|one| &one.vp);
            SelectedVp {
                name: point.map(|point| point.name.clone()).unwrap_or_default(),
                simulated: point.is_some_and(|point| point.simulated),
                vp,
                pooled,
            }
        }));
    }
    Ok(reply::ok(call.headers(), &selected))
}

async fn modules(_: Holder, call: Call) -> Answer {
    let ModulesQuery { vp, after, limit } = call.query()?;
    let mut modules = call.api.anchor.modules_of(vp).await?;
    let key = |module: &ModuleView| format!("{}.{}", module.vp, module.instance);
    modules.sort_by_cached_key(key);
    let page = page(modules, after.as_deref(), limit, key)?;
    if page.items.len() > MANY {
        return Ok(reply::large_value(StatusCode::OK, reply::encoding(call.headers()), page).await);
    }
    Ok(reply::ok(call.headers(), &page))
}

async fn kinds(_: Holder, call: Call) -> Answer {
    let ListQuery { after, limit } = call.query()?;
    let kinds = call.api.anchor.kinds().await?;
    let page = page(kinds, after.as_deref(), limit, |kind| kind.info.name.to_string())?;
    Ok(reply::ok(call.headers(), &page))
}

async fn kind(_: Holder, mut call: Call) -> Answer {
    let name: KindName = call.path().await?;
    let kind = call.api.anchor.kind(&name).await?;
    Ok(reply::ok(call.headers(), &kind))
}

async fn kind_schema(_: Holder, mut call: Call) -> Answer {
    let name: KindName = call.path().await?;
    let query: SchemaQuery = call.query()?;
    let info = call.api.anchor.kind(&name).await?.info;
    let schema = match query.of {
        SchemaOf::Params => info.params,
        SchemaOf::Result => info.result,
    };
    let body = serde_json::to_vec(&schema).map_err(bad_request)?;
    Ok(reply::with_type(StatusCode::OK, "application/schema+json", body))
}

/// What a selection chooses among vantage points. A sample without a seed of its own is drawn with seed 0, so that
/// the same question has the same answer.
fn chosen(selection: &Selection, all: &[Choosable]) -> Choice {
    let candidates: Vec<_> = all.iter().map(|one| Candidate { vp: &one.vp, kinds: &one.kinds }).collect();
    selection.choose(&candidates, 0)
}

/// All vantage points that assignments name.
fn members(assignments: Vec<Assignment>) -> Vec<VpId> {
    let of = |assignment| match assignment {
        Assignment::Vp(vp) => vec![vp],
        Assignment::Pool(pool) => pool,
    };
    assignments.into_iter().flat_map(of).collect()
}

fn bad_selection(detail: &str) -> Problem {
    bad_request(format!("query parameter `select`: {detail}"))
}

/// The part of a list, sorted by `key`, that begins after the key `after`.
fn page<T>(
    items: Vec<T>,
    after: Option<&str>,
    limit: Option<usize>,
    key: impl Fn(&T) -> String,
) -> Result<Page<T>, Problem> {
    let limit = limit.unwrap_or(usize::MAX);
    if !(1..=10_000).contains(&limit) && limit != usize::MAX {
        return Err(bad_request("query parameter `limit`: it is between 1 and 10000"));
    }
    let mut rest = items.into_iter().filter(|item| after.is_none_or(|after| key(item).as_str() > after));
    let items: Vec<T> = rest.by_ref().take(limit).collect();
    let next = if rest.next().is_some() { items.last().map(&key) } else { None };
    Ok(Page { items, next })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pages_hold_each_item_once(mut items: std::collections::BTreeSet<u8>, limit in 1usize..20) {
            let key = |item: &u8| format!("{item:03}");
            let (mut after, mut seen) = (None, Vec::new());
            loop {
                let all = items.iter().copied().collect();
                let page = page(all, after.as_deref(), Some(limit), key).unwrap();
                seen.extend(page.items);
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            prop_assert!(seen.iter().all(|item| items.remove(item)));
            prop_assert!(items.is_empty());
        }
    }
}
