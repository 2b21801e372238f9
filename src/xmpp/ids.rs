//! Ids that nobody can guess (S15).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 128 random bits, 22 characters that need no escaping anywhere.
pub fn random() -> String {
    let mut bytes = [0u8; 16];
    // Without randomness of the system there is no safe way to go on, and there are no such systems among those
    // that have sockets: getrandom blocks until it is seeded.
    if getrandom::fill(&mut bytes).is_err() {
        std::process::abort();
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A random fraction of one, to spread what must not happen at the same time.
pub fn fraction() -> f64 {
    let mut bytes = [0u8; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u16::from_le_bytes(bytes)) / 65536.0,
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn differ() {
        assert_ne!(super::random(), super::random());
        assert_eq!(super::random().len(), 22);
    }
}
