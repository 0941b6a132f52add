//! The control groups of a process, and the one whose memory limit applies.

use super::status::printable;

/// Path of the memory cgroup in the lines of `/proc/PID/cgroup`, or `None` without cgroups.
///
/// Lines are `HIERARCHY:CONTROLLERS:PATH`. Version 1 has a line with the `memory` controller; where
/// there is none the line of version 2, `0::PATH`, counts. The path is relative to the mount point.
pub(super) fn memory_cgroup(lines: &[u8]) -> Option<String> {
    let lines = || lines.split(|&byte| byte == b'\n').filter_map(parse_line);
    let version_1 = lines().find(|(controllers, _)| names_memory(controllers));
    let line = version_1.or_else(|| lines().find(|(controllers, _)| controllers.is_empty()));
    line.map(|(_, path)| printable(path))
}

/// The paths of all control groups, each once.
pub(super) fn paths(lines: &[u8]) -> Vec<String> {
    let mut paths = Vec::new();
    for (_, path) in lines.split(|&byte| byte == b'\n').filter_map(parse_line) {
        let path = printable(path);
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths
}

/// Controllers and path.
fn parse_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
    Some((fields.next()?, fields.next()?))
}

fn names_memory(controllers: &[u8]) -> bool {
    controllers.split(|&byte| byte == b',').any(|name| name == b"memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_has_a_line_for_memory() {
        let lines = b"12:cpu,cpuacct:/a\n7:hugetlb,memory:/docker/1:2\n1:name=systemd:/b\n0::/c\n";
        assert_eq!(memory_cgroup(lines).unwrap(), "/docker/1:2");
    }

    #[test]
    fn version_2_has_one_line() {
        let lines = b"1:name=systemd:/b\n0::/system.slice/worker.service\n";
        assert_eq!(memory_cgroup(lines).unwrap(), "/system.slice/worker.service");
    }

    #[test]
    fn odd_lines_are_skipped() {
        assert_eq!(memory_cgroup(b"\n:\nmemory\n0::/\n").unwrap(), "/");
        assert_eq!(memory_cgroup(b""), None);
    }
}
