"""The HTTP plane: native v1 API, playback of files, health, and RFC 9457 problems for everything that goes wrong."""
