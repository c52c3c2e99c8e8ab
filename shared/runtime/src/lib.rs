//! Configuration, telemetry, tokens, the Lambda adapter, and the wiring of the ports.
