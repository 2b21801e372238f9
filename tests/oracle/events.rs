//! What a reader saw, told in the words of `expat_oracle.py`.

/// Builds a list of events.
#[derive(Default)]
pub struct Events {
    out: String,
    text: String,
    depth: usize,
    /// Elements that are not told, around the others.
    hidden: usize,
}

impl Events {
    pub fn hiding(hidden: usize) -> Self {
        Events { hidden, ..Events::default() }
    }

    pub fn start(&mut self, space: &str, local: &str, mut attributes: Vec<String>) {
        self.flush();
        self.depth += 1;
        if self.depth > self.hidden {
            attributes.sort();
            self.out += &format!("S\0{space}\0{local}\0{}\x01", attributes.concat());
        }
    }

    pub fn attribute(space: &str, local: &str, value: &str) -> String {
        format!("{space}\0{local}\0{value}\0")
    }

    pub fn text(&mut self, text: &str) {
        self.text += text;
    }

    pub fn end(&mut self) {
        self.flush();
        if self.depth > self.hidden {
            self.out += "E\x01";
        }
        self.depth -= 1;
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let blank = text.chars().all(|c| " \t\r\n".contains(c));
        if !text.is_empty() && (self.depth > self.hidden || !blank) {
            self.out += &format!("T{text}\x01");
        }
    }

    pub fn finish(mut self) -> String {
        self.flush();
        self.out
    }
}
