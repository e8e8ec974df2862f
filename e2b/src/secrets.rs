//! Secrets of the account: values that the platform keeps, by name. No answer of
//! the API holds one.

use std::collections::BTreeMap;

use claude_relay_protocol::Secret;
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::http::{E2b, NO_BODY};
use crate::retry::Operation;

/// A secret of the account, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountSecret {
    /// Its identifier.
    #[serde(rename = "secretID")]
    pub id: String,
    /// Its name, in lower case.
    pub name: String,
    /// The number of its value: each new value has the next one.
    pub current_version: i64,
    /// What its owner has noted about it.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a BTreeMap<String, String>>,
}

impl E2b {
    /// Lists the secrets of the account, page after page.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn secrets(&self) -> Result<Vec<AccountSecret>, Error> {
        self.all_pages("list the secrets".to_owned(), &["secrets"], &[]).await
    }

    /// Returns a secret by its name or identifier.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub async fn secret(&self, name: &str) -> Result<AccountSecret, Error> {
        let operation = format!("look up the secret {name}");
        let path = ["secrets", name];
        let answer = self.api(Operation::Read, operation.clone(), Method::GET, &path, &[], NO_BODY);
        answer.await?.json(&operation)
    }

    /// Creates a secret. Its name has up to 128 letters, digits, `_` and `-`, and
    /// is kept in lower case.
    ///
    /// # Errors
    /// [`Error::Conflict`] if there is one by this name.
    pub async fn create_secret(
        &self,
        name: &str,
        value: &Secret,
        metadata: &BTreeMap<String, String>,
    ) -> Result<AccountSecret, Error> {
        let operation = format!("create the secret {name}");
        let metadata = Some(metadata).filter(|metadata| !metadata.is_empty());
        let body = Body { name: Some(name), value: value.expose(), metadata };
        let path = ["secrets"];
        let answer =
            self.api(Operation::Secret, operation.clone(), Method::POST, &path, &[], Some(&body));
        answer.await?.json(&operation)
    }

    /// Gives a secret another value. `None` leaves the metadata as they are.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none by this name or identifier.
    pub async fn update_secret(
        &self,
        name: &str,
        value: &Secret,
        metadata: Option<&BTreeMap<String, String>>,
    ) -> Result<AccountSecret, Error> {
        let operation = format!("change the secret {name}");
        let body = Body { name: None, value: value.expose(), metadata };
        let path = ["secrets", name];
        let answer =
            self.api(Operation::Secret, operation.clone(), Method::POST, &path, &[], Some(&body));
        answer.await?.json(&operation)
    }

    /// Deletes a secret by its name or identifier. Returns false if there was none,
    /// which a repetition after a lost answer finds as well.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delete_secret(&self, name: &str) -> Result<bool, Error> {
        let operation = format!("delete the secret {name}");
        let path = ["secrets", name];
        match self.api(Operation::Set, operation, Method::DELETE, &path, &[], NO_BODY).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
