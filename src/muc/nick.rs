//! Nicks (XEP-0045 §7.6): one for the account, compared as the server compares them.

use jid::ResourcePart;

/// Whether two nicks are the same after resourceprep (RFC 7622 §3.4): 'Ａl①' joins as 'Al1'.
pub fn same(a: &str, b: &str) -> bool {
    a == b || matches!((ResourcePart::new(a), ResourcePart::new(b)), (Ok(a), Ok(b)) if a.as_str() == b.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compared_after_preparation_and_case_sensitive() {
        assert!(same("a", "a"));
        assert!(same("Ａl①", "Al1"));
        assert!(!same("a", "A"));
    }
}
