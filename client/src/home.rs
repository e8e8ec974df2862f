//! What a server runs in, where that is the client's business.

#[cfg(feature = "e2b")]
pub(crate) use crate::sandbox::home::{Home, Place};

/// Without the feature `e2b` there is none, and nothing to do.
#[cfg(not(feature = "e2b"))]
mod none {
    use tokio::sync::watch;

    use crate::connection::Connection;
    use crate::error::Error;

    #[derive(Clone)]
    pub(crate) enum Place {}
    pub(crate) enum Home {}

    impl Place {
        pub(crate) async fn still_there(&self) -> Result<(), Error> {
            match *self {}
        }
    }

    impl Home {
        pub(crate) fn place(&self) -> &Place {
            match *self {}
        }

        pub(crate) async fn keep_alive(&self, _: watch::Receiver<Connection>) {
            match *self {}
        }

        pub(crate) async fn end(&self) -> Result<(), Error> {
            match *self {}
        }
    }
}
#[cfg(not(feature = "e2b"))]
pub(crate) use none::{Home, Place};
