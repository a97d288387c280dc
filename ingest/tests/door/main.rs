//! The door as its users see it: over real sockets, with the real gate and the real log. One binary, linked once.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod connection;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod history;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod pixel;
#[cfg(test)]
mod plausible;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
