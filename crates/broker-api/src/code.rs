//! Error codes: whose fault, and whether to try again.

/// Why a request was not done. The number never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The bytes are no frame and no line of JSON.
    InvalidFrame,
    /// The request is longer than its limit.
    PayloadTooLarge,
    /// Not strict JSON.
    InvalidJson,
    /// JSON of another shape than a request, or of another version.
    InvalidRequest,
    /// No such verb.
    UnknownVerb,
    /// A parameter is missing, unknown, or not what the verb takes.
    InvalidParameter,
    /// An empty request.
    EmptyRequest,
    /// The policy names nobody who is this peer.
    Unauthorized,
    /// The policy does not give this peer this verb on this target.
    Forbidden,
    /// The peer's budget is spent.
    RateLimited,
    /// Too much is under way, and the queue's wait is over or the queue is full.
    Busy,
    /// The request did not arrive in time.
    ReadTimeout,
    /// The work did not end in time.
    HandlerTimeout,
    /// The broker ends.
    ShuttingDown,
    /// The node is not one that may be reached.
    TargetRefused,
    /// The node shows another host key than the one known.
    HostKeyChanged,
    /// The result is larger than its limit.
    OutputTooLarge,
    /// The node was not reached, or its answer is of no use.
    RemoteFailed,
    /// Named and not there.
    NotFound,
    /// Changed since it was looked at, or the same key was used for something else.
    Conflict,
    /// This host can not do it; the text says why.
    Unavailable,
    /// A fault of the broker.
    Internal,
}

/// Number, name, retryable.
const ROWS: [(Code, u16, &str, bool); 22] = [
    (Code::InvalidFrame, 1, "invalid_frame", false),
    (Code::PayloadTooLarge, 2, "payload_too_large", false),
    (Code::InvalidJson, 3, "invalid_json", false),
    (Code::InvalidRequest, 4, "invalid_request", false),
    (Code::UnknownVerb, 5, "unknown_verb", false),
    (Code::InvalidParameter, 6, "invalid_parameter", false),
    (Code::EmptyRequest, 7, "empty_request", false),
    (Code::Unauthorized, 20, "unauthorized", false),
    (Code::Forbidden, 21, "forbidden", false),
    (Code::RateLimited, 30, "rate_limited", true),
    (Code::Busy, 31, "busy", true),
    (Code::ReadTimeout, 32, "read_timeout", true),
    (Code::HandlerTimeout, 33, "handler_timeout", true),
    (Code::ShuttingDown, 34, "shutting_down", true),
    (Code::TargetRefused, 40, "target_refused", false),
    (Code::HostKeyChanged, 41, "host_key_changed", false),
    (Code::OutputTooLarge, 42, "output_too_large", false),
    (Code::RemoteFailed, 43, "remote_failed", true),
    (Code::NotFound, 44, "not_found", false),
    (Code::Conflict, 45, "conflict", false),
    (Code::Unavailable, 46, "unavailable", false),
    (Code::Internal, 50, "internal", false),
];

impl Code {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.0)
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        self.row().1
    }

    /// The name on the wire, in logs and as a label of metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(self) -> bool {
        self.row().3
    }

    /// The code with this number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        ROWS.iter().find(|row| u64::from(row.1) == number).map(|row| row.0)
    }

    fn row(self) -> &'static (Self, u16, &'static str, bool) {
        const BUG: (Code, u16, &str, bool) = (Code::Internal, 50, "internal", false);
        ROWS.iter().find(|row| row.0 == self).unwrap_or(&BUG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_row_and_its_own_number_and_name() {
        let numbers: BTreeSet<u16> = Code::all().map(Code::number).collect();
        let names: BTreeSet<&str> = Code::all().map(Code::name).collect();
        assert_eq!((numbers.len(), names.len()), (ROWS.len(), ROWS.len()));
        for code in Code::all() {
            assert_eq!(Code::from_number(code.number().into()), Some(code));
            assert_eq!(code.row().0, code);
        }
        assert_eq!(Code::from_number(0), None);
    }
}
