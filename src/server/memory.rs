//! Memory: how much this process may use, so that clients cannot use more.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// The memory that connections may use, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory(u64);

impl Memory {
    /// What this process may use, less what it needs whether there are connections or not: so many
    /// bytes for a cache, and a little.
    pub(super) fn beside_cache(cache: usize) -> Self {
        let system = rustix::system::sysinfo();
        let machine = (system.totalram as u64).saturating_mul(system.mem_unit.into());
        Self::within(limit(Path::new("/"), machine), cache as u64)
    }

    /// At least half: whoever has so little has set the cache too large.
    fn within(limit: u64, cache: u64) -> Self {
        let left = limit.saturating_sub(cache.saturating_add(OWN_BYTES));
        Self(left.max(limit / 2))
    }

    /// How many connections from clients have room.
    pub(super) fn clients(self) -> usize {
        usize::try_from(self.0 / CLIENT_BYTES)
            .unwrap_or(usize::MAX)
            .max(1)
    }

    /// How many connections to upstreams have room beside them.
    pub(super) fn upstreams(self) -> usize {
        usize::try_from(self.0 / UPSTREAM_BYTES).unwrap_or(usize::MAX)
    }

    /// What each of so many clients may make us hold each way at most, in bytes, of the streams of
    /// one connection (HTTP/2).
    pub(super) fn each_way(self, clients: usize) -> usize {
        let share = self.0 / clients.max(1) as u64 / SHARES;
        usize::try_from(share).map_or(MOST_EACH_WAY, |share| {
            share.clamp(LEAST_EACH_WAY, MOST_EACH_WAY)
        })
    }

    /// What bodies may take beyond that, in bytes, to pass faster.
    pub(super) fn surplus(self) -> usize {
        usize::try_from(self.0 / SHARE_OF_SURPLUS).unwrap_or(usize::MAX)
    }
}

/// The least of what the machine has and what the process's control groups allow, in bytes.
/// `root` is the root of the file system.
fn limit(root: &Path, machine: u64) -> u64 {
    let groups = read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let allowed = groups.lines().filter_map(|line| allowed(root, line)).min();
    allowed.map_or(machine, |allowed| allowed.min(machine))
}

/// What one control group and those above it allow, in bytes; `line` is one of
/// `/proc/self/cgroup` (cgroups(7)). A container may see its own group as the topmost one, under a
/// path that does not exist there, so that each part of the path is tried.
fn allowed(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (top, file) = if number == "0" && controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return None;
    };
    let top = root.join(top);
    let group: PathBuf = top.join(path.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|path| path.starts_with(&top));
    groups
        .filter_map(|group| read_to_string(group.join(file)).ok()?.trim().parse().ok())
        .min()
}

/// What the program itself takes, with a configuration of a usual size: measured are 15 MiB.
const OWN_BYTES: u64 = 32 * 1024 * 1024;

/// What a client's connection takes at most if neither side takes anything of what the other one
/// sends. Measured are 200 KiB of HTTP/1 with its upstream; of HTTP/2, 350 KiB with a hundred answers,
/// without their upstreams, and 300 KiB with uploads and two upstreams.
const CLIENT_BYTES: u64 = 704 * 1024;

/// The same of a connection to an upstream. Measured are 50 KiB; what is left is for everything
/// else.
const UPSTREAM_BYTES: u64 = CLIENT_BYTES / 2;

/// An eighth of a client's memory is for what it sends, an eighth for what it is sent; where that is
/// little, more for the former.
const SHARES: u64 = 8;

/// What a client of HTTP/2 may always be sent before it has taken it. What it may send is never less
/// than a few streams' windows.
const LEAST_EACH_WAY: usize = 64 * 1024;

/// More does not make it faster.
const MOST_EACH_WAY: usize = 512 * 1024;

/// A thirty-second of the memory serves three fast downloads in 256 MiB, and four hundred in 24 GiB.
const SHARE_OF_SURPLUS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// A root with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MACHINE: u64 = 2048 * MIB;

    #[test]
    fn what_the_program_needs_itself_is_not_for_connections() {
        let memory = Memory::within(256 * MIB, 32 * MIB);
        assert_eq!((memory.clients(), memory.upstreams()), (279, 558));
        let full = memory.each_way(memory.clients());
        assert!(full < 2 * LEAST_EACH_WAY, "{full}");
        assert_eq!(memory.each_way(1), MOST_EACH_WAY);
        let too_little = Memory::within(32 * MIB, 64 * MIB);
        assert_eq!(too_little.clients(), 23);
    }

    #[test]
    fn a_machine_without_groups_has_what_it_has() {
        assert_eq!(limit(root(&[]).path(), MACHINE), MACHINE);
    }

    #[test]
    fn a_group_and_those_above_it_bound_it() {
        let own = ("proc/self/cgroup", "0::/system.slice/jotgate.service\n");
        let files = [
            own,
            (
                "sys/fs/cgroup/system.slice/jotgate.service/memory.max",
                "max\n",
            ),
            ("sys/fs/cgroup/system.slice/memory.max", "268435456\n"),
        ];
        assert_eq!(limit(root(&files).path(), MACHINE), 256 * MIB);
    }

    #[test]
    fn a_container_that_sees_its_group_as_the_top_is_bound_too() {
        let own = ("proc/self/cgroup", "0::/../elsewhere/pod\n");
        let files = [own, ("sys/fs/cgroup/memory.max", "134217728\n")];
        assert_eq!(limit(root(&files).path(), MACHINE), 128 * MIB);
    }

    #[test]
    fn groups_of_the_first_version_bound_it_and_none_does_not() {
        let own = ("proc/self/cgroup", "5:cpu,cpuacct:/a\n3:memory:/a\n0::/b\n");
        let unlimited = "9223372036854771712\n";
        let top = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let group = "sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        let files = [own, (top, unlimited), (group, "67108864\n")];
        assert_eq!(limit(root(&files).path(), MACHINE), 64 * MIB);
        let files = [own, (top, unlimited), (group, unlimited)];
        assert_eq!(limit(root(&files).path(), MACHINE), 2048 * MIB);
    }
}
