//! Key rotation (S22), and wiping what was deleted.
//!
//! Whatever instant the process dies at, every value opens with a key that is in the key file:
//! 1. the key file gets the new key before the old one; from here on new values are sealed with the new key;
//! 2. every value is sealed anew, some at a time, so that logins go on meanwhile;
//! 3. what was sealed with the old key is wiped from the database and its log;
//! 4. the key file gets the new key alone.
//!
//! A key file with two keys is a rotation that was interrupted: it goes on from step 2, at the next opening or the next
//! `key rotate`.

use super::{Inner, SqliteStore, keys};
use crate::store::{Rotation, StoreError};
use rusqlite::{Connection, TransactionBehavior, params};
use std::sync::{Arc, PoisonError};
use tracing::{info, warn};

/// Every column that holds sealed values: the table, the name of its rows, the column. A test compares them with the
/// schema.
pub(super) const SEALED: [(&str, &str, &str); 3] =
    [("meta", "name", "value"), ("enrolment", "account", "record"), ("domain", "name", "best_mechanism")];

/// How many values are sealed anew in one transaction; other calls wait for so long.
const BATCH: usize = 128;

impl SqliteStore {
    pub(super) fn rotate(&self) -> Result<Rotation, StoreError> {
        let _one = self.rotating.lock().unwrap_or_else(PoisonError::into_inner);
        self.begin_rotation()?;
        let done = self.reseal()?;
        self.wipe(&self.inner().connection)?;
        self.end_rotation()?;
        Ok(done)
    }

    /// Step 1, if it was not done already.
    pub(super) fn begin_rotation(&self) -> Result<(), StoreError> {
        let inner = &mut *self.inner();
        if !inner.seal.is_rotating() {
            let rotated = inner.seal.rotated()?;
            keys::replace(&self.key_file, &rotated)?;
            inner.seal = Arc::new(rotated);
        }
        Ok(())
    }

    /// Step 2.
    pub(super) fn reseal(&self) -> Result<Rotation, StoreError> {
        let mut done = Rotation::default();
        for (table, name, column) in SEALED {
            // The empty text comes before every name, and is none.
            let mut last = Some(String::new());
            while let Some(after) = last {
                last = self.reseal_batch(table, name, column, &after, &mut done)?;
            }
        }
        Ok(done)
    }

    /// Seals some values anew; the name of the last one, `None` when there are no more.
    fn reseal_batch(
        &self,
        table: &str,
        name: &str,
        column: &str,
        after: &str,
        done: &mut Rotation,
    ) -> Result<Option<String>, StoreError> {
        let Inner { connection, seal } = &mut *self.inner();
        let fail = |e| self.failure(e);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let rows: Vec<(String, Vec<u8>)> = transaction
            .prepare(&format!("SELECT {name}, {column} FROM {table} WHERE {name} > ?1 ORDER BY {name} LIMIT {BATCH}"))
            .and_then(|mut query| query.query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .map_err(fail)?;
        let update = format!("UPDATE {table} SET {column} = ?2 WHERE {name} = ?1");
        let place = format!("{table}.{column}");
        for (row, sealed) in rows.iter().filter(|(_, sealed)| !sealed.starts_with(&seal.header())) {
            let value = match seal.open(&place, row, sealed) {
                Ok(plain) => {
                    done.resealed += 1;
                    seal.seal(&place, row, &plain)?
                }
                // Nobody can read it any more; but who has the old key might make out what it was.
                Err(_) => {
                    warn!(column = place, row = row.escape_debug().to_string(), "an altered value is emptied");
                    done.unreadable += 1;
                    Vec::new()
                }
            };
            transaction.execute(&update, params![row, value]).map_err(fail)?;
        }
        transaction.commit().map_err(fail)?;
        Ok(rows.into_iter().next_back().map(|(row, _)| row))
    }

    /// Step 4.
    pub(super) fn end_rotation(&self) -> Result<(), StoreError> {
        let inner = &mut *self.inner();
        let settled = inner.seal.settled();
        keys::replace(&self.key_file, &settled)?;
        inner.seal = Arc::new(settled);
        Ok(())
    }

    /// Finishes a rotation that was interrupted. Where that cannot be (a full disk), the store is as good with two keys,
    /// and it is tried again the next time.
    pub(super) fn resume_rotation(&self) {
        if !self.inner().seal.is_rotating() {
            return;
        }
        match self.rotate() {
            Ok(done) => info!(resealed = done.resealed, "a rotation of keys that was interrupted is finished"),
            Err(error) => warn!(%error, "a rotation of keys was interrupted, and could not be finished yet"),
        }
    }

    /// Wipes what was deleted or replaced. `secure_delete` has overwritten most of it already, but not what pages that
    /// were split or merged left behind, nor earlier pages in the log: so the database is built anew, and the log
    /// emptied.
    pub(super) fn wipe(&self, connection: &Connection) -> Result<(), StoreError> {
        connection.execute_batch("VACUUM").map_err(|e| self.failure(e))?;
        let busy: bool = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|e| self.failure(e))?;
        if busy { Err(StoreError::Busy { path: self.path.clone() }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
