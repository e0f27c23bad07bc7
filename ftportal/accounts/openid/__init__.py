"""Signing in with an account elsewhere: OpenID Connect, with allauth as its library."""
