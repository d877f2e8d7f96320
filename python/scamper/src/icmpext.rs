//! Objects of ICMP extension structures (RFC 4884), label stacks among them (RFC 4950).

use std::borrow::Cow;

use mmn_warts::values::{Extension, Extensions, MplsLabel};
use pyo3::prelude::*;

use crate::item::{Items, iter_of};

pub(crate) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ScamperIcmpExts>()?;
    module.add_class::<ScamperIcmpExt>()?;
    module.add_class::<ScamperIcmpMplsLabelStackEntry>()
}

/// The objects of a message.
#[pyclass(module = "scamper", frozen, eq, ord, hash)]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ScamperIcmpExts(Vec<ScamperIcmpExt>);

/// An object.
#[pyclass(module = "scamper", frozen, eq, ord, hash)]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ScamperIcmpExt {
    class: u8,
    kind: u8,
    data: Vec<u8>,
}

/// The objects, when there are any.
pub(crate) fn exts(extensions: Option<&Extensions>) -> Option<ScamperIcmpExts> {
    let objects = extensions.filter(|extensions| !extensions.0.is_empty())?;
    let object = |object: &Extension| ScamperIcmpExt {
        class: object.class,
        kind: object.kind,
        data: object.data.0.clone(),
    };
    Some(ScamperIcmpExts(objects.0.iter().map(object).collect()))
}

#[pymethods]
impl ScamperIcmpExts {
    #[getter]
    fn ext_count(&self) -> usize {
        self.0.len()
    }
    fn ext(&self, i: usize) -> Option<ScamperIcmpExt> {
        self.0.get(i).cloned()
    }
    fn exts(&self) -> Items {
        iter_of(self.0.clone())
    }
    /// The first label stack.
    #[getter]
    fn mpls(&self) -> Option<ScamperIcmpExt> {
        self.0.iter().find(|object| object.is_mpls()).cloned()
    }
}

impl ScamperIcmpExt {
    fn labels(&self) -> Vec<MplsLabel> {
        if !self.is_mpls() {
            return Vec::new();
        }
        let (words, _) = self.data.as_chunks::<4>();
        words.iter().map(|word| MplsLabel::from(u32::from_be_bytes(*word))).collect()
    }

    fn label(&self, i: usize) -> Option<MplsLabel> {
        self.labels().get(i).copied()
    }
}

#[pymethods]
impl ScamperIcmpExt {
    #[getter]
    fn class_num(&self) -> u8 {
        self.class
    }
    #[getter]
    fn c_type(&self) -> u8 {
        self.kind
    }
    #[getter]
    fn data_len(&self) -> usize {
        self.data.len()
    }
    #[getter]
    fn data(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.data.as_slice()).filter(|data| !data.is_empty()).map(Cow::Borrowed)
    }
    fn is_mpls(&self) -> bool {
        (self.class, self.kind) == (1, 1)
    }
    #[getter]
    fn mpls_count(&self) -> usize {
        self.labels().len()
    }
    fn mpls_lses(&self) -> Option<Items> {
        self.is_mpls()
            .then(|| iter_of(self.labels().into_iter().map(ScamperIcmpMplsLabelStackEntry).collect()))
    }
    fn mpls_lse(&self, i: usize) -> Option<ScamperIcmpMplsLabelStackEntry> {
        self.label(i).map(ScamperIcmpMplsLabelStackEntry)
    }
    fn mpls_label(&self, i: usize) -> Option<u32> {
        self.label(i).map(|label| label.label)
    }
    fn mpls_ttl(&self, i: usize) -> Option<u8> {
        self.label(i).map(|label| label.ttl)
    }
    fn mpls_exp(&self, i: usize) -> Option<u8> {
        self.label(i).map(|label| label.class)
    }
    fn mpls_s(&self, i: usize) -> Option<u8> {
        self.label(i).map(|label| label.bottom.into())
    }
}

/// An entry of a label stack (RFC 3032, section 2.1).
#[pyclass(module = "scamper", frozen)]
#[derive(Clone, Copy)]
pub(crate) struct ScamperIcmpMplsLabelStackEntry(MplsLabel);

#[pymethods]
impl ScamperIcmpMplsLabelStackEntry {
    #[new]
    fn new(ext: PyRef<'_, ScamperIcmpExt>, i: usize) -> PyResult<Self> {
        ext.label(i)
            .map(Self)
            .ok_or_else(|| pyo3::exceptions::PyIndexError::new_err(format!("there is no entry {i}")))
    }
    #[getter]
    fn label(&self) -> u32 {
        self.0.label
    }
    #[getter]
    fn exp(&self) -> u8 {
        self.0.class
    }
    #[getter]
    fn s(&self) -> u8 {
        self.0.bottom.into()
    }
    #[getter]
    fn ttl(&self) -> u8 {
        self.0.ttl
    }
    fn __str__(&self) -> String {
        let MplsLabel { label, class, bottom, ttl } = self.0;
        format!("MPLS Label={label} Exp={class} TTL={ttl} S={}", u8::from(bottom))
    }
}
