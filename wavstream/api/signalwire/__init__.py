"""SignalWire's API: calling commands, recordings and SWML documents, in that API's own shapes."""
