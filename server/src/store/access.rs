//! The credentials for a bucket, from the environment alone.

use claude_relay_protocol::Secret;

/// How a bucket is reached.
#[derive(Debug, Clone)]
pub struct BucketAccess {
    /// The id of the key.
    pub key_id: String,
    /// The key.
    pub secret: Secret,
    /// The token of a temporary key.
    pub token: Option<Secret>,
    /// The region.
    pub region: String,
    /// Address of a server other than Amazon's.
    pub endpoint: Option<String>,
}

/// What is read of the environment, each with the names that stand for it: the
/// relay's own, then those of every client of S3.
pub const KEY_ID: [&str; 2] = ["RELAY_STORE_ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"];
/// The key.
pub const SECRET: [&str; 2] = ["RELAY_STORE_SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"];
/// The token.
pub const TOKEN: [&str; 2] = ["RELAY_STORE_SESSION_TOKEN", "AWS_SESSION_TOKEN"];
/// The region.
pub const REGION: [&str; 3] = ["RELAY_STORE_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"];
/// The address.
pub const ENDPOINT: [&str; 3] = ["RELAY_STORE_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];

/// The region where none is named.
const DEFAULT_REGION: &str = "us-east-1";

/// Reads how a bucket is reached. The key, its id and its token come together:
/// all from the relay's own names, or all from the others. Gives the names that
/// were read and hold a secret.
///
/// # Errors
///
/// Names what is missing.
pub fn read<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Result<(BucketAccess, Vec<&'static str>), String> {
    let own = usize::from(variable(KEY_ID[0]).is_none() && variable(SECRET[0]).is_none());
    let needed = |names: [&'static str; 2]| {
        variable(names[own]).ok_or_else(|| {
            format!(
                "an s3:// store needs {} and {} (or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), in the environment",
                KEY_ID[0], SECRET[0]
            )
        })
    };
    let any = |names: [&str; 3]| names.into_iter().find_map(&variable).map(str::to_owned);
    let access = BucketAccess {
        key_id: needed(KEY_ID)?.to_owned(),
        secret: Secret::new(needed(SECRET)?.to_owned()),
        token: variable(TOKEN[own]).map(|token| Secret::new(token.to_owned())),
        region: any(REGION).unwrap_or_else(|| DEFAULT_REGION.to_owned()),
        endpoint: any(ENDPOINT),
    };
    Ok((access, vec![KEY_ID[own], SECRET[own], TOKEN[own]]))
}
