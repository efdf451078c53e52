"""What a change of settings is worth: nights that differ in it, measured on the same split."""
