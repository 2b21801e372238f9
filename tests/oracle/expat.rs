//! Python's expat, in a process of its own.

use std::io::{BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Expat {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Expat {
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/expat_oracle.py");
        let mut child = Command::new("python3")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("this test compares with Python's expat, but python3 does not start: {e}"));
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("its output is piped"));
        Expat { child, to, from }
    }

    /// For each document, what it sees in it, or why it refuses it.
    pub fn ask(&mut self, documents: &[Vec<u8>]) -> Vec<Result<String, String>> {
        let to = self.to.as_mut().expect("it is open until the end");
        // It writes while we write: both directions have to flow.
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut all = Vec::new();
                for document in documents {
                    all.extend((document.len() as u32).to_be_bytes());
                    all.extend(document);
                }
                to.write_all(&all).and_then(|()| to.flush()).expect("python3 tests/oracle/expat_oracle.py has ended");
            });
            documents.iter().map(|_| read(&mut self.from)).collect()
        })
    }
}

fn read(from: &mut impl Read) -> Result<String, String> {
    let mut head = [0; 5];
    from.read_exact(&mut head).expect("python3 tests/oracle/expat_oracle.py has ended");
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut told = vec![0; length as usize];
    from.read_exact(&mut told).expect("python3 tests/oracle/expat_oracle.py has ended");
    let told = String::from_utf8(told).expect("it writes UTF-8");
    if head[0] == 1 { Ok(told) } else { Err(told) }
}

impl Drop for Expat {
    fn drop(&mut self) {
        // It ends at the end of its input.
        self.to = None;
        let _ = self.child.wait();
    }
}
