//! The networks that are measured: namespaces joined by veth pairs.
//!
//! This program runs in the near namespace. A far one is held by a process that sleeps in it, and is gone with it.
//!
//! - [`target`]: one link to a host that answers for [`TARGETS`], or [`answering`] for other addresses.
//! - [`path`]: two routers and a host that answers for [`BEYOND`], three hops away.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use crate::clock;
use crate::started::Started;

/// The argument of who runs inside the near namespace.
pub(crate) const INSIDE: &str = "--inside";

/// What the far end of [`target`] answers for: 1,048,576 addresses.
pub(super) const TARGETS: &str = "10.16.0.0/12";
/// What the far end of [`path`] answers for.
pub(super) const BEYOND: &str = "10.32.0.0/12";

/// A namespace, held by a process.
#[derive(Debug)]
pub(crate) struct Namespace(Started);

/// What the near namespace needs before anything else.
pub(crate) fn settle() -> anyhow::Result<()> {
    ip(&["link", "set", "lo", "up"])
}

/// A host on one link.
pub(super) fn target(mmn: &Path) -> anyhow::Result<Namespace> {
    answering(mmn, TARGETS)
}

/// A host on one link, which answers for these addresses.
pub(crate) fn answering(mmn: &Path, net: &str) -> anyhow::Result<Namespace> {
    let host = Namespace::new(mmn)?;
    ip(&["link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", &host.pid()])?;
    join("near0", "10.200.0.1/24", &host, "far0", "10.200.0.2/24")?;
    ip(&["route", "add", net, "via", "10.200.0.2"])?;
    host.ip(&["route", "add", "local", net, "dev", "lo"])?;
    Ok(host)
}

/// The same, with the host's work on the last processor, as if it were another machine: who sends to it does not pay for
/// its answers.
pub(super) fn apart(mmn: &Path) -> anyhow::Result<Namespace> {
    let host = target(mmn)?;
    let processors = std::thread::available_parallelism()?.get();
    let mask = format!("{:x}", 1_u64 << (processors - 1).min(63));
    // Packets that come in are handled where this mask says (the kernel's Documentation/networking/scaling.rst, RPS). What
    // /sys shows of a namespace is mounted by a process in it.
    let script =
        format!("mount -t sysfs sysfs /sys && echo {mask} > /sys/class/net/far0/queues/rx-0/rps_cpus");
    let mut command = host.command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    succeed(command, &["rps_cpus"])?;
    Ok(host)
}

/// Two routers and a host behind them. All three go when they are let go.
pub(super) fn path(mmn: &Path) -> anyhow::Result<[Namespace; 3]> {
    let [one, two, host] = [Namespace::new(mmn)?, Namespace::new(mmn)?, Namespace::new(mmn)?];
    ip(&["link", "add", "path0", "type", "veth", "peer", "name", "near", "netns", &one.pid()])?;
    join("path0", "10.201.0.1/24", &one, "near", "10.201.0.2/24")?;
    for (from, to, net) in [(&one, &two, 202), (&two, &host, 203)] {
        from.ip(&["link", "add", "far", "type", "veth", "peer", "name", "near", "netns", &to.pid()])?;
        from.ip(&["addr", "add", &format!("10.{net}.0.1/24"), "dev", "far"])?;
        from.ip(&["link", "set", "far", "up"])?;
        to.ip(&["addr", "add", &format!("10.{net}.0.2/24"), "dev", "near"])?;
        to.ip(&["link", "set", "near", "up"])?;
        from.ip(&["route", "add", BEYOND, "via", &format!("10.{net}.0.2")])?;
        to.ip(&["route", "add", "10.201.0.0/24", "via", &format!("10.{net}.0.1")])?;
    }
    ip(&["route", "add", BEYOND, "via", "10.201.0.2"])?;
    host.ip(&["route", "add", "local", BEYOND, "dev", "lo"])?;
    for router in [&one, &two] {
        router.set("net.ipv4.ip_forward", "1")?;
    }
    Ok([one, two, host])
}

impl Namespace {
    fn new(mmn: &Path) -> anyhow::Result<Self> {
        let mut command = Started::command(mmn, OsStr::new("unshare"));
        command.args(["--net", "sleep", "infinity"]);
        let held = Self(Started::spawn(command)?);
        held.wait()?;
        held.ip(&["link", "set", "lo", "up"])?;
        // The kernel's own limits on what it answers are not what is measured.
        held.set("net.ipv4.icmp_ratelimit", "0")?;
        held.set("net.ipv4.icmp_msgs_per_sec", "1000000")?;
        held.set("net.ipv4.icmp_msgs_burst", "1000000")?;
        held.set("net.ipv4.conf.all.rp_filter", "0")?;
        Ok(held)
    }

    /// Until its process is in a namespace that is not ours.
    fn wait(&self) -> anyhow::Result<()> {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net"));
        let begin = clock::now();
        while of(&self.pid()).ok() == of("self").ok() {
            anyhow::ensure!(!self.0.has_ended(), "unshare --net has ended");
            anyhow::ensure!(clock::now() - begin < Duration::from_secs(5), "no namespace within 5 s");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> String {
        self.0.pid().to_string()
    }

    /// A command that runs in it.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid(), "--net", program]);
        command
    }

    pub(super) fn ip(&self, words: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command("ip");
        command.args(words);
        succeed(command, words)
    }

    /// Echo replies that its kernel had to give up because its own send buffer was full (`OutErrors` of `Icmp`): they were
    /// never sent.
    pub(super) fn unwritten_replies(&self) -> anyhow::Result<u64> {
        let output = self.command("cat").arg("/proc/net/snmp").output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines().filter(|line| line.starts_with("Icmp:"));
        let (names, values) = lines.next().zip(lines.next()).context("no counters of ICMP")?;
        let mut both = names.split_whitespace().zip(values.split_whitespace());
        let (_, value) =
            both.find(|(name, _)| *name == "OutErrors").context("no counter of what was not sent")?;
        Ok(value.parse()?)
    }

    pub(super) fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let mut command = self.command("sysctl");
        let word = format!("{name}={value}");
        command.args(["-q", "-w", &word]);
        succeed(command, &[&word])
    }
}

fn join(near: &str, address: &str, far: &Namespace, there: &str, theirs: &str) -> anyhow::Result<()> {
    ip(&["addr", "add", address, "dev", near])?;
    ip(&["link", "set", near, "up"])?;
    far.ip(&["addr", "add", theirs, "dev", there])?;
    far.ip(&["link", "set", there, "up"])
}

pub(super) fn ip(words: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("ip");
    command.args(words);
    succeed(command, words)
}

fn succeed(mut command: Command, words: &[&str]) -> anyhow::Result<()> {
    let what = format!("{} {}", command.get_program().display(), words.join(" "));
    let output = command.output().with_context(|| what.clone())?;
    anyhow::ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
