//! mmn-probe.
