//! Packages of Debian, downloaded with apt into a folder of their own: the lists, the packages and
//! the state of the machine's own apt are neither read nor changed, only its mirror's address is used.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::command;

/// Some suites of Debian.
pub struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Fetches the lists of packages into a new folder.
    ///
    /// # Errors
    ///
    /// If the machine has no apt with a Debian mirror, or a suite cannot be had there.
    pub fn open(folder: PathBuf, suites: &[&str]) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
        }
        for part in ["etc/apt.conf.d", "etc/preferences.d", "lists/partial", "archives/partial"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).with_context(|| format!("make {}", part.display()))?;
        }
        let archive = Self { folder };
        let mirror = mirror()?;
        archive.write("status", "")?;
        archive.write("etc/sources.list", &sources(&mirror, suites))?;
        archive.write("apt.conf", &configuration(&archive.folder))?;
        let fetched = command::run_quietly(archive.apt("apt-get").args(["--quiet", "update"]));
        fetched.with_context(|| {
            let suites = suites.join(" and ");
            format!("fetch the lists of Debian's {suites} from {mirror}, which this needs once")
        })?;
        Ok(archive)
    }

    /// Downloads packages and everything that they depend on.
    pub fn download_with_dependencies(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let mut apt = self.apt("apt-get");
        apt.args(["--quiet", "--yes", "--download-only", "--no-install-recommends", "install"]);
        command::run_quietly(apt.args(packages))
            .with_context(|| format!("download {}", packages.join(" ")))?;
        packages_in(&self.folder.join("archives"))
    }

    /// Downloads these packages alone.
    pub fn download(&self, packages: &[String]) -> Result<Vec<PathBuf>> {
        let mut apt = self.apt("apt-get");
        apt.args(["--quiet", "download"]).args(packages).current_dir(&self.folder);
        command::run_quietly(&mut apt)
            .with_context(|| format!("download {}", packages.join(" ")))?;
        packages_in(&self.folder)
    }

    /// Names of packages that a package depends on directly.
    pub fn dependencies(&self, package: &str) -> Result<Vec<String>> {
        let answer = command::answer(self.apt("apt-cache").args(["depends", package]));
        let answer = answer.with_context(|| format!("Debian has no package {package}"))?;
        Ok(depends(&answer).map(str::to_owned).collect())
    }

    /// Frees the disk space.
    pub fn remove(self) -> Result<()> {
        let folder = &self.folder;
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        command
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    // The dates of a mirror's lists say little where the mirror is a copy of another day. By itself,
    // apt takes lists that it could not fetch for empty ones.
    format!(
        "Dir::Etc \"{folder}/etc\";\n\
         Dir::Etc::trustedparts \"/usr/share/keyrings\";\n\
         Dir::State \"{folder}\";\n\
         Dir::State::lists \"{folder}/lists\";\n\
         Dir::State::status \"{folder}/status\";\n\
         Dir::Cache \"{folder}\";\n\
         Dir::Cache::archives \"{folder}/archives\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Architectures \"amd64\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Acquire::Retries \"3\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::Check-Valid-Until \"false\";\n\
         Acquire::Check-Date \"false\";\n"
    )
}

fn sources(mirror: &str, suites: &[&str]) -> String {
    let lines = suites.iter().map(|suite| {
        let security = if suite.ends_with("-security") { "-security" } else { "" };
        format!("deb {mirror}{security} {suite} main\n")
    });
    lines.collect()
}

/// The address of Debian in the machine's own list of sources, without a slash at its end.
fn mirror() -> Result<String> {
    let mut apt = Command::new("apt-get");
    apt.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let answer = command::answer(&mut apt).context("this needs the apt of a Debian system")?;
    let mut addresses = answer.lines().map(|line| line.trim_end_matches('/'));
    let mirror = addresses.find(|address| address.ends_with("/debian"));
    mirror.map(str::to_owned).context(
        "apt knows no mirror of Debian\nhint: add one to /etc/apt/sources.list, then: apt-get update",
    )
}

/// The packages named in lines like `  Depends: linux-image-6.1.0-56-cloud-amd64`.
fn depends(answer: &str) -> impl Iterator<Item = &str> {
    answer.lines().filter_map(|line| line.trim_start_matches([' ', '|']).strip_prefix("Depends: "))
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<Result<Vec<_>, _>>().context("list the packages")?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "deb"));
    ensure!(!paths.is_empty(), "apt has downloaded nothing into {}", folder.display());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_updates_have_an_archive_of_their_own() {
        assert_eq!(
            sources("http://mirror/debian", &["bullseye", "bullseye-security"]),
            "deb http://mirror/debian bullseye main\n\
             deb http://mirror/debian-security bullseye-security main\n"
        );
    }

    #[test]
    fn dependencies_are_read_and_nothing_else_is() {
        let answer = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n \
                      |Depends: one\n  Depends: <virtual>\n  Suggests: other\n    provider\n";
        let found: Vec<_> = depends(answer).collect();
        assert_eq!(found, ["linux-image-6.1.0-56-cloud-amd64", "one", "<virtual>"]);
    }
}
