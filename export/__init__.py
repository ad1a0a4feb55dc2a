"""Checkpoint to bundle: full-precision graphs of the six subnetworks. The only package that uses torch."""
