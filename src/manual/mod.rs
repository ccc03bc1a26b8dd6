//! The manual: chapters for those who run applications on this crate. Documentation only.

#[doc = include_str!("durability.md")]
pub mod durability {}

#[doc = include_str!("fetch.md")]
pub mod fetch {}

#[doc = include_str!("producer.md")]
pub mod producer {}
