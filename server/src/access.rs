//! placeholder until the branch `access` is merged
use claude_relay_protocol::Secret;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Page,
    Health,
    Config,
    Socket,
}
#[derive(Debug)]
pub struct Admission {
    pub authorized: bool,
}
#[derive(Debug)]
pub struct Denial {
    pub status: StatusCode,
    pub error: &'static str,
}
#[derive(Debug)]
pub struct AccessRules {
    pub loopback: bool,
    pub token: Option<Secret>,
    pub allow_origins: Vec<AllowedOrigin>,
    pub allow_hosts: Vec<AllowedHost>,
}
#[derive(Debug, Clone)]
pub struct AllowedOrigin;
#[derive(Debug, Clone)]
pub struct AllowedHost;
impl std::str::FromStr for AllowedOrigin {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
}
impl std::str::FromStr for AllowedHost {
    type Err = String;
    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
}
#[derive(Debug)]
pub struct Access;
impl Access {
    pub fn new(_: AccessRules) -> Self {
        Self
    }
    pub fn check(&self, _: Door, _: &hyper::http::request::Parts) -> Result<Admission, Denial> {
        Ok(Admission { authorized: true })
    }
    pub fn claim(&self, _: Secret) -> bool {
        false
    }
    pub fn cors_origin(&self, _: &HeaderMap) -> Option<HeaderValue> {
        None
    }
}
