"""Payload bytes to 16-bit linear samples, and samples of one rate to another."""
