//! Files of other programs: read, refused by name, compared with what they came from.

mod check_source;
mod hostile;
mod kinds;
mod onnxruntime;
mod sb3;
mod shared;
