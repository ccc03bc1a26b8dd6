//! The same records, batch by batch.

use thalweg::{Fetched, Result};

/// Compares what comes out of [`Fetched::batches`] with what [`Fetched::decode`] gives: all of it before the first error.
pub fn compare_batches(fetched: &Fetched) {
    let mut one_by_one = Vec::new();
    let mut batches = fetched.batches(true);
    let ended: Result<()> = loop {
        match batches.next_batch() {
            Ok(Some(records)) => one_by_one.extend(records.map(|record| format!("{record:?}"))),
            Ok(None) => break Ok(()),
            Err(error) => {
                // Asked again, the same.
                assert_eq!(batches.next_batch().unwrap_err().to_string(), error.to_string());
                break Err(error);
            }
        }
    };
    match (fetched.decode(true), ended) {
        (Ok(records), ended) => {
            assert!(
                one_by_one.iter().eq(records.iter().map(|record| format!("{record:?}")).collect::<Vec<_>>().iter())
            );
            assert_eq!(batches.next_offset(), records.next_offset(), "{ended:?}");
        }
        (Err(error), Err(ended)) => assert_eq!((error.to_string(), one_by_one.len()), (ended.to_string(), 0)),
        (Err(error), Ok(())) => panic!("{error}, and not batch by batch"),
    }
}
