"""The checks of `kgspark doctor`: each says what is there, what is wrong, and how to mend it."""
