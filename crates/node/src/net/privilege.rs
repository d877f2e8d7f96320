//! The one privilege that the node keeps, and how it gives up the others.

use std::io;

use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities, capabilities_secure_bits,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_no_new_privs,
};

/// What a process has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `CAP_NET_RAW`, with which raw sockets are opened. It is there when it was there before.
    pub net_raw: bool,
}

/// Why privileges could not be given up.
#[derive(Debug, thiserror::Error)]
#[error("cannot {step}")]
pub struct PrivilegeError {
    step: &'static str,
    #[source]
    source: io::Error,
}

/// Gives up every capability but `CAP_NET_RAW`, for good, and sees to it that no child has any: neither by
/// being root, nor by inheritance, nor by a file that grants some.
///
/// Capabilities belong to threads, and new threads have those of their maker: call it before any thread is
/// started. Sockets that are opened afterwards get no more room for replies than `net.core.rmem_max` allows. An
/// ordinary user's process has nothing to give up; for it only the promise about children is made.
pub fn limit_capabilities() -> Result<Kept, PrivilegeError> {
    let before = capabilities(None).map_err(refused("read the capabilities"))?;
    let kept = before.permitted & CapabilitySet::NET_RAW;
    if before.permitted.contains(CapabilitySet::SETPCAP) {
        let raised = CapabilitySets { effective: before.effective | CapabilitySet::SETPCAP, ..before };
        set_capabilities(None, raised).map_err(refused("use CAP_SETPCAP"))?;
        // A root process would regain every capability of the bounding set at each exec.
        let bits = capabilities_secure_bits().map_err(refused("read the secure bits"))?;
        let no_root = CapabilitiesSecureBits::NO_ROOT | CapabilitiesSecureBits::NO_ROOT_LOCKED;
        set_capabilities_secure_bits(bits | no_root).map_err(refused("set the secure bits"))?;
        for capability in CapabilitySet::all().difference(CapabilitySet::NET_RAW).iter() {
            match remove_capability_from_bounding_set(capability) {
                // A kernel does not know the capabilities of later ones.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(errno) => return Err(refused("shrink the bounding set")(errno)),
            }
        }
    }
    clear_ambient_capability_set().map_err(refused("clear the ambient set"))?;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(refused("give up capabilities"))?;
    set_no_new_privs(true).map_err(refused("forbid new privileges"))?;
    Ok(Kept { net_raw: kept.contains(CapabilitySet::NET_RAW) })
}

fn refused(step: &'static str) -> impl FnOnce(rustix::io::Errno) -> PrivilegeError {
    move |errno| PrivilegeError { step, source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use mmn_probe::wire::icmp::Family;

    use super::*;
    use crate::net::icmp::{EchoSocket, IdRange, Mode};
    use crate::net::testing::{as_nobody, require_root};

    fn status(text: &str, field: &str) -> u64 {
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    }

    #[test]
    fn root_keeps_one_and_its_children_none() {
        require_root("root_keeps_one_and_its_children_none");
        let (kept, own, child) = std::thread::spawn(|| {
            let kept = limit_capabilities().unwrap();
            EchoSocket::open(Family::V4, Mode::Raw, IdRange::new(1, 1).unwrap()).unwrap();
            let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let child = Command::new("cat").arg("/proc/self/status").output().unwrap();
            (kept, own, String::from_utf8(child.stdout).unwrap())
        })
        .join()
        .unwrap();
        assert!(kept.net_raw);
        for field in ["CapPrm:", "CapEff:", "CapBnd:"] {
            assert_eq!(status(&own, field), 1 << 13, "{field}");
        }
        for field in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(status(&child, field), 0, "{field}");
        }
    }

    #[test]
    fn an_ordinary_user_has_nothing_to_keep() {
        require_root("an_ordinary_user_has_nothing_to_keep");
        assert_eq!(as_nobody(limit_capabilities).unwrap(), Kept { net_raw: false });
    }
}
