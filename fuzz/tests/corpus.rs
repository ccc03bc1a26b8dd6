//! Runs every target over its corpus, without a fuzzer.

#![cfg(fuzzing)]

use std::fs;
use std::path::Path;

#[test]
fn every_input_of_the_corpus_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, run) in thalweg_fuzz::TARGETS {
        let mut inputs: Vec<_> =
            fs::read_dir(corpus.join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
        inputs.sort();
        assert!(!inputs.is_empty(), "{target}");
        for input in inputs {
            eprintln!("{target}: {}", input.display()); // shown if it fails
            run(&fs::read(&input).unwrap());
        }
        run(b"");
    }
}
