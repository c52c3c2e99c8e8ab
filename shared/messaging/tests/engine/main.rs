//! The use cases over the in-process ports: every guarantee that the engine makes by itself, in
//! milliseconds and without any real part.

mod balancer;
mod cut;
mod rig;
mod scroll;
mod send;
