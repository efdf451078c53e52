"""`bench train`: its contestants, the clock that times all of them, and their triples."""
