"""The other side of each dialect: what a media server of the vendor sends, and takes. One file per vendor. No IO."""
