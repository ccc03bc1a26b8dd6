//! How keys and values become bytes: the [`Serializer`] trait, and serializers that write what those of Apache Kafka's
//! clients write.
//!
//! They are used by [`typed::Producer`](crate::typed::Producer). Each of them mirrors the serializer of the same name of the
//! Java client, so that any Kafka consumer reads what is written.
//!
//! | serializer | of | bytes |
//! |---|---|---|
//! | [`BytesSerializer`] | anything that is bytes | as they are |
//! | [`StringSerializer`] | `str`, `String` | UTF-8 |
//! | [`ShortSerializer`], [`IntegerSerializer`], [`LongSerializer`] | `i16`, `i32`, `i64` | big-endian |
//! | [`FloatSerializer`], [`DoubleSerializer`] | `f32`, `f64` | IEEE 754, big-endian |
//! | [`BooleanSerializer`] | `bool` | one byte, 1 or 0 |
//! | [`UuidSerializer`] | [`uuid::Uuid`] | 36 characters, such as `123e4567-e89b-12d3-a456-426614174000` |
//! | [`ListSerializer`] | slices and `Vec`s | see there |
//! | [`VoidSerializer`] | `()` | null |
//! | [`NullableSerializer`] | `Option`s | those of the value, or null |
//! | `JsonSerializer`, with feature `serde` | `serde::Serialize` | JSON |

mod builtin;
mod headers;
#[cfg(feature = "serde")]
mod json;
mod list;
#[expect(clippy::module_inception, reason = "a file is named after its main type")]
mod serializer;

pub use builtin::{
    BooleanSerializer, BytesSerializer, DoubleSerializer, FloatSerializer, IntegerSerializer, LongSerializer,
    NullableSerializer, ShortSerializer, StringSerializer, UuidSerializer, VoidSerializer,
};
pub use headers::AddedHeaders;
#[cfg(feature = "serde")]
pub use json::JsonSerializer;
pub use list::ListSerializer;
pub use serializer::{Serializer, SerializerError};
