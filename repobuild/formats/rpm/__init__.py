"""The RPM family."""
