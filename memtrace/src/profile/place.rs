//! Which service, container or pod a control group belongs to, by its path.

use std::fmt;

/// Where a process runs, as far as a path tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The innermost systemd unit: `worker.service`.
    pub unit: Option<String>,
    /// Id or name of the innermost container.
    pub container: Option<String>,
    /// Unique id of the Kubernetes pod.
    pub pod: Option<String>,
}

/// Hexadecimal digits of a container's id.
const ID_LENGTH: usize = 64;
/// How many of them are shown, as by the tools that list containers.
const SHOWN: usize = 12;

impl Place {
    /// What the path of a control group tells.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let mut place = Self::default();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if let Some(container) = container(part) {
                // The scope of a container is no unit that anybody knows.
                place.container = Some(container.to_owned());
            } else if is_unit(part) {
                place.unit = Some(part.to_owned());
            }
            place.pod = pod(part).or(place.pod);
        }
        if place.container.is_none() {
            place.container = named_container(path);
        }
        place
    }

    /// Whether an id that a user typed, perhaps shortened, or a name is the container's.
    #[must_use]
    pub fn is_container(&self, wanted: &str) -> bool {
        self.container.as_deref().is_some_and(|container| {
            container == wanted
                || is_id(container) && is_short_id(wanted) && container.starts_with(wanted)
        })
    }
}

impl fmt::Display for Place {
    /// What tells most to a reader; nothing if nothing is known.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |id: &str| if is_id(id) { id[..SHOWN].to_owned() } else { id.to_owned() };
        match (&self.container, &self.pod, &self.unit) {
            (Some(container), Some(pod), _) => {
                write!(out, "pod {pod}, container {}", short(container))
            }
            (Some(container), None, _) => write!(out, "container {}", short(container)),
            (None, Some(pod), _) => write!(out, "pod {pod}"),
            (None, None, Some(unit)) => write!(out, "{unit}"),
            (None, None, None) => Ok(()),
        }
    }
}

/// The id in a part of a path: bare, or as `docker-ID.scope` and the like.
fn container(part: &str) -> Option<&str> {
    let scope = part.strip_suffix(".scope").unwrap_or(part);
    let id = scope.rsplit(['-', ':']).next()?;
    is_id(id).then_some(id)
}

/// A container with a name instead of an id: of LXC, or of systemd-nspawn and machinectl.
fn named_container(path: &str) -> Option<String> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let first = parts.next()?;
    if first == "lxc" {
        return parts.next().map(Into::into);
    }
    if let Some(name) = first.strip_prefix("lxc.payload.") {
        return Some(name.into());
    }
    let machine = parts.next().filter(|_| first == "machine.slice")?;
    let name = machine.strip_prefix("machine-")?.strip_suffix(".scope");
    let service = || machine.strip_prefix("systemd-nspawn@")?.strip_suffix(".service");
    name.or_else(service).map(unescape)
}

/// systemd writes characters that are none of plain names, such as `-`, as `\x2d`.
fn unescape(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(u8::is_ascii_graphic) {
            Some(code) => plain.extend([char::from(code)].into_iter().chain(part[2..].chars())),
            None => plain.extend(["\\x", part]),
        }
    }
    plain
}

/// `kubepods-burstable-podUID.slice`, its dashes written as underscores, or `podUID`.
fn pod(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let id = name.strip_prefix("pod").or_else(|| name.rsplit_once("-pod").map(|(_, id)| id))?;
    let id = id.replace('_', "-");
    let is_id = id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_id.then_some(id)
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_short_id(text: &str) -> bool {
    text.len() >= SHOWN && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope", ".socket", ".mount"].iter().any(|kind| part.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn shown(path: &str) -> String {
        Place::of(&path.replace("ID", ID)).to_string()
    }

    #[test]
    fn units_are_the_innermost() {
        assert_eq!(shown("/system.slice/nginx.service"), "nginx.service");
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/app-job.scope";
        assert_eq!(shown(user), "app-job.scope");
        assert_eq!(shown("/system.slice/system-web.slice/web@2.service"), "web@2.service");
        assert_eq!(shown("/"), "");
        assert_eq!(shown("/user.slice"), "");
    }

    #[test]
    fn containers_of_every_engine_are_known() {
        for path in [
            "/docker/ID",
            "/system.slice/docker-ID.scope",
            "/machine.slice/libpod-ID.scope",
            "/machine.slice/libpod-ID.scope/container",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
            "/system.slice/containerd.service/system.slice:cri-containerd:ID",
            "/ecs/task/ID",
        ] {
            assert_eq!(shown(path), "container 0123456789ab", "{path}");
        }
        assert_eq!(shown("/lxc/web/init.scope"), "container web");
        assert_eq!(shown("/lxc.payload.web/system.slice"), "container web");
        assert_eq!(shown("/machine.slice/machine-deb\\x2d12.scope"), "container deb-12");
        assert_eq!(
            shown("/machine.slice/machine-a\\x1bb\\x+1\\x.scope"),
            "container a\\x1bb\\x+1\\x"
        );
    }

    #[test]
    fn pods_are_known_in_both_spellings() {
        let pod = "8a5c1e6e-21c4-4d0f-9b4e-2f1c0f4f6a11";
        let expected = format!("pod {pod}, container 0123456789ab");
        for path in [
            format!("/kubepods/burstable/pod{pod}/ID"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/\
                 cri-containerd-ID.scope",
                pod.replace('-', "_")
            ),
            format!(
                "/kubepods.slice/kubepods-pod{}.slice/crio-ID.scope/container",
                pod.replace('-', "_")
            ),
        ] {
            assert_eq!(shown(&path), expected, "{path}");
        }
        assert_eq!(shown("/podman/podcast"), "");
    }

    #[test]
    fn a_container_is_found_by_its_short_id() {
        let place = Place::of(&format!("/docker/{ID}"));
        assert!(place.is_container(ID) && place.is_container(&ID[..12]));
        assert!(!place.is_container("0123") && !place.is_container(&ID[1..13]));
        assert!(Place::of("/lxc/web").is_container("web"));
        assert!(!Place::of("/lxc/web").is_container("we"));
    }
}
