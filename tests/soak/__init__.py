"""Mixed load on a real engine, for as long as is asked: `make soak`. docs/operations.md says what it proves."""
