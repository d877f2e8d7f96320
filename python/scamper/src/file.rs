//! `ScamperFile`: warts, JSON and text, and how a record becomes an object and an object a record.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use mmn_warts::records::list::{Cycle, CycleStop, List};
use mmn_warts::values::{CycleId, ListId, Text};
use mmn_warts::{Compression, Pack, Reader, Record, Unpack, json};
use pyo3::exceptions::{PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::dealias::ScamperDealias;
use crate::host::ScamperHost;
use crate::http::ScamperHttp;
use crate::item::{Item, Membership, Pass};
use crate::list::{ScamperCycle, ScamperList, What};
use crate::others::{ScamperNeighbourdisc, ScamperSniff, ScamperSting, ScamperTbit};
use crate::owamp::ScamperOwamp;
use crate::ping::ScamperPing;
use crate::trace::ScamperTrace;
use crate::tracelb::ScamperTracelb;
use crate::udpprobe::ScamperUdpprobe;

/// The classes of results, each with its record.
macro_rules! results {
    ($do:ident) => {
        $do! {
            Trace: ScamperTrace,
            Ping: ScamperPing,
            Tracelb: ScamperTracelb,
            Dealias: ScamperDealias,
            Neighbourdisc: ScamperNeighbourdisc,
            Tbit: ScamperTbit,
            Sting: ScamperSting,
            Sniff: ScamperSniff,
            Host: ScamperHost,
            Http: ScamperHttp,
            Udpprobe: ScamperUdpprobe,
            Owamp: ScamperOwamp
        }
    };
}

/// What a file, or a connection, has said so far of lists and cycles.
#[derive(Default)]
pub(crate) struct Known {
    lists: HashMap<ListId, Arc<List>>,
    passes: HashMap<CycleId, Arc<Pass>>,
}

impl Known {
    /// The object of a record; `None` for one that has none.
    pub(crate) fn object(
        &mut self,
        py: Python<'_>,
        mut record: Record,
        instance: Option<&Py<PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        let mut of = Membership::default();
        if let Some((list, cycle)) = record.membership() {
            of.list = list.and_then(|id| self.lists.get(&id).cloned());
            of.pass = cycle.and_then(|id| self.passes.get(&id).cloned());
        }
        macro_rules! made {
            ($($kind:ident: $class:ident),*) => {
                match record {
                    $(Record::$kind(body) => {
                        let item = Arc::new(Item { body, of });
                        let instance = instance.map(|instance| instance.clone_ref(py));
                        Some(Py::new(py, $class { item, instance })?.into_any())
                    })*
                    Record::List(list) => {
                        let list = Arc::new(list);
                        self.lists.insert(list.id, Arc::clone(&list));
                        Some(Py::new(py, ScamperList(list))?.into_any())
                    }
                    Record::CycleStart(cycle) => Some(self.begin(py, cycle, What::Start)?),
                    Record::CycleDef(cycle) => Some(self.begin(py, cycle, What::Definition)?),
                    Record::CycleStop(CycleStop { id, stop, .. }) => {
                        let pass = self.passes.get(&id).cloned();
                        let pass = pass.unwrap_or_else(|| Arc::new(Pass::new(Cycle { id, ..Cycle::default() }, None)));
                        pass.ended(stop);
                        Some(Py::new(py, ScamperCycle { pass, what: What::Stop })?.into_any())
                    }
                    Record::Address(_) | Record::Unknown(_) => None,
                }
            };
        }
        Ok(results!(made))
    }

    fn begin(&mut self, py: Python<'_>, cycle: Cycle, what: What) -> PyResult<Py<PyAny>> {
        let id = cycle.id;
        let list = self.lists.get(&cycle.list).cloned();
        let pass = Arc::new(Pass::new(cycle, list));
        self.passes.insert(id, Arc::clone(&pass));
        Ok(Py::new(py, ScamperCycle { pass, what })?.into_any())
    }
}

/// The numbers of the types of records that a class stands for.
fn numbers(class: &Bound<'_, PyType>) -> PyResult<Vec<u16>> {
    macro_rules! number {
        ($($kind:ident: $class:ident),*) => {
            $(if class.is(class.py().get_type::<$class>()) {
                return Ok(vec![mmn_warts::Kind::$kind.number()]);
            })*
        };
    }
    results!(number);
    if class.is(class.py().get_type::<ScamperList>()) {
        return Ok(vec![1]);
    }
    if class.is(class.py().get_type::<ScamperCycle>()) {
        return Ok(vec![2, 3, 4]);
    }
    Err(PyValueError::new_err(format!("no class of records: {}", class.name()?)))
}

/// What is written, and where.
struct Output {
    destination: Pack<Box<dyn Write + Send + Sync>>,
    kind: Written,
    lists: HashMap<List, ListId>,
    cycles: HashMap<(ListId, u32, u32, Option<Text>), CycleId>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Warts,
    Json,
    Text,
}

impl Output {
    fn record(&mut self, record: &Record) -> PyResult<()> {
        let octets = record.to_octets().map_err(|error| failed("writing", &error))?;
        self.octets(&octets)
    }

    fn octets(&mut self, octets: &[u8]) -> PyResult<()> {
        self.destination.write_all(octets).map_err(|error| failed("writing", &error))
    }

    fn line(&mut self, line: &str) -> PyResult<()> {
        self.octets(format!("{}\n", line.trim_end_matches('\n')).as_bytes())
    }

    fn list(&mut self, list: &List) -> PyResult<ListId> {
        let key = List { id: ListId(0), ..list.clone() };
        if let Some(id) = self.lists.get(&key) {
            return Ok(*id);
        }
        let id = ListId(u32::try_from(self.lists.len() + 1).unwrap_or(u32::MAX));
        self.record(&Record::List(List { id, ..key.clone() }))?;
        self.lists.insert(key, id);
        Ok(id)
    }

    fn cycle(&mut self, pass: &Pass, what: What) -> PyResult<CycleId> {
        let list = pass.list.as_deref().map(|list| self.list(list)).transpose()?.unwrap_or_default();
        let cycle = &pass.cycle;
        let key = (list, cycle.user_id, cycle.start, cycle.about.hostname.clone());
        if let Some(id) = self.cycles.get(&key) {
            return Ok(*id);
        }
        let id = CycleId(u32::try_from(self.cycles.len() + 1).unwrap_or(u32::MAX));
        let cycle = Cycle { id, list, ..cycle.clone() };
        let begin = if what == What::Start { Record::CycleStart } else { Record::CycleDef };
        self.record(&begin(cycle))?;
        self.cycles.insert(key, id);
        Ok(id)
    }

    /// A result, with its list and cycle before it where they are new.
    fn result(&mut self, record: &mut Record, of: &Membership) -> PyResult<()> {
        let numbered = of.list.as_deref().map(|list| self.list(list)).transpose()?;
        let cycled = of.pass.as_ref().map(|pass| self.cycle(pass, What::Definition)).transpose()?;
        if let Some((list, cycle)) = record.membership() {
            (*list, *cycle) = (numbered, cycled);
        }
        self.record(record)
    }

    fn write(&mut self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.kind == Written::Text {
            if object.hasattr("to_text")? {
                let text: Option<String> = object.call_method0("to_text")?.extract()?;
                return text.map_or(Ok(()), |text| self.line(&text));
            }
            if object.cast::<ScamperList>().is_ok() || object.cast::<ScamperCycle>().is_ok() {
                return Ok(());
            }
            return Err(PyRuntimeError::new_err(format!("{} has no text", object.get_type().name()?)));
        }
        if let Ok(list) = object.cast::<ScamperList>() {
            return if self.kind == Written::Json { Ok(()) } else { self.list(&list.get().0).map(|_| ()) };
        }
        if let Ok(cycle) = object.cast::<ScamperCycle>() {
            return self.end_or_begin(cycle.get());
        }
        macro_rules! write {
            ($($kind:ident: $class:ident),*) => {
                $(if let Ok(result) = object.cast::<$class>() {
                    let item = &result.get().item;
                    return match self.kind {
                        Written::Json => item.json().map_or(Ok(()), |line| self.line(&line)),
                        _ => self.result(&mut item.record(), &item.of),
                    };
                })*
            };
        }
        results!(write);
        Err(PyTypeError::new_err(format!("{} is no record", object.get_type().name()?)))
    }

    fn end_or_begin(&mut self, cycle: &ScamperCycle) -> PyResult<()> {
        let pass = &cycle.pass;
        let stop = pass.stop().filter(|_| cycle.what == What::Stop);
        if self.kind == Written::Json {
            let record = match (cycle.what, stop) {
                (_, Some(stop)) => {
                    Record::CycleStop(CycleStop { id: pass.cycle.id, stop, ..CycleStop::default() })
                }
                (What::Start, None) => Record::CycleStart(pass.cycle.clone()),
                _ => return Ok(()),
            };
            let of = Membership { list: pass.list.clone(), pass: Some(Arc::clone(pass)) };
            return json::value(&record, &of.tables()).map_or(Ok(()), |value| self.line(&value.to_string()));
        }
        let id = self.cycle(pass, cycle.what)?;
        stop.map_or(Ok(()), |stop| {
            self.record(&Record::CycleStop(CycleStop { id, stop, ..CycleStop::default() }))
        })
    }
}

fn failed(what: &str, error: &dyn std::error::Error) -> PyErr {
    let mut message = format!("{what} failed: {error}");
    let mut cause = error.source();
    while let Some(source) = cause {
        message.extend([": ", &source.to_string()]);
        cause = source.source();
    }
    PyRuntimeError::new_err(message)
}

type Input = Reader<Unpack<Box<dyn Read + Send + Sync>>>;

enum State {
    Reading(Box<Input>),
    Writing(Box<Output>),
    Closed,
}

/// A file: `mode` is "r" or "w", `kind` what is written, where its name does not say so (warts, warts.gz, warts.bz2,
/// warts.xz, json, text). What is read is known by how it begins.
#[pyclass(module = "scamper", subclass)]
pub(crate) struct ScamperFile {
    state: State,
    name: String,
    kind: String,
    reads: bool,
    /// The types of records that are given, when not all.
    wanted: Option<Vec<u16>>,
    known: Known,
}

fn by_name(name: &str) -> &'static str {
    let suffix = name.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    match suffix {
        "gz" => "warts.gz",
        "bz2" => "warts.bz2",
        "xz" => "warts.xz",
        "json" => "json",
        "txt" => "text",
        _ => "warts",
    }
}

