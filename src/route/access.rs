//! One route: who may pass, where to, and what is done to the request on the way.

use std::sync::Arc;
use std::time::Duration;

use super::PathPattern;
use crate::observe::RouteName;
use crate::policy::Policy;
use crate::token::Acceptance;
use crate::upstream::{Target, TargetUrl};

/// What the table's entries lead to. What many have in common they share: it is in the processor's
/// cache when a route is asked for that has not been for long.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: RouteName,
    /// Who may pass.
    pub access: Arc<Access>,
    /// The upstream's URL.
    pub to: Arc<TargetUrl>,
    /// The upstream. Routes to the same one share it, and with it the connections.
    pub target: Arc<Target>,
    /// The pattern it was found by, if what that matched before the subtree is removed from the
    /// path.
    pub strip_prefix: Option<Box<PathPattern>>,
    /// Whether the upstream gets the client's `Authorization`.
    pub keep_authorization: bool,
    /// Whether the upstream gets its own name as Host rather than the client's.
    pub own_host: bool,
    /// Whether only certain methods come this way, so that none may pose as another.
    pub limits_methods: bool,
    /// Whether requests may switch to another protocol.
    pub upgrade: bool,
    /// How long the upstream may take to send the response's head.
    pub timeout: Duration,
    /// The largest request body in bytes.
    pub max_body: Option<u64>,
}

/// Who may pass.
#[derive(Debug)]
pub enum Access {
    /// Everybody.
    Public,
    /// Bearers of a good token.
    Bearer {
        /// Whose tokens, and for which audiences.
        accepted: Vec<Acceptance>,
        /// What a verified token must allow, and what of it is forwarded.
        policy: Policy,
    },
}
