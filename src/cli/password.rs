//! Asking for a password.

use std::io::{self, BufRead};

use secrecy::SecretString;
use zeroize::Zeroizing;

/// From the terminal without echo, or with `stdin` the first line of standard input.
pub fn read(stdin: bool, prompt: &str) -> io::Result<SecretString> {
    let password = if stdin {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().read_line(&mut line)?;
        Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned())
    } else {
        Zeroizing::new(rpassword::prompt_password(prompt)?)
    };
    if password.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the password is empty"));
    }
    Ok(SecretString::from(password.as_str()))
}
