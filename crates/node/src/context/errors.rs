//! What the system's errors mean for a task.

use std::io;

use mmn_kit::{Failure, code};

/// The failure that an error of a socket stands for; `what` is what was being done, as in "connect to 192.0.2.1".
pub(super) fn failure(error: &io::Error, what: impl std::fmt::Display) -> Failure {
    let code = match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => code::CONNECTION_REFUSED,
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => code::CONNECTION_RESET,
        Some(libc::ENETUNREACH | libc::EADDRNOTAVAIL) => code::NO_ROUTE,
        Some(libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::ENOPROTOOPT) => code::UNREACHABLE,
        Some(libc::ETIMEDOUT) => code::TIMEOUT,
        Some(libc::EAFNOSUPPORT) => code::ADDRESS_FAMILY,
        Some(libc::EPERM | libc::EACCES) => code::UNPRIVILEGED,
        None if error.kind() == io::ErrorKind::Unsupported => code::UNSUPPORTED,
        _ => code::SYSTEM,
    };
    Failure::failed(code, format_args!("{what}: {error}"))
}
