//! How long a browser takes to show a report: Chromium without a window, by its own clock.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use memtrace::report::units::Size;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{lines::Lines, statistics::median};

/// Programs that understand Chromium's arguments and its protocol for tools.
const BROWSERS: [&str; 4] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The protocol is spoken through file descriptors 3 and 4.
const WITH_PIPES: &str = "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null";
const PATIENCE: Duration = Duration::from_mins(1);
/// Each report is opened so often.
const ROUNDS: usize = 5;
/// Milliseconds since the page was asked for, once its second frame is due: the first is drawn then.
const DRAWN: &str = "new Promise(done => requestAnimationFrame(() => \
                     requestAnimationFrame(() => done(performance.now()))))";

/// Measures and prints.
pub fn measure(folder: &Path) -> Result<()> {
    let Some(program) = BROWSERS.into_iter().find(|name| is_there(name)) else {
        println!("How fast reports open was not measured: there is no Chromium.");
        return Ok(());
    };
    println!(
        "The reports with the most stacks in Chromium, until they are drawn, median of {ROUNDS}:\n"
    );
    println!("| | size | drawn after |\n|---|---:|---:|");
    let mut browser = Browser::start(program)?;
    for name in ["stacks.html", "stacks.svg"] {
        let path = folder.join(name);
        let size = path.metadata().with_context(|| format!("look at {}", path.display()))?.len();
        let times = (0..ROUNDS).map(|_| browser.open(&path)).collect::<Result<Vec<_>>>()?;
        println!("| {name} | {} | {:.0} ms |", Size(size), median(times));
    }
    println!();
    Ok(())
}

fn is_there(program: &str) -> bool {
    let mut command = Command::new(program);
    let output = command.args(["--no-sandbox", "--version"]).stderr(Stdio::null()).output();
    output.is_ok_and(|output| output.status.success())
}

/// A browser that does what it is told.
struct Browser {
    child: Child,
    input: ChildStdin,
    messages: Lines,
    calls: u64,
    _profile: TempDir,
}

impl Browser {
    fn start(program: &str) -> Result<Self> {
        let profile = tempfile::tempdir().context("make a folder for a browser")?;
        let mut user_data = std::ffi::OsString::from("--user-data-dir=");
        user_data.push(profile.path());
        let mut child = Command::new("sh")
            .args(["-c", WITH_PIPES, "sh", program, "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-quic", "--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--remote-debugging-pipe"])
            .arg(user_data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start a browser")?;
        let input = child.stdin.take().context("talk to the browser")?;
        let messages = Lines::separated(child.stdout.take().context("listen to the browser")?, 0);
        Ok(Self { child, input, messages, calls: 0, _profile: profile })
    }

    /// Opens a file in a new tab; returns the milliseconds until it is drawn.
    fn open(&mut self, path: &Path) -> Result<f64> {
        let path: PathBuf = path.canonicalize().context("find a report")?;
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }))?;
        let target = target["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = self.call(None, "Target.attachToTarget", attach)?["sessionId"].clone();
        self.call(Some(&session), "Page.enable", json!({}))?;
        let url = format!("file://{}", path.display());
        self.call(Some(&session), "Page.navigate", json!({ "url": url }))?;
        self.wait_for("load", |message| message["method"] == "Page.loadEventFired")?;
        let drawn = json!({ "expression": DRAWN, "awaitPromise": true, "returnByValue": true });
        let answer = self.call(Some(&session), "Runtime.evaluate", drawn)?;
        self.call(None, "Target.closeTarget", json!({ "targetId": target }))?;
        answer["result"]["value"].as_f64().context("read the browser's clock")
    }

    fn call(&mut self, session: Option<&Value>, method: &str, params: Value) -> Result<Value> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.clone();
        }
        let mut bytes = serde_json::to_vec(&message).context("write a message")?;
        bytes.push(0);
        self.input.write_all(&bytes).context("talk to the browser")?;
        let answer = self.wait_for(method, |message| message["id"] == id)?;
        match answer.get("error") {
            Some(error) => bail!("the browser refuses {method}: {error}"),
            None => Ok(answer["result"].clone()),
        }
    }

    fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let parse = |message: &str| serde_json::from_str(message).ok().filter(&wanted);
        self.messages.find(PATIENCE, parse).with_context(|| format!("wait for the browser: {what}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its pipe it ends by itself as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
