"""The second factor: codes of an app, by allauth's TOTP and recovery codes."""
