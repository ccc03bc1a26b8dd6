//! What the included files take from the crate's types.

pub(crate) type Offset = i64;
pub(crate) type FilePos = u32;
