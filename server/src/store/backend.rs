//! Where the parts lie. Every write makes a whole new object, so nothing that
//! is in a store is ever half there.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Most names in one listing.
pub(super) const MAX_NAMES: usize = 100_000;

/// Most threads that wait for a directory. One on a network's disk may never
/// answer, and the server needs its threads for other work.
const MAX_THREADS: usize = 32;

/// Reason for which a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be used.
    #[error("{path:?}: {source}")]
    Directory {
        /// What was tried.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The spool cannot be read.
    #[error("what waits for it cannot be read: {source}")]
    Spool {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// What was read cannot be put on this disk.
    #[error("its copy on this machine cannot be read: {source}")]
    Copy {
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The bucket refuses, or cannot be reached.
    #[cfg(feature = "s3")]
    #[error(transparent)]
    Bucket(#[from] object_store::Error),
    /// It has not answered.
    #[error("it has not answered within {0:?}")]
    Timeout(std::time::Duration),
    /// A listing or a conversation is too large.
    #[error("{0} is over the limit of what is read at once")]
    TooLarge(String),
    /// A task of the server has ended early.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// What lies directly below a path.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names of what has something below it.
    pub directories: Vec<String>,
    /// Names of objects.
    pub objects: Vec<String>,
}

/// A place for objects. Paths are relative, with `/` between their parts, each
/// of which is a plain name.
#[derive(Debug, Clone)]
pub enum Backend {
    /// A directory.
    Directory(Directory),
    /// A part of a bucket.
    #[cfg(feature = "s3")]
    Bucket(super::bucket::Bucket),
}

impl Backend {
    /// Writes an object, or replaces it by the same.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn put(&self, path: &str, body: Bytes) -> Result<(), StoreError> {
        match self {
            Self::Directory(root) => root.with(path, move |path| write(path, &body)).await,
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.put(path, body).await,
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        match self {
            Self::Directory(root) => root.with(path, |path| fs::read(path).map(Bytes::from)).await,
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.get(path).await,
        }
    }

    /// Lists what lies directly below a path; nothing if there is nothing. An
    /// empty path is the store itself.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn list(&self, path: &str) -> Result<Listing, StoreError> {
        match self {
            Self::Directory(root) => {
                let max_names = root.max_names;
                root.with(path, move |path| list(path, max_names)).await
            }
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => bucket.list(path).await,
        }
    }
}

/// A directory, and the threads that wait for it.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
    threads: Arc<Semaphore>,
    max_names: usize,
}

impl Directory {
    /// Returns the directory `root`, which need not be there.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self::with_max_names(root, MAX_NAMES)
    }

    /// The same with another limit of names in one listing.
    fn with_max_names(root: PathBuf, max_names: usize) -> Self {
        Self { root, threads: Arc::new(Semaphore::new(MAX_THREADS)), max_names }
    }

    /// Works with a path on another thread. A thread that the disk does not answer
    /// cannot be ended: it counts until it is.
    async fn with<T: Send + 'static>(
        &self,
        path: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.threads).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::ShuttingDown)?;
        let path = self.root.join(path);
        let done = spawn_blocking(move || {
            let _permit = permit;
            work(&path).map_err(|source| StoreError::Directory { path, source })
        });
        done.await.map_err(|_| StoreError::ShuttingDown)?
    }
}

/// Writes a file in one step, to the disk.
pub(super) fn write(path: &Path, body: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut file = tempfile::Builder::new().prefix(".part-").tempfile_in(directory)?;
    file.write_all(body)?;
    file.as_file().sync_data()?;
    file.persist(path)?;
    fs::File::open(directory)?.sync_all()
}

fn list(path: &Path, max_names: usize) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if listing.directories.len() + listing.objects.len() == max_names {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.file_type()?.is_dir() {
            listing.directories.push(name);
        } else {
            listing.objects.push(name);
        }
    }
    Ok(listing)
}

#[cfg(test)]
mod tests;
