//! What an acknowledgement waits for.

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Acks {
    /// `0`: nothing. It resolves when the record is in its batch, without an offset; what goes wrong later is logged and
    /// counted.
    None,
    /// `1`: the record is in the log and has its offset. In mode `fsync` consumers may not see it yet.
    Leader,
    /// `all` or `-1`: the promise of the topic's [`Durability`](crate::Durability) holds, and consumers can see it.
    #[default]
    All,
}

impl Acks {
    /// The value in properties: `0`, `1` or `all`.
    pub fn name(self) -> &'static str {
        match self {
            Acks::None => "0",
            Acks::Leader => "1",
            Acks::All => "all",
        }
    }

    /// The inverse of [`name`](Acks::name), which also takes `-1` for `all`.
    ///
    /// ```
    /// assert_eq!(thalweg::Acks::from_name("-1"), Some(thalweg::Acks::All));
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "0" => Some(Acks::None),
            "1" => Some(Acks::Leader),
            "all" | "-1" => Some(Acks::All),
            _ => None,
        }
    }
}
