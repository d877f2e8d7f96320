//! `mmn top`: the network in a terminal, for those who live there.
//!
//! A pure machine, [`App`]: keys and news go in, a frame and what is wanted next come out; it reads no clock, no file
//! and no socket, keeps no more than it can show, and asks for nothing to be measured. Around it stand `feed.rs`, which
//! reads from the API what is wanted, `screen.rs`, which owns the terminal, and `run.rs`, which turns the crank.
//!
//! Begin with `app.rs`, then `pages/`, a file for each.

mod app;
mod bars;
mod feed;
mod filter;
mod keys;
mod listing;
mod marks;
mod news;
mod pages;
mod pane;
mod run;
mod screen;
mod sheet;
#[cfg(test)]
mod tests;

use app::App;

pub(crate) use feed::Door;
pub(crate) use run::run;
pub(crate) use screen::Screen;
