//! Asking for a password. What it goes through is wiped.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use secrecy::SecretString;
use zeroize::Zeroizing;

/// As long as PLAIN may have it (RFC 4616 asks for 255 at least).
const MOST: usize = 1024;

/// From the terminal without echo, or with `stdin` the first line of standard input.
pub fn read(stdin: bool, prompt: &str) -> io::Result<SecretString> {
    let wrong = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
    let password = if stdin {
        // Not by `io::stdin()`, whose buffer nobody wipes.
        line(File::from(io::stdin().as_fd().try_clone_to_owned()?))?
    } else {
        Zeroizing::new(rpassword::prompt_password(prompt)?.into_bytes())
    };
    let password = std::str::from_utf8(&password).map_err(|_| wrong("the password is not UTF-8"))?;
    match password.len() {
        0 => Err(wrong("the password is empty")),
        1..=MOST => Ok(SecretString::from(password)),
        _ => Err(wrong("the password is longer than 1024 bytes")),
    }
}

/// The first line, or so much of it that it is too long; without its end.
fn line(mut input: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut line = Zeroizing::new(vec![0; MOST + 3]);
    let mut length = 0;
    while length < line.len() && !line[..length].contains(&b'\n') {
        match input.read(&mut line[length..])? {
            0 => break,
            read => length += read,
        }
    }
    let end = line[..length].iter().position(|b| *b == b'\n').unwrap_or(length);
    line.truncate(end);
    while line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_read() {
        let read = |text: &[u8]| line(text).unwrap().to_vec();
        assert_eq!(read(b"secret\nmore\n"), b"secret");
        assert_eq!(read(b"secret\r\n"), b"secret");
        assert_eq!(read(b"secret"), b"secret");
        assert_eq!(read(b"\n"), b"");
        assert!(read(&[b'x'; 5000]).len() > MOST);
        // Byte by byte, as a slow pipe has it.
        assert_eq!(*line(b"se".chain(&b"cret\nx"[..])).unwrap(), b"secret");
    }
}
