//! What becomes of a document and a Stage.
