"""The contestants of `bench train`, the clock that all of them are timed by, and their triples."""
