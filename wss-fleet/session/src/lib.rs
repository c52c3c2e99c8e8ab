//! Sans-I/O state of one connection and of one workspace: inputs and a time go in, effects come out.
