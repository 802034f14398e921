pub mod body;
pub mod merge;
pub mod status;
