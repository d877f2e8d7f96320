//! Namespaces: a user namespace in which an ordinary user may have networks of his own, and the networks.
#![expect(unsafe_code, reason = "namespaces of the calling thread have no safe interface")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{getgid, getuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, LinkNameSpaceType, UnshareFlags, capabilities,
    configure_capability_in_ambient_set, move_into_link_name_space, set_capabilities,
};

/// Whether this thread may make networks without a user namespace.
pub(crate) fn is_privileged() -> bool {
    let needed = CapabilitySet::SYS_ADMIN | CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
    capabilities(None).is_ok_and(|sets| sets.effective.contains(needed))
}

/// Moves this process into a new user namespace. It must have one thread.
pub(crate) fn unshare_user() -> io::Result<()> {
    // SAFETY: a user namespace takes nothing from the memory or descriptors that threads share.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }?)
}

/// The user and the group of this process. Ask before [`unshare_user`]: the namespace shows others until it has a map.
pub(crate) fn ids() -> (u32, u32) {
    (getuid().as_raw(), getgid().as_raw())
}

/// Keeps these ids in the user namespace that this process has just entered (`user_namespaces(7)`).
pub(crate) fn map_ids((user, group): (u32, u32)) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Moves the calling thread into a new network namespace, and answers that.
pub(crate) fn unshare_network() -> io::Result<OwnedFd> {
    // SAFETY: a network namespace takes nothing from the memory or descriptors that threads share.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
    network()
}

/// The network namespace of the calling thread.
pub(crate) fn network() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// The user namespace of this process.
pub(crate) fn user() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/user")?.into())
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter_network(network: impl AsFd) -> io::Result<()> {
    Ok(move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Moves this process into a user namespace, where it has all capabilities if it is of the user who made that. It must
/// have one thread.
pub(crate) fn enter_user(user: impl AsFd) -> io::Result<()> {
    Ok(move_into_link_name_space(user.as_fd(), Some(LinkNameSpaceType::User))?)
}

/// Moves this process into a mount namespace of its own: what it mounts from now on is seen nowhere else.
pub(crate) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: a mount namespace takes nothing from the memory or descriptors that threads share.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Has this process, and programs that it starts, resolve names as a file says, in its mount namespace.
pub(crate) fn resolve_by(names: &Path) -> io::Result<()> {
    Ok(mount_bind(names, "/etc/resolv.conf")?)
}

/// Shows the processes of its own namespace to this process, and to programs that it starts, in its mount namespace.
pub(crate) fn show_processes() -> io::Result<()> {
    Ok(mount("proc", "/proc", "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, None)?)
}

/// Lets programs that this thread starts use networks like root, though they are not root.
pub(crate) fn keep_network_capabilities() -> io::Result<()> {
    let wanted = [
        CapabilitySet::NET_ADMIN,
        CapabilitySet::NET_BIND_SERVICE,
        CapabilitySet::NET_BROADCAST,
        CapabilitySet::NET_RAW,
    ];
    let sets = capabilities(None)?;
    let all = wanted.iter().copied().collect::<CapabilitySet>() & sets.permitted;
    set_capabilities(None, CapabilitySets { inheritable: sets.inheritable | all, ..sets })?;
    for capability in wanted {
        if all.contains(capability) {
            configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}
