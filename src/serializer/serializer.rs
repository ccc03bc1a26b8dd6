//! The trait.

use std::error::Error as StdError;

use super::AddedHeaders;

/// Why a serializer cannot write a value. Any error type becomes one by `?`, and so does text by `into()`.
pub type SerializerError = Box<dyn StdError + Send + Sync>;

/// Writes keys or values of type `T` as bytes.
///
/// ```
/// use thalweg::serializer::{AddedHeaders, Serializer, SerializerError};
///
/// struct Celsius;
///
/// impl Serializer<f32> for Celsius {
///     fn serialize(
///         &self,
///         _topic: &str,
///         headers: &mut AddedHeaders,
///         value: &f32,
///         out: &mut Vec<u8>,
///     ) -> Result<(), SerializerError> {
///         if *value < -273.15 {
///             return Err("it cannot be that cold".into());
///         }
///         headers.add("unit", Some(b"celsius"));
///         out.extend_from_slice(value.to_string().as_bytes());
///         Ok(())
///     }
/// }
/// ```
pub trait Serializer<T: ?Sized>: Send + Sync {
    /// Appends the bytes of `value`, of a record for `topic`, to `out`, which may hold other bytes. The memory is used again
    /// for the next record. Headers that it adds come behind those of the record.
    ///
    /// # Errors
    ///
    /// Whatever makes the value impossible to write. `send` returns it as the source of an error of kind
    /// [`Serialization`](crate::ErrorKind::Serialization), and the record is not sent.
    fn serialize(
        &self,
        topic: &str,
        headers: &mut AddedHeaders,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), SerializerError>;

    /// Whether `value` stands for null: then the record has no key or no value, and
    /// [`serialize`](Serializer::serialize) is not called. By default nothing does.
    fn is_null(&self, value: &T) -> bool {
        let _ = value;
        false
    }

    /// Number of bytes of every value, for the types of which Kafka's lists know it: numbers and UUIDs. By default, and for
    /// all others, none: [`ListSerializer`](super::ListSerializer) writes a length in front of each element.
    fn fixed_len(&self) -> Option<usize> {
        None
    }
}
