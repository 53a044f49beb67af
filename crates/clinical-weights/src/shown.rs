//! Names from files, in messages.

pub(crate) use clinical_files::shown;
