//! A command on a terminal of its own, as a user would run it.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

/// The terminal; what runs on it is killed when this is dropped.
pub struct Terminal {
    script: Child,
    keyboard: Option<ChildStdin>,
    screen: ChildStdout,
    /// Everything that was shown so far.
    pub shown: String,
}

impl Terminal {
    /// Runs memtrace with words that a shell reads.
    pub fn memtrace(words: &str) -> Self {
        let command = format!("exec {} {words}", env!("CARGO_BIN_EXE_memtrace"));
        // Whoever runs the tests in the background has the keyboard's signals ignored.
        let mut script = Command::new("env")
            .args(["--default-signal=INT,QUIT", "script"])
            .args(["--quiet", "--flush", "--return", "--command", &command, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script starts");
        let keyboard = script.stdin.take();
        let screen = script.stdout.take().expect("was piped");
        Self { script, keyboard, screen, shown: String::new() }
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        let keyboard = self.keyboard.as_mut().expect("the terminal is open");
        keyboard.write_all(keys.as_bytes()).expect("the terminal is open");
        keyboard.flush().expect("the terminal is open");
    }

    /// Waits until something is shown that was not shown before the call.
    pub fn wait_for(&mut self, text: &str) {
        let before = self.shown.len();
        while !self.shown[before..].contains(text) {
            let mut bytes = [0; 4096];
            let size = self.screen.read(&mut bytes).expect("the terminal is open");
            assert!(size > 0, "{text:?} was never shown: {:?}", &self.shown[before..]);
            self.shown += &String::from_utf8_lossy(&bytes[..size]);
        }
    }

    /// Waits for the end.
    pub fn end(&mut self) -> ExitStatus {
        let mut rest = Vec::new();
        self.screen.read_to_end(&mut rest).expect("the terminal is open");
        self.shown += &String::from_utf8_lossy(&rest);
        self.script.wait().expect("script ends")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}