#[pymethods]
impl ScamperFile {
    #[new]
    #[pyo3(signature = (filename, mode = "r", kind = None, filter_types = None))]
    fn new(
        filename: &Bound<'_, PyAny>,
        mode: &str,
        kind: Option<&str>,
        filter_types: Option<Vec<Bound<'_, PyType>>>,
    ) -> PyResult<Self> {
        let name: std::path::PathBuf = filename.extract()?;
        let name = name.to_string_lossy().into_owned();
        let mut file = match mode {
            "r" if kind.is_some() => {
                return Err(PyValueError::new_err("a file that is read says its kind itself"));
            }
            "r" => Self::open(name)?,
            "w" => Self::create(name, kind)?,
            _ => return Err(PyValueError::new_err(format!("no mode: {mode:?}"))),
        };
        if let Some(types) = filter_types {
            file.wanted = Some(Self::filter(&types)?);
        }
        Ok(file)
    }

    fn __enter__(this: Py<Self>) -> Py<Self> {
        this
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&mut self, _exception: &Bound<'_, PyTuple>) -> PyResult<bool> {
        self.close()?;
        Ok(false)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        match &this.state {
            State::Reading(_) => Ok(this),
            State::Writing(_) => Err(PyValueError::new_err("the file is not read")),
            State::Closed => Err(closed()),
        }
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.read(py)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    /// What kind of file it is: warts, json or text.
    #[getter]
    fn filetype(&self) -> PyResult<&str> {
        if matches!(self.state, State::Closed) {
            return Err(closed());
        }
        Ok(&self.kind)
    }

    #[getter]
    fn filename(&self) -> PyResult<Option<&str>> {
        if matches!(self.state, State::Closed) {
            return Err(closed());
        }
        Ok(Some(&self.name))
    }

    /// From here on, records of these classes alone.
    #[pyo3(signature = (*filter_types))]
    fn filter_types(&mut self, filter_types: Vec<Bound<'_, PyType>>) -> PyResult<()> {
        if !self.reads {
            return Err(PyValueError::new_err("what is written is not filtered"));
        }
        self.wanted = Some(Self::filter(&filter_types)?);
        Ok(())
    }

    /// Ends it: what is written is complete then.
    fn close(&mut self) -> PyResult<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Writing(output) => {
                output.destination.finish().map(|_| ()).map_err(|error| failed("writing", &error))
            }
            State::Reading(_) | State::Closed => Ok(()),
        }
    }

    /// The next record; `None` at the end. What can't be read is said in a `RuntimeWarning`, and passed over.
    pub(crate) fn read(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let reader = match &mut self.state {
            State::Reading(reader) => reader,
            State::Writing(_) => return Err(PyRuntimeError::new_err("the file is not read")),
            State::Closed => return Err(closed()),
        };
        loop {
            let record = match reader.read() {
                Ok(None) => return Ok(None),
                Ok(Some(record)) => record,
                Err(error) => {
                    let message = failed(&format!("reading {}", self.name), &error).value(py).to_string();
                    let message = std::ffi::CString::new(message.replace('\0', ""))?;
                    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)?;
                    continue;
                }
            };
            let number = record.kind().number();
            let object = self.known.object(py, record, None)?;
            if self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&number)) && object.is_some() {
                return Ok(object);
            }
        }
    }

    /// Writes a record, with its list and its cycle before it where the file lacks them.
    pub(crate) fn write(&mut self, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        match &mut self.state {
            State::Writing(output) => output.write(obj),
            State::Reading(_) => Err(PyRuntimeError::new_err("the file is not written")),
            State::Closed => Err(closed()),
        }
    }

    fn is_read(&self) -> bool {
        self.reads
    }

    fn is_write(&self) -> bool {
        !self.reads
    }
}

