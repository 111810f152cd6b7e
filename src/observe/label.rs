//! The closed sets that metrics are told apart by.

/// Which of the listeners a connection came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// TLS.
    Https,
    /// Plain HTTP, which only redirects.
    Http,
    /// The operator's.
    Admin,
}

impl Listener {
    pub(super) const ALL: [Self; 3] = [Self::Https, Self::Http, Self::Admin];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Admin => "admin",
        }
    }
}

/// What a connection is doing that is not answering requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Its TLS handshake.
    Handshake,
    /// Waiting for its next request, for a while already.
    Parked,
    /// Something else than HTTP.
    Tunnel,
}

impl ConnectionState {
    pub(super) const ALL: [Self; 3] = [Self::Handshake, Self::Parked, Self::Tunnel];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Parked => "parked",
            Self::Tunnel => "tunnel",
        }
    }
}

/// What became of a look at the configuration and its files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// What they say is in force now.
    Applied,
    /// They say what was in force already.
    Unchanged,
    /// They seem to be written at this moment.
    Pending,
    /// Something is wrong with them.
    Rejected,
}

impl Reload {
    pub(super) const ALL: [Self; 4] = [
        Self::Applied,
        Self::Unchanged,
        Self::Pending,
        Self::Rejected,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Unchanged => "unchanged",
            Self::Pending => "pending",
            Self::Rejected => "rejected",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// With a connection.
    Ok,
    /// The client did not finish in time.
    Timeout,
    /// No version, cipher suite or ALPN protocol that both sides speak.
    NoCommonProtocol,
    /// The client asked for a name that no certificate has, and such are refused.
    UnknownName,
    /// The client refused, with an alert.
    Alert,
    /// The connection broke.
    Io,
    /// Anything else, such as bytes that are not TLS.
    Other,
}

impl Handshake {
    pub(super) const ALL: [Self; 7] = [
        Self::Ok,
        Self::Timeout,
        Self::NoCommonProtocol,
        Self::UnknownName,
        Self::Alert,
        Self::Io,
        Self::Other,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::UnknownName => "unknown_name",
            Self::Alert => "alert",
            Self::Io => "io",
            Self::Other => "other",
        }
    }
}

/// How a proxy said who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduction {
    /// In a good PROXY header.
    Ok,
    /// Not at all: it is none of the trusted ones.
    Untrusted,
    /// Not in time.
    Timeout,
    /// In something that is no PROXY header.
    Malformed,
    /// The connection broke.
    Io,
}

impl Introduction {
    pub(super) const ALL: [Self; 5] = [
        Self::Ok,
        Self::Untrusted,
        Self::Timeout,
        Self::Malformed,
        Self::Io,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Untrusted => "untrusted",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
            Self::Io => "io",
        }
    }
}

/// How an attempt to connect to an upstream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connect {
    /// With a connection.
    Ok,
    /// The name has no addresses.
    Unresolved,
    /// Nobody answered in time.
    Timeout,
    /// Nobody is there.
    Refused,
    /// The TLS handshake failed.
    Tls,
}

impl Connect {
    pub(super) const ALL: [Self; 5] = [
        Self::Ok,
        Self::Unresolved,
        Self::Timeout,
        Self::Refused,
        Self::Tls,
    ];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unresolved => "unresolved",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Tls => "tls",
        }
    }
}

/// What a look into the cache of verified tokens found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenLookup {
    /// A token verified before and still good.
    Hit,
    /// Nothing of use: the signature has to be checked.
    Miss,
}
