//! What a program writes, piece by piece, for as long as patience lasts.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};

/// The pieces, without what separates them.
pub struct Lines(Receiver<String>);

impl Lines {
    /// The lines of an output.
    pub fn of(output: impl Read + Send + 'static) -> Self {
        Self::separated(output, b'\n')
    }

    /// The pieces between bytes of one value.
    pub fn separated(output: impl Read + Send + 'static, by: u8) -> Self {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            // An output that cannot be read has ended, as far as anybody here can tell.
            for piece in BufReader::new(output).split(by).map_while(Result::ok) {
                let piece = String::from_utf8_lossy(&piece).trim_end().to_owned();
                // Whoever does not listen any more must not stop the program by a full pipe.
                let _ = sender.send(piece);
            }
        });
        Self(receiver)
    }

    /// The next piece; an error if none comes in time, or none will come.
    pub fn next(&self, patience: Duration) -> Result<String> {
        match self.0.recv_timeout(patience) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("no answer within {} s", patience.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("ended without an answer"),
        }
    }

    /// Waits for a piece that is wanted; those before it are passed over.
    pub fn find<T>(&self, patience: Duration, wanted: impl Fn(&str) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = wanted(&self.next(patience)?) {
                return Ok(found);
            }
        }
    }

    /// All that is left, once the program has ended.
    pub fn rest(&self) -> String {
        self.0.iter().collect::<Vec<_>>().join("\n")
    }
}
