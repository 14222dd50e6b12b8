//! The mapping-template language: parser and bounded evaluator.
