//! The store in memory: for tests, nothing survives.

use super::{Enrolment, Rotation, Store, StoreError, Summary, new_resource};
use crate::stream::sasl::{Mechanism, Secret};
use jid::BareJid;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    enrolments: BTreeMap<String, Enrolment>,
    mechanisms: BTreeMap<String, Mechanism>,
    denied: BTreeSet<String>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every change is a single insertion or removal, so a poisoned lock hides nothing half done.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn put_enrolment(
        &self,
        account: &BareJid,
        upstream: &str,
        secret: &Secret,
        now: u64,
    ) -> Result<Enrolment, StoreError> {
        let mut tables = self.tables();
        if tables.denied.contains(account.as_str()) {
            return Err(StoreError::Denied { account: account.clone() });
        }
        let resource = match tables.enrolments.get(account.as_str()) {
            Some(earlier) => earlier.resource.clone(),
            None => new_resource()?,
        };
        let enrolment = Enrolment {
            account: account.clone(),
            upstream: upstream.to_owned(),
            resource,
            secret: secret.clone(),
            enrolled_at: now,
        };
        tables.enrolments.insert(account.to_string(), enrolment.clone());
        Ok(enrolment)
    }

    fn enrolment(&self, account: &BareJid) -> Result<Option<Enrolment>, StoreError> {
        Ok(self.tables().enrolments.get(account.as_str()).cloned())
    }

    fn enrolments(&self) -> Result<Vec<Summary>, StoreError> {
        Ok(self.tables().enrolments.values().map(Enrolment::summary).collect())
    }

    fn remove_enrolment(&self, account: &BareJid) -> Result<bool, StoreError> {
        Ok(self.tables().enrolments.remove(account.as_str()).is_some())
    }

    fn purge(&self, account: &BareJid) -> Result<bool, StoreError> {
        self.remove_enrolment(account)
    }

    fn deny(&self, account: &BareJid) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        tables.enrolments.remove(account.as_str());
        Ok(tables.denied.insert(account.to_string()))
    }

    fn allow(&self, account: &BareJid) -> Result<bool, StoreError> {
        Ok(self.tables().denied.remove(account.as_str()))
    }

    fn is_denied(&self, account: &BareJid) -> Result<bool, StoreError> {
        Ok(self.tables().denied.contains(account.as_str()))
    }

    fn denied(&self) -> Result<Vec<BareJid>, StoreError> {
        // They were JIDs when they came.
        Ok(self.tables().denied.iter().filter_map(|account| BareJid::new(account).ok()).collect())
    }

    fn rebind(&self, account: &BareJid, upstream: &str) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let Some(enrolment) = tables.enrolments.get_mut(account.as_str()) else { return Ok(false) };
        enrolment.upstream = upstream.to_owned();
        Ok(true)
    }

    fn best_mechanism(&self, domain: &str) -> Result<Option<Mechanism>, StoreError> {
        Ok(self.tables().mechanisms.get(domain).copied())
    }

    fn set_best_mechanism(&self, domain: &str, best: Mechanism) -> Result<(), StoreError> {
        self.tables().mechanisms.insert(domain.to_owned(), best);
        Ok(())
    }

    fn forget_best_mechanism(&self, domain: &str) -> Result<bool, StoreError> {
        Ok(self.tables().mechanisms.remove(domain).is_some())
    }

    fn rotate_key(&self) -> Result<Rotation, StoreError> {
        Ok(Rotation::default())
    }
}
