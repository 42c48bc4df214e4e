//! The documentation: examples run, lines and tables are those of the program, links have a target.

mod documentation;
pub mod lines;
pub mod manual;
mod reference;