impl ScamperFile {
    fn open(name: String) -> PyResult<Self> {
        let source: Box<dyn Read + Send + Sync> = if name == "-" {
            Box::new(io::stdin())
        } else {
            Box::new(File::open(&name).map_err(|error| failed(&format!("opening {name}"), &error))?)
        };
        let source = Unpack::new(source).map_err(|error| failed(&format!("opening {name}"), &error))?;
        let state = State::Reading(Box::new(Reader::new(source)));
        let kind = "warts".to_owned();
        Ok(Self { state, name, kind, reads: true, wanted: None, known: Known::default() })
    }

    fn create(name: String, kind: Option<&str>) -> PyResult<Self> {
        let kind = kind.unwrap_or_else(|| by_name(&name));
        let (written, compression) = match kind {
            "warts" => (Written::Warts, Compression::Plain),
            "warts.gz" => (Written::Warts, Compression::Gzip),
            "warts.bz2" => (Written::Warts, Compression::Bzip2),
            "warts.xz" => (Written::Warts, Compression::Xz),
            "json" => (Written::Json, Compression::Plain),
            "text" => (Written::Text, Compression::Plain),
            _ => return Err(PyRuntimeError::new_err(format!("no kind of file: {kind:?}"))),
        };
        let destination: Box<dyn Write + Send + Sync> = if name == "-" {
            Box::new(io::stdout())
        } else {
            Box::new(File::create(&name).map_err(|error| failed(&format!("opening {name}"), &error))?)
        };
        let destination = Pack::new(destination, compression).map_err(|error| failed("writing", &error))?;
        let output = Output { destination, kind: written, lists: HashMap::new(), cycles: HashMap::new() };
        let (state, kind) = (State::Writing(Box::new(output)), kind.to_owned());
        Ok(Self { state, name, kind, reads: false, wanted: None, known: Known::default() })
    }

    fn filter(types: &[Bound<'_, PyType>]) -> PyResult<Vec<u16>> {
        if types.is_empty() {
            return Err(PyValueError::new_err("no class to filter by"));
        }
        types.iter().map(numbers).collect::<PyResult<Vec<_>>>().map(|numbers| numbers.concat())
    }
}

fn closed() -> PyErr {
    PyValueError::new_err("the file is closed")
}

/// A file that nobody closed is complete all the same.
impl Drop for ScamperFile {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = self.close();
    }
}
