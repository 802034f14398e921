//! What is promised, tested on the real binaries: one module a promise.

mod cloning;
mod commands;
mod contract;
mod crashes;
mod dependencies;
mod doctor;
mod exactness;
mod hostile;
mod house;
mod imports;
mod interruption;
mod lifecycle;
mod listings;
mod load;
mod regenerating;
mod schema;
mod secrets;
mod specweave;
mod state;
mod storage;
mod strangers;
mod syncs;
mod terminal;
mod time;
mod verbs;
mod world;
