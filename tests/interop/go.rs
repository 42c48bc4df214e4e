//! The Go peer (`tests/interop/go`), built from the libraries of M-Lab's programs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::Peers;

/// A running peer, asked one question at a time.
pub struct Go {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Go {
    pub fn start(peers: &Peers) -> Result<Go, String> {
        let mut child = Command::new(peers.program("gopeer"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the Go peer does not start: {error}"))?;
        let questions = child.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Go { child, questions, answers })
    }

    pub fn ask(&mut self, words: &[&str]) -> Result<Value, String> {
        let question = serde_json::to_string(words).map_err(|error| error.to_string())?;
        writeln!(self.questions, "{question}").map_err(|error| error.to_string())?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        serde_json::from_str(&line).map_err(|error| format!("{words:?}: {error}: {line:?}"))
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
