//! What the operator decides about accounts: denied, allowed, bound to another upstream, wiped.

use super::{Inner, SqliteStore};
use crate::store::StoreError;
use jid::BareJid;
use rusqlite::{Connection, OptionalExtension};

/// The tables with what is kept of an account, by a column of that name. Not `denied`: that is the operator's word
/// about it, and stays until taken back.
pub(super) const OF_AN_ACCOUNT: [&str; 1] = ["enrolment"];

pub(super) fn is_denied(connection: &Connection, account: &BareJid) -> rusqlite::Result<bool> {
    connection
        .query_row("SELECT EXISTS (SELECT 1 FROM denied WHERE account = ?1)", [account.as_str()], |row| row.get(0))
}

impl SqliteStore {
    pub(super) fn note_denied(&self, account: &BareJid) -> Result<bool, StoreError> {
        let inner = &mut *self.inner();
        let work = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM enrolment WHERE account = ?1", [account.as_str()])?;
            let new = transaction.execute("INSERT OR IGNORE INTO denied (account) VALUES (?1)", [account.as_str()])?;
            transaction.commit()?;
            Ok(new > 0)
        };
        let new = work(&mut inner.connection).map_err(|e| self.failure(e))?;
        self.wipe(&inner.connection)?;
        Ok(new)
    }

    pub(super) fn note_allowed(&self, account: &BareJid) -> Result<bool, StoreError> {
        self.delete(account, &["denied"])
    }

    pub(super) fn list_denied(&self) -> Result<Vec<BareJid>, StoreError> {
        let rows: Vec<String> = self
            .inner()
            .connection
            .prepare("SELECT account FROM denied ORDER BY account")
            .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
            .map_err(|e| self.failure(e))?;
        rows.into_iter()
            .map(|row| BareJid::new(&row).map_err(|_| self.altered(format!("the denial of {}", row.escape_debug()))))
            .collect()
    }

    /// Deletes an account's rows and wipes them; whether there were any.
    pub(super) fn delete(&self, account: &BareJid, tables: &[&str]) -> Result<bool, StoreError> {
        let inner = &mut *self.inner();
        let work = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut deleted = 0;
            for table in tables {
                deleted +=
                    transaction.execute(&format!("DELETE FROM {table} WHERE account = ?1"), [account.as_str()])?;
            }
            transaction.commit()?;
            Ok(deleted > 0)
        };
        let deleted = work(&mut inner.connection).map_err(|e| self.failure(e))?;
        self.wipe(&inner.connection)?;
        Ok(deleted)
    }

    pub(super) fn bind(&self, account: &BareJid, upstream: &str) -> Result<bool, StoreError> {
        let Inner { connection, seal } = &mut *self.inner();
        let transaction = connection.transaction().map_err(|e| self.failure(e))?;
        let sealed: Option<Vec<u8>> = transaction
            .query_row("SELECT record FROM enrolment WHERE account = ?1", [account.as_str()], |row| row.get(0))
            .optional()
            .map_err(|e| self.failure(e))?;
        let Some(sealed) = sealed else { return Ok(false) };
        let mut enrolment = self.read(seal, account, &sealed)?;
        enrolment.upstream = upstream.to_owned();
        self.write(seal, &transaction, &enrolment)?;
        transaction.commit().map_err(|e| self.failure(e))?;
        Ok(true)
    }
}
