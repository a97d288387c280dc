//! The targets, by what they decode.

pub(crate) mod body;
pub(crate) mod compressed;
pub(crate) mod files;
pub(crate) mod frame;
pub(crate) mod gate;
pub(crate) mod head;
pub(crate) mod query;
pub(crate) mod record;
pub(crate) mod tcf;
