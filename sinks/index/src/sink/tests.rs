mod crashes; // power cuts at every operation
mod documents; // what is found of what was written
mod owners; // whose a directory is
mod queries; // what a query means
mod rig; // a log to write from
mod upkeep; // merging, age, and what is replaced
