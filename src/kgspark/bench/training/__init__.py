"""The contestants of `bench train`, the clock that times all of them, and their triples."""
