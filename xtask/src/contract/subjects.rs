//! The table of subjects. It is written by the type itself, so that no subject is spelled here.

use anyhow::Result;
use mmn_schema::id::{InstanceId, KindName, MeasurementId, VpId};
use mmn_schema::subject::{Log, Prefix, Subject};

/// A subject as the reference shows it.
pub(super) struct Row {
    /// With `<vp>` and the like where ids stand.
    pub(super) subject: String,
    /// Who publishes, and who listens.
    pub(super) way: &'static str,
    /// The message, and the reply to it.
    pub(super) carries: &'static str,
}

/// All subjects.
pub(super) fn rows() -> Result<Vec<Row>> {
    let vp: VpId = "vpvpvpvpvpvpvpvp".parse()?;
    let kind: KindName = "kindkind".parse()?;
    let instance: InstanceId = "INSTANCE".parse()?;
    let msm = MeasurementId::new(0, &[0; 10]);
    let all = [
        Subject::Announce,
        Subject::Discover,
        Subject::Task(vp.clone(), kind.clone(), instance.clone()),
        Subject::Pool(vp.clone(), kind.clone()),
        Subject::PoolAny(kind.clone()),
        Subject::Receipt(vp.clone(), instance.clone(), "ANCHOR".parse()?, 0),
        Subject::Ctl(vp.clone(), instance.clone()),
        Subject::Hb(vp.clone(), instance.clone()),
        Subject::Res(vp.clone(), kind.clone(), msm),
        Subject::Synced(vp.clone(), instance.clone()),
        Subject::Evt("TYPE".to_owned()),
        Subject::Node(vp.clone()),
        Subject::Enrol(vp.clone()),
        Subject::Log(Log::Accept, msm),
        Subject::Log(Log::Res, msm),
        Subject::Log(Log::Done, msm),
        Subject::Log(Log::Roll, msm),
        Subject::Logs(Log::Accept, 1_234_567),
        Subject::Logs(Log::Res, 1_234_567),
        Subject::Logs(Log::Done, 1_234_567),
    ];
    let names = [
        (vp.to_string(), "<vp>"),
        (kind.to_string(), "<kind>"),
        (instance.to_string(), "<instance>"),
        (msm.to_string(), "<msm>"),
        ("TYPE".to_owned(), "<type>"),
        ("ANCHOR.0".to_owned(), "<anchor>.<batch>"),
        ("s1234567".to_owned(), "s<second>"),
    ];
    let rows = all.iter().map(|subject| {
        let mut text = subject.on(&Prefix::default());
        for (id, name) in &names {
            text = text.replace(id, name);
        }
        let (way, carries) = described(subject);
        Row { subject: text, way, carries }
    });
    Ok(rows.collect())
}

/// A new subject does not compile before it is described.
const fn described(subject: &Subject) -> (&'static str, &'static str) {
    match subject {
        Subject::Announce => ("module, node → anchor", "`Announcement`, signed"),
        Subject::Discover => ("anchor → module, node", "`Discover`, or nothing: everybody announces"),
        Subject::Task(..) => ("anchor → instance", "`ToInstance`; reply `Receipt`"),
        Subject::Pool(..) => {
            ("anchor or caller → one instance of a VP (queue group `q`)", "`TaskBatch`; reply `Receipt`")
        }
        Subject::PoolAny(..) => {
            ("caller → one instance anywhere (queue group `q`)", "`TaskBatch`; reply `Receipt`")
        }
        Subject::Receipt(..) => ("instance → anchor", "`Receipt`; the reply subject of a batch"),
        Subject::Ctl(..) => ("anchor → instance", "`Control`; reply `Controlled`"),
        Subject::Hb(..) => ("instance → anchor, and the node of its vantage point", "`Heartbeat`"),
        Subject::Res(..) => ("instance → anchor", "`ResultBatch`"),
        Subject::Synced(..) => ("instance → anchor", "`Synced`, in line with the results"),
        Subject::Evt(..) => ("anchor → whoever watches", "`Event`"),
        Subject::Node(..) => ("anchor → node", "`NodeOrder`; reply `NodeAnswer`"),
        Subject::Enrol(..) => ("node → anchor", "`EnrolRequest`; reply `EnrolAnswer`"),
        Subject::Log(Log::Accept, _) => ("anchor → JetStream", "an acceptance; the anchor's own"),
        Subject::Log(Log::Res, _) => ("anchor → JetStream", "kept results; the anchor's own"),
        Subject::Log(Log::Done, _) => ("anchor → JetStream", "the sums at the end; the anchor's own"),
        Subject::Log(Log::Roll, _) => ("anchor → JetStream", "a rollup; the anchor's own"),
        Subject::Logs(..) => {
            ("anchor → JetStream", "the same of several measurements of one second; the anchor's own")
        }
    }
}
