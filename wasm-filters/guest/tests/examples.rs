//! The examples' own tests, on this machine instead of in a module.

#[path = "../../examples/drop-crawlers/drop_crawlers.rs"]
pub mod drop_crawlers;
#[path = "../../examples/keep-property/keep_property.rs"]
pub mod keep_property;
#[path = "../../examples/mask/mask.rs"]
pub mod mask;
#[path = "../../examples/split-array/split_array.rs"]
pub mod split_array;
